#pragma once

#include <cstdint>

#include "models/sharding.h"

namespace moesim {

/// Where expert weights lie that have no room on the GPU.
enum class OffloadTier : std::uint8_t {
  kHost,  ///< memory of the node, over PCIe or whatever `pcie_bw` of the system stands for
  kPeer,  ///< memory of an idle GPU of the node
};
/// Which experts of a layer are kept on the GPU.
enum class OffloadPolicy : std::uint8_t {
  kLru,          ///< those used last
  kLfu,          ///< those with most tokens so far
  kPinnedHot,    ///< those with most tokens in the routing itself, chosen once
  kWholeLayers,  ///< all of the last layers, none of the first (llama.cpp's --n-cpu-moe, PR 15077)
};
enum class OffloadPrefetch : std::uint8_t {
  kNone,       ///< copies begin when the router has chosen
  kNextLayer,  ///< likely experts of the next MoE layer are copied while this one runs
};

/// Who multiplies by experts that are not on the GPU.
enum class OffloadCompute : std::uint8_t {
  kGpu,  ///< the GPU, after a copy
  kCpu,  ///< the CPU, where they lie; in steps of many tokens the GPU all the same (ExpertTier)
};

/// Expert weights outside the GPU: the scenario's `offload.experts`. Whole experts (or slices,
/// where experts are cut) move; attention, shared experts and the router stay.
struct ExpertOffload {
  OffloadTier tier = OffloadTier::kHost;
  OffloadPolicy policy = OffloadPolicy::kPinnedHot;
  OffloadPrefetch prefetch = OffloadPrefetch::kNone;
  /// Of a rank's experts in each layer, or of the model's MoE layers; 1: all, nothing is copied.
  double resident_fraction = 1;
  OffloadCompute compute = OffloadCompute::kGpu;

  [[nodiscard]] bool active() const { return resident_fraction < 1; }
  [[nodiscard]] bool on_cpu() const { return active() && compute == OffloadCompute::kCpu; }
  /// The fraction of `all`, rounded down.
  [[nodiscard]] int kept(int all) const;
  /// Experts of MoE layer `moe_layer` (of `moe_layers`, counted over the model) that stay, of
  /// `local` on the rank.
  [[nodiscard]] int resident(int local, int moe_layer, int moe_layers) const;
  /// The policy changes what is resident as steps go by.
  [[nodiscard]] bool learns() const {
    return active() && (policy == OffloadPolicy::kLru || policy == OffloadPolicy::kLfu);
  }
};
[[nodiscard]] const char* to_text(OffloadTier tier);
[[nodiscard]] const char* to_text(OffloadPolicy policy);
[[nodiscard]] const char* to_text(OffloadPrefetch prefetch);
[[nodiscard]] const char* to_text(OffloadCompute compute);

/// Bytes of one routed expert (or slice) of this layer on a rank, group scales included.
[[nodiscard]] double expert_bytes(const Shard& shard, const LayerSpec& layer);

/// What offloading does to one GPU.
struct OffloadBytes {
  Bytes away;  ///< experts of this rank that lie elsewhere
  /// Room copies arrive in: a grouped GEMM runs over experts in GPU memory only, so the largest
  /// layer's absent experts must fit at once, and with prefetch those of two layers; also where
  /// the CPU computes, since prompts copy. Never more than `away`.
  Bytes staging;
};
[[nodiscard]] OffloadBytes offload_bytes(const Shard& shard, const ExpertOffload& offload);

}  // namespace moesim
