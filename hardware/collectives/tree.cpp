#include <algorithm>

#include "hardware/link_loads.h"
#include "sim/base/registry.h"

namespace moesim {

namespace {

// Two binary trees over the nodes, each with half of the bytes; the leaves of one are the inner
// nodes of the other, so that no node sends more than it receives. Inside a node the ranks form a
// chain. Reduce to the root, then broadcast.
//   t = fixed + h x 2 (deepest way to the root) + S x (traffic) / B(busiest link); traffic 2 per
//   node and direction
// P. Sanders, J. Speck and J. Traeff, "Two-tree algorithms for full bandwidth broadcast, reduction
// and scan", Parallel Computing 35(12), 2009; NCCL 2.4 release notes, 2019. As rings, one pair of
// trees per GPU of the smallest node. Inside one node it is a chain, never better than a ring.
class Tree final : public CollectiveAlgorithm {
 public:
  bool supports(const CollectiveCall& call, const Topology&) const override {
    return call.kind == CollectiveKind::kAllReduce;
  }

  CostCurve curve(CollectiveKind, std::span<const int> gpus,
                  const Topology& topology) const override {
    const auto nodes = by_node(gpus, topology);
    std::size_t channels = nodes.size() > 1 ? nodes.front().size() : 1;
    for (const auto& node : nodes) channels = std::min(channels, node.size());
    LinkLoads loads(topology);
    Seconds deepest;
    for (std::size_t channel = 0; channel < channels; ++channel) {
      for (const bool second : {false, true}) {
        const double share = 0.5 / static_cast<double>(channels);
        deepest = std::max(deepest, add_tree(channel, second, nodes, share, topology, loads));
      }
    }
    const LinkLoads::Busiest busiest = loads.busiest();
    return {nccl_lines(nccl_fixed(gpus, topology), 2.0 * deepest, busiest.seconds_per_byte),
            busiest.share};
  }

 private:
  /// Parent of a place > 0 in the in-order binary tree: odd places are leaves, place 0 is the root.
  static std::size_t parent(std::size_t place, std::size_t places) {
    const std::size_t lowest = place & (~place + 1);
    const std::size_t up = (place ^ lowest) | (lowest << 1);
    return up < places ? up : place ^ lowest;
  }
  /// The second tree puts a node of even place on an odd one: shifted if their number is odd, else
  /// mirrored.
  static std::size_t node_at(std::size_t place, bool second, std::size_t places) {
    if (!second) return place;
    return places % 2 == 1 ? (place + 1) % places : places - 1 - place;
  }

  /// Loads one tree, both directions; returns the latency of its longest way to the root.
  static Seconds add_tree(std::size_t channel, bool second,
                          const std::vector<std::vector<int>>& nodes, double share,
                          const Topology& topology, LinkLoads& loads) {
    const auto link = [&](int a, int b) {
      loads.add(a, b, share);
      loads.add(b, a, share);
      return topology.latency(a, b);
    };
    Seconds chain;
    for (const std::vector<int>& node : nodes) {
      Seconds length;
      for (std::size_t k = 0; k + 1 < node.size(); ++k) {
        length += link(node[(channel + k) % node.size()], node[(channel + k + 1) % node.size()]);
      }
      chain = std::max(chain, length);
    }
    Seconds deepest;
    for (std::size_t place = 1; place < nodes.size(); ++place) {
      const int rank = nodes[node_at(place, second, nodes.size())][channel];
      const std::size_t above = parent(place, nodes.size());
      link(rank, nodes[node_at(above, second, nodes.size())][channel]);
    }
    for (std::size_t place = 1; place < nodes.size(); ++place) {
      Seconds depth;
      for (std::size_t at = place; at != 0; at = parent(at, nodes.size())) {
        depth += topology.latency(
            nodes[node_at(at, second, nodes.size())][channel],
            nodes[node_at(parent(at, nodes.size()), second, nodes.size())][channel]);
      }
      deepest = std::max(deepest, depth);
    }
    return chain + deepest;
  }
};

const Register<CollectiveAlgorithm> kTree{
    "tree", "double binary tree over nodes; best for small messages over many nodes (NCCL)",
    [](Reader&) { return std::make_unique<Tree>(); }};

}  // namespace

}  // namespace moesim
