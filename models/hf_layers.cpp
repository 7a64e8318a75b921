// Which layers have experts, how many and how wide: the layer rules of glossary 5.

#include <algorithm>
#include <cstddef>
#include <fmt/format.h>

#include "models/architecture.h"
#include "models/key_names.h"
#include "models/ranges.h"

namespace moesim {

namespace {

std::vector<bool> first_dense(ConfigKeys& keys, int layers) {
  constexpr Range kFlag{.min = 0, .max = 1};
  std::vector<bool> moe(static_cast<std::size_t>(layers), false);
  if (keys.is_list({"moe_layer_freq"})) {
    const std::vector<int> flags = keys.per_layer({"moe_layer_freq"}, layers, kFlag);
    std::transform(flags.begin(), flags.end(), moe.begin(), [](int flag) { return flag == 1; });
    return moe;
  }
  const int first = keys.integer({"first_k_dense_replace"}, kCountRange);
  const int step = keys.integer_or({"moe_layer_freq"}, 1, kLayerRange);
  for (int i = first; i < layers; ++i) moe[static_cast<std::size_t>(i)] = i % step == 0;
  return moe;
}

std::vector<bool> sparse_step(ConfigKeys& keys, int layers) {
  const int step = keys.integer_or({"decoder_sparse_step"}, 1, kLayerRange);
  std::vector<bool> moe(static_cast<std::size_t>(layers), false);
  for (int i = 0; i < layers; ++i) moe[static_cast<std::size_t>(i)] = (i + 1) % step == 0;
  if (!keys.sound(kLayerKeys)) return moe;
  for (const int dense : keys.integers({"mlp_only_layers"}, {.min = 0, .max = layers - 1.0})) {
    moe[static_cast<std::size_t>(dense)] = false;
  }
  return moe;
}

std::vector<bool> start_end(ConfigKeys& keys, int layers) {
  const int start = keys.integer({"moe_layer_start_index"}, kCountRange);
  int end = keys.integer_or({"moe_layer_end_index"}, -1, kIndexRange);
  if (end < 0) end = layers - 1;  // -1: to the last layer
  const int interval = keys.integer_or({"moe_layer_interval"}, 1, kLayerRange);
  std::vector<bool> moe(static_cast<std::size_t>(layers), false);
  for (int i = 0; i < layers; ++i) {
    moe[static_cast<std::size_t>(i)] = start <= i && i <= end && (i + 1) % interval == 0;
  }
  return moe;
}

std::vector<bool> moe_layers(ConfigKeys& keys, MoeRule rule, int layers) {
  std::vector<bool> moe(static_cast<std::size_t>(layers), rule == MoeRule::kAll);
  switch (rule) {
    case MoeRule::kNone:
    case MoeRule::kAll:
      break;
    case MoeRule::kFirstDense:
      return first_dense(keys, layers);
    case MoeRule::kSparseStep:
      return sparse_step(keys, layers);
    case MoeRule::kStartEnd:
      return start_end(keys, layers);
    case MoeRule::kInterleave: {
      const int step = keys.integer({"interleave_moe_layer_step"}, kLayerRange);
      for (int i = 0; i < layers; ++i) moe[static_cast<std::size_t>(i)] = (i + 1) % step == 0;
      break;
    }
    case MoeRule::kPeriod: {
      const int period = keys.integer({"expert_layer_period"}, kLayerRange);
      const int offset = keys.integer({"expert_layer_offset"}, kCountRange);
      for (int i = 0; i < layers; ++i) moe[static_cast<std::size_t>(i)] = i % period == offset;
      break;
    }
  }
  return moe;
}

/// Values per layer; all of one length.
struct ExpertLists {
  std::vector<int> width, top_k, shared;
  int experts = 0;
};

std::vector<int> expert_widths(ConfigKeys& keys, const Architecture& architecture, int layers) {
  if (!architecture.expert_width_is_intermediate) {
    return keys.per_layer({"moe_intermediate_size", "expert_ffn_hidden_size"}, layers, kWidthRange);
  }
  return keys.per_layer({"moe_intermediate_size", "expert_ffn_hidden_size", "intermediate_size",
                         "ffn_config.ffn_hidden_size"},
                        layers, kWidthRange);
}

std::vector<int> shared_widths(ConfigKeys& keys, const Architecture& architecture,
                               const std::vector<int>& experts) {
  const int layers = static_cast<int>(experts.size());
  switch (architecture.shared) {
    case SharedRule::kNone:
      return std::vector<int>(experts.size(), 0);
    case SharedRule::kWidth:
      return keys.per_layer({"shared_expert_intermediate_size"}, layers,
                            {.min = 0, .max = kWidthRange.max});
    case SharedRule::kImplicit:
      return experts;
    case SharedRule::kCount:
      break;
  }
  std::vector<int> widths = keys.per_layer(kSharedCountKeys, layers, {.min = 0, .max = 64});
  for (std::size_t i = 0; i < widths.size(); ++i) widths[i] *= experts[i];
  return widths;
}

ExpertLists read_experts(ConfigKeys& keys, const Architecture& architecture, int layers) {
  ExpertLists lists;
  lists.experts = keys.integer(kExpertKeys, kExpertsRange);
  lists.width = expert_widths(keys, architecture, layers);
  lists.top_k = keys.per_layer(kTopKKeys, layers, kExpertsRange);
  lists.shared = shared_widths(keys, architecture, lists.width);
  const int largest = *std::max_element(lists.top_k.begin(), lists.top_k.end());
  if (largest > lists.experts && keys.sound(kExpertKeys) && keys.sound(kTopKKeys)) {
    keys.fail(keys.present(kTopKKeys),
              fmt::format("{} experts per token of {} experts", largest, lists.experts),
              "a token cannot visit more experts than there are");
  }
  return lists;
}

int dense_width(ConfigKeys& keys) {
  return keys.integer(
      {"intermediate_size_mlp", "intermediate_size", "d_ff", "ffn_config.ffn_hidden_size"},
      kWidthRange);
}

// DBRX files that lost ffn_hidden_size are written with the class default, a third of the real
// width.
void check_dbrx(ConfigKeys& keys, const ModelSpec& model) {
  constexpr int kPublishedHidden = 6144;
  constexpr int kClassDefault = 3584;
  if (model.model_type != "dbrx" || model.hidden != kPublishedHidden) return;
  if (model.layers.front().expert_intermediate != kClassDefault) return;
  keys.fail("ffn_config.ffn_hidden_size", "3584 is the class default, not the checkpoint's width",
            "the published dbrx-base has 10752");
}

}  // namespace

void read_layers(ConfigKeys& keys, const Architecture& architecture, ModelSpec& model) {
  const int layers = keys.integer(kLayerKeys, kLayerRange);
  model.layers.assign(static_cast<std::size_t>(layers), LayerSpec{});
  const std::vector<bool> moe = moe_layers(keys, architecture.moe, layers);
  const bool any_moe = std::find(moe.begin(), moe.end(), true) != moe.end();
  const bool any_dense = std::find(moe.begin(), moe.end(), false) != moe.end();
  ExpertLists experts;
  if (architecture.moe != MoeRule::kNone && any_moe)
    experts = read_experts(keys, architecture, layers);
  const int dense = any_dense || architecture.dense_beside_experts ? dense_width(keys) : 0;
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    LayerSpec& layer = model.layers[i];
    layer.moe = moe[i];
    if (!moe[i] || architecture.dense_beside_experts) layer.dense_intermediate = dense;
    if (!moe[i]) continue;
    layer.num_experts = experts.experts;
    layer.top_k = experts.top_k[i];
    layer.expert_intermediate = experts.width[i];
    layer.shared_intermediate = experts.shared[i];
  }
  check_dbrx(keys, model);
}

