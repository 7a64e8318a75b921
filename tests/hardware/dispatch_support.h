#pragma once

#include <memory>
#include <string>
#include <vector>

#include "hardware/dispatch.h"

namespace moesim {

/// A group over the first GPUs of a cluster, and what its backends need.
struct DispatchWorld {
  explicit DispatchWorld(const ClusterSpec& cluster, int ranks);
  DispatchWorld(const DispatchWorld&) = delete;
  DispatchWorld& operator=(const DispatchWorld&) = delete;
  [[nodiscard]] std::unique_ptr<DispatchBackend> make(const std::string& name) const {
    return make_dispatch(name, setup);
  }

  Topology topology;
  Collectives collectives;
  DispatchSetup setup;  ///< no curves; DeepSeek-V3's layer: 7168 channels, 8 of 256 experts, fp8
};

/// Counts of one layer.
struct LayerTraffic {
  std::vector<double> held, rank_copies, slots, node_copies;
  [[nodiscard]] DispatchTraffic view() const { return {held, rank_copies, slots, node_copies}; }
};
/// Every rank holds `tokens` and experts are drawn uniformly (expected counts).
[[nodiscard]] LayerTraffic uniform_traffic(const DispatchWorld& world, double tokens);

/// `count` nodes of eight H800: NVLink 200 GB/s of which 160 are reached, a 400 Gbit/s NIC a GPU of
/// which 48 GB/s are (DeepEP README 2025-03; links.yaml ndr_400g).
[[nodiscard]] ClusterSpec h800_cluster(int count);
/// `count` nodes of a shipped system with rails of InfiniBand.
[[nodiscard]] ClusterSpec shipped_cluster(const std::string& system, int count,
                                          const std::string& link = "ndr_400g");

}  // namespace moesim
