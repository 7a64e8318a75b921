#pragma once

#include <span>
#include <vector>

#include "hardware/collective.h"

namespace moesim {

/// Traffic of a collective on every link of the topology, per byte of the call. What two flows send
/// over one cable adds up, so shared NICs, shared PCIe up-links and oversubscription show.
class LinkLoads {
 public:
  explicit LinkLoads(const Topology& topology);
  /// `share` bytes per byte of the call from one GPU to another, along the topology's path.
  void add(int from_gpu, int to_gpu, double share);
  /// `share` from each GPU to each other GPU.
  void add_all_pairs(std::span<const int> gpus, double share);

  struct Busiest {
    double seconds_per_byte = 0;  ///< the longest any link is busy, per byte of the call
    double share = 0;             ///< bytes on that link per byte of the call
  };
  [[nodiscard]] Busiest busiest() const;
  /// Adds what another phase of the same collective puts on the links.
  void add(const LinkLoads& phase);

 private:
  const Topology* topology_;
  std::vector<double> share_;  // by link
};

/// The group in cluster order, node by node: what a library does to make rings and trees stay
/// inside nodes. Makes every algorithm indifferent to the order of the group.
[[nodiscard]] std::vector<std::vector<int>> by_node(std::span<const int> gpus,
                                                    const Topology& topology);
[[nodiscard]] std::vector<int> in_order(std::span<const int> gpus);

/// The longest path latency between any two of the group.
[[nodiscard]] Seconds longest_hop(std::span<const int> gpus, const Topology& topology);

/// NCCL's choice among its three wire protocols as one curve. `hops`: summed latency of the hops
/// one byte takes one after the other; `fixed` is paid once.
///
///   t = min over protocols p of  fixed + h_p hops + bytes x (seconds per byte of the busiest link)
///   / b_p
///
/// LL writes 8-byte words with a flag each and polls (h 1, b 0.07); LL128 128-byte lines (h 1.45, b
/// 0.57); Simple copies chunks behind a fence (h 6, b 1). h and b are fitted to the NCCL 2.27-2.29
/// tables of A100, H100, H200 and B200 with 2, 4 and 8 GPUs (AIConfigurator data, 2026-08); the
/// idea of the least of three lines is NCCL's own tuning model (nccl, src/graph/tuning.cc). Median
/// error on those tables 5-11 %, largest (to 45 %) where NCCL changes the number of channels. Not
/// fitted between nodes.
[[nodiscard]] std::vector<CostLine> nccl_lines(Seconds fixed, Seconds hops,
                                               double seconds_per_byte);
/// `nccl` plus `cross_node` if the group spans nodes.
[[nodiscard]] Seconds nccl_fixed(std::span<const int> gpus, const Topology& topology);

}  // namespace moesim
