#include "scenarios/expert_tiers.h"

#include <algorithm>
#include <vector>

namespace moesim {
namespace {

/// The node a GPU is in, its kind, and GPUs of that node.
struct Place {
  const NodeGroup* kind = nullptr;
  int first_gpu = 0;
};

Place place_of(const ClusterSpec& cluster, int gpu) {
  int first = 0;
  for (const NodeGroup& kind : cluster.nodes) {
    const int gpus = kind.gpus * kind.count;
    if (gpu < first + gpus) return {&kind, first + (gpu - first) / kind.gpus * kind.gpus};
    first += gpus;
  }
  return {};
}

int busy_gpus(const Layout& layout, const Place& node) {
  int busy = 0;
  for (const std::vector<int>& gpus : layout.gpus) {
    for (const int gpu : gpus)
      busy += gpu >= node.first_gpu && gpu < node.first_gpu + node.kind->gpus ? 1 : 0;
  }
  return busy;
}

}  // namespace

std::optional<TierLink> tier_link(const Scenario& scenario, const Layout& layout,
                                  std::span<const int> gpus) {
  const bool host = scenario.offload->tier == OffloadTier::kHost;
  int sharing = 1;  // GPUs that share the memory of the host, or a peer
  for (const int gpu : gpus) {
    const Place node = place_of(scenario.cluster, gpu);
    const int busy = busy_gpus(layout, node);
    const int idle = node.kind->gpus - busy;
    if (!host && idle == 0) return std::nullopt;
    sharing = std::max(sharing, host ? busy : (busy + idle - 1) / idle);
  }
  const SystemSpec& system = place_of(scenario.cluster, gpus.front()).kind->system;
  const NodeSpec& node = system.node;
  TierLink link;
  if (host) {
    link.bandwidth = node.pcie_efficiency * node.pcie_bw;
    link.latency = node.pcie_latency;
    link.room = Bytes(node.host_mem_capacity.value() / sharing);
    link.cpu_bandwidth = system.efficiency.host_memory / sharing * node.host_mem_bw;
    link.cpu_flops = 1.0 / sharing * node.host_flops;
  } else {
    link.bandwidth = node.intra_efficiency / sharing * node.intra_bw;
    link.latency = node.p2p_latency;
    link.room = Bytes(system.gpu.reported_capacity.value() / sharing);
  }
  return link;
}

}  // namespace moesim
