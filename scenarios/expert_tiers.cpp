#include "scenarios/expert_tiers.h"

#include <algorithm>
#include <cstdint>
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

int gpus_inside(const std::vector<int>& gpus, const Place& node) {
  return static_cast<int>(std::ranges::count_if(gpus, [&](int gpu) {
    return gpu >= node.first_gpu && gpu < node.first_gpu + node.kind->gpus;
  }));
}

int busy_gpus(const Layout& layout, const Place& node) {
  int busy = 0;
  for (const std::vector<int>& gpus : layout.gpus) busy += gpus_inside(gpus, node);
  return busy;
}

/// GPUs of a node that have work at the same time: a batch is in one stage of a pipeline.
double working_gpus(const Scenario& scenario, const Layout& layout, const Place& node) {
  double working = 0;
  std::size_t instance = 0;
  for (const InstanceSpec& spec : scenario.instances) {
    std::int64_t batches = spec.engine.max_num_seqs;
    const WorkloadSpec& load = scenario.workload;
    if (load.arrival.max_concurrency > 0)
      batches = std::min<std::int64_t>(batches, load.arrival.max_concurrency);
    if (!load.trace) batches = std::min(batches, load.synthetic.num_prompts);
    const double share = std::min(1.0, static_cast<double>(batches) / spec.parallel.pp);
    for (int i = 0; i < spec.count; ++i)
      working += share * gpus_inside(layout.gpus[instance++], node);
  }
  return working;
}

}  // namespace

std::optional<TierLink> tier_link(const Scenario& scenario, const Layout& layout,
                                  std::span<const int> gpus) {
  const bool host = scenario.offload->tier == OffloadTier::kHost;
  int sharing = 1;       // GPUs that share the memory of the host, or a peer
  double computing = 1;  // GPUs that share the CPU
  for (const int gpu : gpus) {
    const Place node = place_of(scenario.cluster, gpu);
    const int busy = busy_gpus(layout, node);
    const int idle = node.kind->gpus - busy;
    if (!host && idle == 0) return std::nullopt;
    sharing = std::max(sharing, host ? busy : (busy + idle - 1) / idle);
    computing = std::max(computing, working_gpus(scenario, layout, node));
  }
  const SystemSpec& system = place_of(scenario.cluster, gpus.front()).kind->system;
  const NodeSpec& node = system.node;
  TierLink link;
  if (host) {
    link.bandwidth = node.pcie_efficiency * node.pcie_bw;
    link.latency = node.pcie_latency;
    link.room = Bytes(node.host_mem_capacity.value() / sharing);
    link.cpu_bandwidth = system.efficiency.host_memory / computing * node.host_mem_bw;
    link.cpu_flops = 1.0 / computing * node.host_flops;
  } else {
    link.bandwidth = node.intra_efficiency / sharing * node.intra_bw;
    link.latency = node.p2p_latency;
    link.room = Bytes(system.gpu.reported_capacity.value() / sharing);
  }
  return link;
}

}  // namespace moesim
