#include "models/expert_offload.h"

#include <algorithm>
#include <cmath>

namespace moesim {

int ExpertOffload::resident(int local) const {
  // 0.7 of 10 is 7, whatever the binary fraction says.
  constexpr double kRounding = 1e-9;
  return std::min(local, static_cast<int>(std::floor(resident_fraction * local + kRounding)));
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
  }
  return "";
}

const char* to_text(OffloadPrefetch prefetch) {
  return prefetch == OffloadPrefetch::kNone ? "none" : "next_layer";
}

double expert_bytes(const Shard& shard, const LayerSpec& layer) {
  constexpr double kBitsPerByte = 8;
  return static_cast<double>(layer_weights(shard, layer).per_expert) *
         expert_bits_per_weight(shard.model->precisions.experts) / kBitsPerByte;
}

OffloadBytes offload_bytes(const Shard& shard, const ExpertOffload& offload) {
  if (!offload.active()) return {};
  double away = 0, largest = 0;
  for (int i = shard.first_layer; i < shard.last_layer; ++i) {
    const LayerSpec& layer = shard.model->layers[static_cast<std::size_t>(i)];
    if (!layer.moe) continue;
    const int local = shard.local_experts(layer);
    const double bytes = (local - offload.resident(local)) * expert_bytes(shard, layer);
    away += bytes;
    largest = std::max(largest, bytes);
  }
  const double buffers = offload.prefetch == OffloadPrefetch::kNextLayer ? 2 : 1;
  return {Bytes(std::llround(away)), Bytes(std::llround(std::min(away, buffers * largest)))};
}

}  // namespace moesim