namespace {

// Layer i of a stack is sparse iff i % step == 1, step = layers / sparse layers (1: every layer).
void add_stack(ModelSpec& model, int layers, int sparse, const LayerSpec& dense,
               const LayerSpec& expert) {
  const int step = sparse > 0 ? std::max(1, layers / sparse) : 0;
  for (int i = 0; i < layers; ++i) {
    const bool moe = step == 1 || (step > 1 && i % step == 1);
    model.layers.push_back(moe ? expert : dense);
  }
}

}  // namespace

void read_switch(ConfigKeys& keys, ModelSpec& model) {
  const int encoder = keys.integer({"num_layers"}, kLayerRange);
  const int decoder = keys.integer_or({"num_decoder_layers"}, encoder, kLayerRange);
  const int sparse_encoder =
      keys.integer({"num_sparse_encoder_layers"}, {.min = 0, .max = static_cast<double>(encoder)});
  const int sparse_decoder =
      keys.integer({"num_sparse_decoder_layers"}, {.min = 0, .max = static_cast<double>(decoder)});
  LayerSpec dense;
  dense.encoder = true;
  dense.dense_intermediate = keys.integer({"d_ff"}, kWidthRange);
  LayerSpec expert;
  expert.encoder = true;
  expert.moe = true;
  expert.num_experts = keys.integer({"num_experts"}, kExpertsRange);
  expert.top_k = 1;
  expert.expert_intermediate = dense.dense_intermediate;
  add_stack(model, encoder, sparse_encoder, dense, expert);
  for (LayerSpec* layer : {&dense, &expert}) {
    layer->encoder = false;
    layer->cross_attention = true;
  }
  add_stack(model, decoder, sparse_decoder, dense, expert);
  model.encoder_layers = encoder;
  model.expert_capacity = keys.integer_or({"expert_capacity"}, 0, kLengthRange);
  model.expert_matrices = 2;
}

}  // namespace moesim
