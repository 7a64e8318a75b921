#include "models/sharding.h"

#include <algorithm>
#include <fmt/format.h>
#include <utility>

namespace moesim {

namespace {

constexpr int kVocabPadding = 64;    // vLLM pads the vocabulary so that it divides over ranks
constexpr int kFp8BlockWidth = 128;  // a slice must hold whole 128x128 scale blocks

template <class Int>
constexpr Int ceil_div(Int a, Int b) {
  return (a + b - 1) / b;
}

// Weights of multi-head latent attention on a rank: the down-projections are replicated (glossary
// 4, rule 3).
std::int64_t mla_weights(const ModelSpec& model, int heads) {
  const MlaSpec& mla = model.mla;
  const std::int64_t hidden = model.hidden;
  const std::int64_t query_width = std::int64_t{heads} * (mla.nope_dim + mla.rope_dim);
  std::int64_t weights =
      mla.q_rank > 0 ? hidden * mla.q_rank + mla.q_rank * query_width : hidden * query_width;
  weights += hidden * (mla.kv_rank + mla.rope_dim);
  weights += std::int64_t{mla.kv_rank} * heads * (mla.nope_dim + mla.v_dim);
  weights += std::int64_t{heads} * mla.v_dim * hidden;
  return weights;
}

// The indexer of sparse attention, replicated. Published parameter counts (glossary 5.2) leave it
// out.
std::int64_t indexer_weights(const ModelSpec& model) {
  const MlaSpec& mla = model.mla;
  return std::int64_t{mla.q_rank} * mla.index_heads * mla.index_dim +
         std::int64_t{model.hidden} * (mla.index_dim + mla.index_heads) *
             (mla.index_heads > 0 ? 1 : 0);
}

std::int64_t attention_weights(const Shard& shard, const LayerSpec& layer,
                               const AttentionSlice& slice) {
  const ModelSpec& model = *shard.model;
  if (layer.attention == AttentionKind::kLinear) {
    return ceil_div<std::int64_t>(model.linear.mixer_weights, shard.parallel.tp);
  }
  if (model.is_mla()) return mla_weights(model, slice.heads);
  const std::int64_t one = std::int64_t{model.hidden} * (slice.qkv_width + slice.out_width);
  return layer.cross_attention ? 2 * one : one;
}

// RMS norms: before attention and before the FFN; Q and K norms are below one part in 10^5 and left
// out.
std::int64_t norm_weights(const ModelSpec& model, const LayerSpec& layer) {
  std::int64_t weights = 2 * std::int64_t{model.hidden};
  if (layer.cross_attention) weights += model.hidden;
  if (model.is_mla()) weights += model.mla.q_rank + model.mla.kv_rank;
  return weights;
}

constexpr const char* kTensor = "tensor_parallel_size";
constexpr const char* kData = "data_parallel_size";
constexpr const char* kPipeline = "pipeline_parallel_size";
constexpr const char* kHint = "choose a power of two that divides the model";

/// Why a layout does not divide the model: nothing if `problem` is empty.
struct Misfit {
  std::string problem{};
  const char* key = kTensor;
  std::string hint = kHint;
};

Misfit divides(const char* what, int width, const char* degree, int parts,
               const char* key = kTensor) {
  if (width % parts == 0) return {};
  return {fmt::format("{} {} cannot be cut over {} {}", width, what, degree, parts), key};
}

Misfit attention_problem(const ModelSpec& model, const LayerSpec& layer, int tp) {
  if (layer.attention == AttentionKind::kLinear) return {};
  const AttentionShape shape = model.attention_shape(layer);
  Misfit heads = divides("query heads", shape.heads, kTensor, tp);
  if (!heads.problem.empty()) return heads;
  if (model.is_mla() || shape.kv_heads % tp == 0 || tp % shape.kv_heads == 0) return {};
  return {fmt::format("{} KV heads can neither be cut nor replicated over tensor_parallel_size {}",
                      shape.kv_heads, tp)};
}

/// The larger of the two degrees that experts are spread over.
const char* group_key(const Parallel& parallel) {
  return parallel.dp > 1 && parallel.dp >= parallel.tp ? kData : kTensor;
}

Misfit whole_expert_problem(const LayerSpec& layer, const Parallel& parallel) {
  const int copies = layer.num_experts + parallel.redundant_experts;
  const int parts = parallel.moe_ep();
  const char* key = group_key(parallel);
  if (parts > copies) {
    return {fmt::format("{} experts cannot be spread over {} GPUs (tensor x data parallel)", copies,
                        parts),
            key,
            fmt::format("write placement.eplb.num_redundant_experts: {}, or a smaller {}",
                        parts - layer.num_experts, key)};
  }
  Misfit columns = divides("columns of an expert", layer.expert_intermediate,
                           "moe_tensor_parallel_size", parallel.moe_tp, "moe_tensor_parallel_size");
  if (!columns.problem.empty() || parallel.redundant_experts == 0) return columns;
  return divides("experts with their copies", copies, "expert parallel size", parts, key);
}

Misfit expert_problem(const ModelSpec& model, const LayerSpec& layer, const Parallel& parallel) {
  if (parallel.expert_parallel) return whole_expert_problem(layer, parallel);
  const int group = parallel.moe_group();
  const char* key = group_key(parallel);
  Misfit columns = divides("columns of an expert", layer.expert_intermediate,
                           "tensor x data parallel size", group, key);
  if (!columns.problem.empty()) return columns;
  if (model.precisions.experts != NumberFormat::kFp8Block || group == 1 ||
      layer.expert_intermediate / group % kFp8BlockWidth == 0) {
    return {};
  }
  return {fmt::format("an expert's {} columns cut over {} GPUs leave {}, not a multiple of the fp8 "
                      "block of {}; enable_expert_parallel keeps experts whole",
                      layer.expert_intermediate, group, layer.expert_intermediate / group,
                      kFp8BlockWidth),
          key, "write engine.enable_expert_parallel: true, or a smaller degree"};
}

Misfit layer_problem(const ModelSpec& model, const LayerSpec& layer, const Parallel& parallel) {
  Misfit misfit = attention_problem(model, layer, parallel.tp);
  if (misfit.problem.empty())
    misfit = divides("dense FFN columns", layer.dense_intermediate, kTensor, parallel.tp);
  if (misfit.problem.empty())
    misfit = divides("shared-expert columns", layer.shared_intermediate, kTensor, parallel.tp);
  if (misfit.problem.empty() && layer.moe) misfit = expert_problem(model, layer, parallel);
  return misfit;
}

Misfit layout_problem(const ModelSpec& model, const Parallel& parallel) {
  if (parallel.tp < 1 || parallel.pp < 1 || parallel.dp < 1)
    return {"parallel sizes must be at least 1"};
  if (parallel.pp > model.num_layers()) {
    return {fmt::format("{} layers cannot be cut over pipeline_parallel_size {}",
                        model.num_layers(), parallel.pp),
            kPipeline};
  }
  if (model.encoder_layers > 0 && parallel.pp > 1)
    return {"encoder-decoder models run on one pipeline stage only", kPipeline, "write 1"};
  if (parallel.redundant_experts > 0 && !parallel.expert_parallel)
    return {"redundant experts need enable_expert_parallel"};
  for (const LayerSpec& layer : model.layers) {
    Misfit misfit = layer_problem(model, layer, parallel);
    if (!misfit.problem.empty()) return misfit;
  }
  return {};
}

bool has_channel_scales(NumberFormat format) {
  return format == NumberFormat::kFp8 || format == NumberFormat::kInt8;
}

// One fp32 scale per output channel of every projection stored in fp8 or int8.
Bytes channel_scales(const Shard& shard, const LayerSpec& layer, const LayerWeights& weights) {
  const Precisions& formats = shard.model->precisions;
  std::int64_t channels = has_channel_scales(formats.attention) ? weights.output_channels : 0;
  if (layer.moe && has_channel_scales(formats.experts)) {
    const std::int64_t per_expert =
        std::int64_t{shard.model->expert_matrices - 1} * shard.expert_slice(layer) +
        shard.model->hidden;
    channels += shard.local_experts(layer) * per_expert;
  }
  return Bytes(4 * channels);
}

void add_layer(const Shard& shard, const LayerSpec& layer, WeightBytes& sum) {
  const ModelSpec& model = *shard.model;
  const Precisions& formats = model.precisions;
  const LayerWeights weights = layer_weights(shard, layer);
  const auto stored = [](std::int64_t count, NumberFormat format) {
    return storage_bytes(count, bits_per_weight(format));
  };
  sum.attention += stored(weights.attention, formats.attention);
  sum.dense_ffn += stored(weights.dense_ffn, formats.dense_ffn);
  sum.shared_experts += stored(weights.shared_experts, formats.shared_experts);
  sum.router += stored(weights.router, formats.activation);
  sum.other += stored(weights.norms + weights.biases, formats.activation);
  sum.other += stored(weights.indexer, formats.attention);
  sum.other += channel_scales(shard, layer, weights);
  if (!layer.moe) return;
  const int local = shard.local_experts(layer);
  const int own = shard.parallel.expert_parallel
                      ? std::min(local, ceil_div(layer.num_experts, shard.parallel.moe_ep()))
                      : local;
  const double bits = expert_bits_per_weight(formats.experts);
  const Bytes routed = storage_bytes(own * weights.per_expert, bits);
  sum.routed_experts += routed;
  sum.redundant_experts += storage_bytes(local * weights.per_expert, bits) - routed;
}

}  // namespace

Bytes WeightBytes::total() const {
  return attention + dense_ffn + routed_experts + redundant_experts + shared_experts + router +
         embedding + lm_head + lora + other;
}

int Shard::expert_slice(const LayerSpec& layer) const {
  return layer.expert_intermediate /
         (parallel.expert_parallel ? parallel.moe_tp : parallel.moe_group());
}

int Shard::local_experts(const LayerSpec& layer) const {
  if (!layer.moe) return 0;
  if (!parallel.expert_parallel) return layer.num_experts;
  return ceil_div(layer.num_experts + parallel.redundant_experts, parallel.moe_ep());
}

int Shard::dense_slice(const LayerSpec& layer) const {
  return layer.dense_intermediate / parallel.tp;
}

int Shard::shared_slice(const LayerSpec& layer) const {
  if (layer.moe && parallel.fused_shared_expert)
    return layer.shared_intermediate / parallel.moe_group();
  return layer.shared_intermediate / (parallel.sequence_parallel() ? 1 : parallel.tp);
}

AttentionSlice attention_slice(const Shard& shard, const LayerSpec& layer) {
  const ModelSpec& model = *shard.model;
  const AttentionShape shape = model.attention_shape(layer);
  AttentionSlice slice;
  slice.heads = shape.heads / shard.parallel.tp;
  slice.kv_heads = std::max(1, shape.kv_heads / shard.parallel.tp);
  slice.head_dim = shape.head_dim;
  slice.v_head_dim = shape.v_head_dim;
  if (model.is_mla()) {
    slice.kv_heads = 1;
    slice.head_dim = model.mla.nope_dim + model.mla.rope_dim;
    slice.v_head_dim = model.mla.v_dim;
  }
  const int query_width = slice.heads * slice.head_dim * (model.attention_gate ? 2 : 1);
  slice.qkv_width = query_width + slice.kv_heads * (slice.head_dim + slice.v_head_dim);
  slice.out_width = slice.heads * slice.v_head_dim;
  return slice;
}

LayerWeights layer_weights(const Shard& shard, const LayerSpec& layer) {
  const ModelSpec& model = *shard.model;
  const std::int64_t hidden = model.hidden;
  const AttentionSlice slice = attention_slice(shard, layer);
  // Gated FFNs have three matrices; Switch has two in its dense layers as well.
  const std::int64_t matrices = model.expert_matrices;
  LayerWeights weights;
  weights.attention = attention_weights(shard, layer, slice);
  weights.dense_ffn = matrices * hidden * shard.dense_slice(layer);
  weights.shared_experts = matrices * hidden * shard.shared_slice(layer);
  weights.norms = norm_weights(model, layer);
  weights.indexer = indexer_weights(model);
  weights.output_channels = slice.qkv_width + hidden;
  const std::int64_t gated_width = shard.dense_slice(layer) + shard.shared_slice(layer);
  if (gated_width > 0) weights.output_channels += (matrices - 1) * gated_width + hidden;
  if (layer.moe) {
    weights.per_expert = matrices * hidden * shard.expert_slice(layer);
    weights.router = hidden * (layer.num_experts + (model.shared_gate ? 1 : 0));
  }
  if (model.qk_bias && layer.attention != AttentionKind::kLinear) weights.biases += slice.qkv_width;
  if (model.expert_bias) {
    weights.biases += hidden + layer.num_experts;
    weights.biases +=
        shard.local_experts(layer) * (2 * std::int64_t{shard.expert_slice(layer)} + hidden);
  }
  return weights;
}

ShardResult make_shard(const ModelSpec& model, const Parallel& parallel, int stage) {
  ShardResult result;
  Misfit misfit = layout_problem(model, parallel);
  result.problem = std::move(misfit.problem);
  result.key = misfit.key;
  result.hint = std::move(misfit.hint);
  Shard& shard = result.shard;
  shard.model = &model;
  shard.parallel = parallel;
  shard.stage = stage;
  if (!result.problem.empty()) return result;
  const int base = model.num_layers() / parallel.pp;
  const int longer = model.num_layers() % parallel.pp;  // the first stages hold one layer more
  shard.first_layer = stage * base + std::min(stage, longer);
  shard.last_layer = shard.first_layer + base + (stage < longer ? 1 : 0);
  shard.heads = model.heads / parallel.tp;
  shard.kv_heads = std::max(1, model.kv_heads / parallel.tp);
  shard.has_embedding = stage == 0;
  shard.has_lm_head = stage == parallel.pp - 1;
  return result;
}

std::int64_t vocab_slice(const Shard& shard) {
  const std::int64_t padded =
      ceil_div(shard.model->vocab, kVocabPadding) * std::int64_t{kVocabPadding};
  return ceil_div<std::int64_t>(padded, shard.parallel.tp);
}

WeightBytes weight_bytes(const Shard& shard) {
  const ModelSpec& model = *shard.model;
  WeightBytes sum;
  for (int i = shard.first_layer; i < shard.last_layer; ++i) {
    add_layer(shard, model.layers[static_cast<std::size_t>(i)], sum);
  }
  const std::int64_t table = vocab_slice(shard) * model.hidden;
  if (shard.has_embedding)
    sum.embedding = storage_bytes(table, bits_per_weight(model.precisions.embedding));
  // A tied head is the embedding, unless the two are on different stages.
  if (shard.has_lm_head && (!model.tied_embeddings || !shard.has_embedding)) {
    sum.lm_head = storage_bytes(table, bits_per_weight(model.precisions.lm_head));
  }
  if (shard.has_lm_head)
    sum.other += storage_bytes(model.hidden, bits_per_weight(model.precisions.activation));
  return sum;
}

Bytes kv_bytes_per_token_layer(const Shard& shard, const LayerSpec& layer,
                               const AttentionSlice& slice) {
  if (layer.attention == AttentionKind::kLinear || layer.encoder) return Bytes(0);
  const ModelSpec& model = *shard.model;
  const double bits = bits_per_weight(model.precisions.kv_cache);
  if (model.is_mla()) return storage_bytes(model.mla.kv_rank + model.mla.rope_dim, bits);
  return storage_bytes(std::int64_t{slice.kv_heads} * (slice.head_dim + slice.v_head_dim), bits);
}

Bytes kv_bytes_per_token_layer(const Shard& shard, const LayerSpec& layer) {
  return kv_bytes_per_token_layer(shard, layer, attention_slice(shard, layer));
}

}  // namespace moesim
