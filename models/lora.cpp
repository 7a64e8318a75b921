#include <algorithm>

#include "models/sharding.h"

namespace moesim {

namespace {

constexpr std::int64_t kBytesPerWeight = 2;  // adapters are 16 bit whatever the base model is

// Columns (input + output) of the A and B matrices of one layer's modules on a rank. A is
// replicated for modules cut by columns and cut for those cut by rows, B the other way round
// (serving-semantics 2.8).
std::int64_t attention_columns(const Shard& shard, const LayerSpec& layer) {
  const ModelSpec& model = *shard.model;
  if (layer.attention == AttentionKind::kLinear) return 0;  // no adapters on mixers
  const AttentionSlice slice = attention_slice(shard, layer);
  const std::int64_t hidden = model.hidden;
  const std::int64_t output = slice.out_width + hidden;
  if (!model.is_mla()) return 3 * hidden + slice.qkv_width + output;  // q, k and v have an A each
  const MlaSpec& mla = model.mla;
  const std::int64_t query = std::int64_t{slice.heads} * slice.head_dim;
  std::int64_t columns = mla.q_rank > 0 ? hidden + mla.q_rank + mla.q_rank + query : hidden + query;
  columns += hidden + mla.kv_rank + mla.rope_dim;
  columns += mla.kv_rank + std::int64_t{slice.heads} * (mla.nope_dim + mla.v_dim);
  return columns + output;
}

std::int64_t gated_columns(std::int64_t hidden, std::int64_t width) {
  return width == 0 ? 0 : 3 * hidden + 3 * width;
}

std::int64_t expert_columns(const Shard& shard, const LayerSpec& layer, int experts) {
  return experts * gated_columns(shard.model->hidden, shard.expert_slice(layer));
}

// Hot experts of a layer that are on this rank; at worst they are all together.
int hot_local_experts(const Shard& shard, const LayerSpec& layer, const LoraSpec& lora) {
  return std::min(shard.local_experts(layer), lora.hot_experts);
}

std::int64_t layer_columns(const Shard& shard, const LayerSpec& layer, const LoraSpec& lora) {
  switch (lora.targets) {
    case LoraTargets::kAttention:
      return attention_columns(shard, layer);
    case LoraTargets::kAllLinear:
      return attention_columns(shard, layer) +
             gated_columns(shard.model->hidden, shard.dense_slice(layer)) +
             gated_columns(shard.model->hidden, shard.shared_slice(layer)) +
             expert_columns(shard, layer, shard.local_experts(layer));
    case LoraTargets::kExperts:
      return expert_columns(shard, layer, shard.local_experts(layer));
    case LoraTargets::kHotExperts:
      return expert_columns(shard, layer, hot_local_experts(shard, layer, lora));
  }
  return 0;
}

}  // namespace

Bytes lora_bytes(const Shard& shard, const LoraSpec& lora) {
  std::int64_t columns = 0;
  for (int i = shard.first_layer; i < shard.last_layer; ++i) {
    columns += layer_columns(shard, shard.model->layers[static_cast<std::size_t>(i)], lora);
  }
  return Bytes(columns * lora.adapters * lora.rank * kBytesPerWeight);
}

}  // namespace moesim
