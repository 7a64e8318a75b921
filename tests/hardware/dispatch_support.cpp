#include "tests/hardware/dispatch_support.h"

#include "hardware/expert_traffic.h"
#include "tests/hardware/hardware_support.h"

namespace moesim {

DispatchWorld::DispatchWorld(const ClusterSpec& cluster, int ranks)
    : topology(cluster), collectives(topology, cluster.nodes.front().system.gpu.sm_version) {
  setup.topology = &topology;
  setup.collectives = &collectives;
  setup.gpus = first_gpus(ranks);
  setup.hidden = 7168;
  setup.top_k = 8;
  setup.experts = 256;
  setup.dispatch_token_bytes = fp8_token_bytes(7168);
  setup.combine_token_bytes = bf16_token_bytes(7168);
  setup.kernels.none = true;
}

LayerTraffic uniform_traffic(const DispatchWorld& world, double tokens) {
  const double ranks = static_cast<double>(world.setup.gpus.size());
  const double nodes = world.topology.node_count(world.setup.gpus);
  const ExpertTraffic copies =
      expected_traffic({.ranks = ranks,
                        .nodes = nodes,
                        .experts = static_cast<double>(world.setup.experts),
                        .topk = static_cast<double>(world.setup.top_k),
                        .node_limit = static_cast<double>(world.setup.node_limit)});
  const auto n = world.setup.gpus.size();
  LayerTraffic traffic;
  traffic.held.assign(n, tokens);
  traffic.rank_copies.assign(n, tokens * copies.to_ranks / (1 - 1 / ranks));
  traffic.slots.assign(n, tokens * world.setup.top_k);
  traffic.node_copies.assign(
      static_cast<std::size_t>(nodes),
      nodes > 1 ? tokens * ranks / nodes * copies.to_nodes / (1 - 1 / nodes) : tokens * ranks);
  return traffic;
}

ClusterSpec h800_cluster(int count) {
  ClusterSpec cluster = shipped_cluster("h100_sxm", count);
  cluster.nodes.front().system.node.intra_bw = BytesPerSecond(200e9);
  cluster.nodes.front().system.node.intra_efficiency = 0.8;
  return cluster;
}

ClusterSpec shipped_cluster(const std::string& system, int count, const std::string& link) {
  ClusterSpec cluster;
  cluster.nodes.push_back({load_system(system, ".", Where()), count, 8});
  cluster.network.preset = count > 1 ? NetworkPreset::kRailOptimized : NetworkPreset::kSingleNode;
  cluster.network.link = load_link(link, Where());
  return cluster;
}

}  // namespace moesim
