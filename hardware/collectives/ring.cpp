#include <algorithm>

#include "hardware/link_loads.h"
#include "sim/base/registry.h"

namespace moesim {

namespace {

// All ranks in a circle; n-1 hops of S/n each to reduce-scatter, as many to all-gather.
//   t = fixed + h x (hops around the circle) + f x S / B(busiest link)
//   f = 2(n-1)/n all-reduce, (n-1)/n all-gather and reduce-scatter, 1 broadcast; hops counted in
//   the same way
// P. Patarasuk and X. Yuan, JPDC 69(2), 2009; f is the "busbw" factor of nccl-tests,
// doc/PERFORMANCE.md. Across nodes there is one circle per GPU of the smallest node, each with its
// share of the bytes: circle r enters and leaves a node by the NIC of local GPU r and runs around
// the others in between (NCCL's channels on rails). Not for many ranks and few bytes: the hops
// rule, and a tree has fewer.
class Ring final : public CollectiveAlgorithm {
 public:
  bool supports(const CollectiveCall& call, const Topology&) const override {
    return call.kind != CollectiveKind::kAllToAll;
  }

  CostCurve curve(CollectiveKind kind, std::span<const int> gpus,
                  const Topology& topology) const override {
    const auto nodes = by_node(gpus, topology);
    std::size_t circles = nodes.size() > 1 ? nodes.front().size() : 1;
    for (const auto& node : nodes) circles = std::min(circles, node.size());
    const double n = static_cast<double>(gpus.size());
    const double factor = rounds(kind) * (kind == CollectiveKind::kBroadcast ? 1 : (n - 1) / n);
    LinkLoads loads(topology);
    Seconds around;
    for (std::size_t circle = 0; circle < circles; ++circle) {
      const double share = factor / static_cast<double>(circles);
      around = std::max(around, add_circle(circle, nodes, share, topology, loads));
    }
    const LinkLoads::Busiest busiest = loads.busiest();
    const Seconds hops = (rounds(kind) * (n - 1) / n) * around;
    return {nccl_lines(nccl_fixed(gpus, topology), hops, busiest.seconds_per_byte), busiest.share};
  }

 private:
  static double rounds(CollectiveKind kind) { return kind == CollectiveKind::kAllReduce ? 2 : 1; }

  /// Loads one circle; returns the latency once around it.
  static Seconds add_circle(std::size_t circle, const std::vector<std::vector<int>>& nodes,
                            double share, const Topology& topology, LinkLoads& loads) {
    Seconds around;
    const auto hop = [&](int from, int to) {
      loads.add(from, to, share);
      around += topology.latency(from, to);
    };
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const std::vector<int>& node = nodes[i];
      const std::vector<int>& next = nodes[(i + 1) % nodes.size()];
      for (std::size_t k = 0; node.size() > 1 && k < node.size(); ++k) {
        hop(node[(circle + k) % node.size()], node[(circle + k + 1) % node.size()]);
      }
      if (nodes.size() > 1) hop(node[circle], next[circle]);
    }
    return around;
  }
};

const Register<CollectiveAlgorithm> kRing{"ring",
                                          "circles over all ranks; best for large messages (NCCL)",
                                          [](Reader&) { return std::make_unique<Ring>(); }};

}  // namespace

}  // namespace moesim
