#include "hardware/link_loads.h"
#include "sim/base/registry.h"

namespace moesim {

namespace {

// First inside the nodes: rank j of a node gathers over NVLink what its node sends to the ranks j
// of all nodes. Then along the rails: rank j exchanges S/P with the ranks j of the P nodes.
//   t = fixed + 2 x h x (3.2 + 0.12 peers) hops + (L-1)/L S / B(NVLink) + (P-1)/P S / B(NIC)    L
//   ranks per node
// S. Rajbhandari et al., "DeepSpeed-MoE", ICML 2022, section 5.3; C. Hwang et al., "Tutel", MLSys
// 2023, section 3.4. P messages per rank instead of P L, all of them rail-aligned. Needs NVLink
// nodes with equally many ranks. The phases do not overlap here; an implementation that pipelines
// them hides most of the first.
class HierarchicalAllToAll final : public CollectiveAlgorithm {
 public:
  bool supports(const CollectiveCall& call, const Topology& topology) const override {
    if (call.kind != CollectiveKind::kAllToAll) return false;
    const auto nodes = by_node(call.gpus, topology);
    if (nodes.size() < 2 || nodes.front().size() < 2) return false;
    for (const std::vector<int>& node : nodes) {
      if (node.size() != nodes.front().size() || !topology.nvlink_connected(node)) return false;
    }
    return true;
  }

  CostCurve curve(CollectiveKind, std::span<const int> gpus,
                  const Topology& topology) const override {
    const auto nodes = by_node(gpus, topology);
    const double local = static_cast<double>(nodes.front().size());
    const double count = static_cast<double>(nodes.size());
    LinkLoads inside(topology), rails(topology);
    Seconds inside_hop, rail_hop;
    for (const std::vector<int>& node : nodes) {
      inside.add_all_pairs(node, 1 / local);
      inside_hop = std::max(inside_hop, longest_hop(node, topology));
    }
    for (std::size_t j = 0; j < nodes.front().size(); ++j) {
      std::vector<int> rail;
      rail.reserve(nodes.size());
      for (const std::vector<int>& node : nodes) rail.push_back(node[j]);
      rails.add_all_pairs(rail, 1 / count);
      rail_hop = std::max(rail_hop, longest_hop(rail, topology));
    }
    const Seconds hops =
        (3.2 + 0.12 * (local - 1)) * inside_hop + (3.2 + 0.12 * (count - 1)) * rail_hop;
    const double seconds_per_byte =
        inside.busiest().seconds_per_byte + rails.busiest().seconds_per_byte;
    LinkLoads total = rails;
    total.add(inside);
    return {nccl_lines(nccl_fixed(gpus, topology), hops, seconds_per_byte), total.busiest().share};
  }
};

const Register<CollectiveAlgorithm> kHierarchicalAllToAll{
    "hierarchical_all_to_all", "NVLink inside the node, then along the rails; few large messages",
    [](Reader&) { return std::make_unique<HierarchicalAllToAll>(); }};

}  // namespace

}  // namespace moesim
