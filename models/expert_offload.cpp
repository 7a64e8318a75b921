#include "models/expert_offload.h"

#include <algorithm>
#include <cmath>

namespace moesim {

int ExpertOffload::kept(int all) const {
  // 0.7 of 10 is 7, whatever the binary fraction says.
  constexpr double kRounding = 1e-9;
  return std::min(all, static_cast<int>(std::floor(resident_fraction * all + kRounding)));
}

int ExpertOffload::resident(int local, int moe_layer, int moe_layers) const {
  if (policy != OffloadPolicy::kWholeLayers) return kept(local);
  return moe_layer < moe_layers - kept(moe_layers) ? 0 : local;
}

const char* to_text(OffloadTier tier) {
  return tier == OffloadTier::kHost ? "host" : "peer";
}

const char* to_text(OffloadPolicy policy) {
  switch (policy) {
    case OffloadPolicy::kLru:
      return "lru";
    case OffloadPolicy::kLfu:
      return "lfu";
    case OffloadPolicy::kPinnedHot:
      return "pinned_hot";
    case OffloadPolicy::kWholeLayers:
      return "whole_layers";
  }
  return "";
}

const char* to_text(OffloadPrefetch prefetch) {
  return prefetch == OffloadPrefetch::kNone ? "none" : "next_layer";
}

const char* to_text(OffloadCompute compute) {
  return compute == OffloadCompute::kGpu ? "gpu" : "cpu";
}

double expert_bytes(const Shard& shard, const LayerSpec& layer) {
  constexpr double kBitsPerByte = 8;
  return static_cast<double>(layer_weights(shard, layer).per_expert) *
         expert_bits_per_weight(shard.model->precisions.experts) / kBitsPerByte;
}

OffloadBytes offload_bytes(const Shard& shard, const ExpertOffload& offload) {
  if (!offload.active()) return {};
  double away = 0, largest = 0;
  const int moe_layers = shard.model->num_moe_layers();
  int before = 0;  // MoE layers
  for (int i = 0; i < shard.last_layer; ++i) {
    const LayerSpec& layer = shard.model->layers[static_cast<std::size_t>(i)];
    if (!layer.moe) continue;
    const int moe_layer = before++;
    if (i < shard.first_layer) continue;
    const int local = shard.local_experts(layer);
    const int absent = local - offload.resident(local, moe_layer, moe_layers);
    const double bytes = absent * expert_bytes(shard, layer);
    away += bytes;
    largest = std::max(largest, bytes);
  }
  const double buffers = offload.prefetch == OffloadPrefetch::kNextLayer ? 2 : 1;
  return {Bytes(std::llround(away)), Bytes(std::llround(std::min(away, buffers * largest)))};
}

}  // namespace moesim
