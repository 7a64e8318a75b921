#pragma once

#include <optional>
#include <span>

#include "scenarios/layout.h"
#include "scenarios/scenario.h"

namespace moesim {

/// How a GPU reaches experts that lie outside it, and how many it may put there.
struct TierLink {
  BytesPerSecond bandwidth;      ///< of one GPU while all read at once
  Seconds latency;               ///< of one batch of copies
  Bytes room;                    ///< for one GPU; 0: the system does not say
  BytesPerSecond cpu_bandwidth;  ///< host memory to the CPU, for one GPU's experts
  FlopsPerSecond cpu_flops;      ///< likewise; both 0 for a peer or if the system does not say
};

/// The link of an instance on `gpus` (cluster numbers), all of the same kind of node.
///
/// Host: every GPU has its own PCIe link (`pcie_bw` x the link's efficiency) and an even share of
/// the node's memory; that the host's memory could be slower than all links together is left out.
/// What the CPU reads and computes is shared evenly by the node's GPUs that may have work for it at
/// the same time: of a pipeline as many stages as there can be batches.
/// Peer: the idle GPUs of a node serve its busy ones, as evenly as whole GPUs can be dealt out;
/// those that share a peer share its link and its memory. Nothing if a node has no idle GPU.
[[nodiscard]] std::optional<TierLink> tier_link(const Scenario& scenario, const Layout& layout,
                                                std::span<const int> gpus);

}  // namespace moesim
