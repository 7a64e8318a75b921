#include "hardware/link_loads.h"

#include <algorithm>

namespace moesim {

LinkLoads::LinkLoads(const Topology& topology)
    : topology_(&topology), share_(topology.links().size(), 0.0) {}

void LinkLoads::add(int from_gpu, int to_gpu, double share) {
  for (const int link : topology_->path(from_gpu, to_gpu)) {
    share_[static_cast<std::size_t>(link)] += share;
  }
}

void LinkLoads::add_all_pairs(std::span<const int> gpus, double share) {
  for (const int from : gpus) {
    for (const int to : gpus) {
      if (from != to) add(from, to, share);
    }
  }
}

void LinkLoads::add(const LinkLoads& phase) {
  for (std::size_t i = 0; i < share_.size(); ++i) share_[i] += phase.share_[i];
}

LinkLoads::Busiest LinkLoads::busiest() const {
  Busiest most;
  for (std::size_t i = 0; i < share_.size(); ++i) {
    const double seconds = share_[i] / topology_->links()[i].bandwidth.value();
    if (seconds > most.seconds_per_byte) most = {seconds, share_[i]};
  }
  return most;
}

std::vector<int> in_order(std::span<const int> gpus) {
  std::vector<int> sorted(gpus.begin(), gpus.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

std::vector<std::vector<int>> by_node(std::span<const int> gpus, const Topology& topology) {
  std::vector<std::vector<int>> nodes;
  int last = -1;
  for (const int gpu : in_order(gpus)) {
    if (nodes.empty() || topology.node_of(gpu) != last) nodes.emplace_back();
    last = topology.node_of(gpu);
    nodes.back().push_back(gpu);
  }
  return nodes;
}

Seconds longest_hop(std::span<const int> gpus, const Topology& topology) {
  Seconds longest;
  for (const int from : gpus) {
    for (const int to : gpus) longest = std::max(longest, topology.latency(from, to));
  }
  return longest;
}

std::vector<CostLine> nccl_lines(Seconds fixed, Seconds hops, double seconds_per_byte) {
  struct Protocol {
    double hop, bandwidth;
  };
  constexpr Protocol kProtocols[] = {{1.0, 0.07}, {1.45, 0.57}, {6.0, 1.0}};
  std::vector<CostLine> lines;
  for (const Protocol& protocol : kProtocols) {
    lines.push_back({fixed + protocol.hop * hops, seconds_per_byte / protocol.bandwidth});
  }
  return lines;
}

Seconds nccl_fixed(std::span<const int> gpus, const Topology& topology) {
  const CollectiveLatencies fixed = topology.latencies(gpus);
  return topology.node_count(gpus) > 1 ? fixed.nccl + fixed.cross_node : fixed.nccl;
}

}  // namespace moesim
