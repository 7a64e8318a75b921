#include <bit>

#include "hardware/link_loads.h"
#include "sim/base/registry.h"

namespace moesim {

namespace {

// Recursive halving, then doubling: log2(n) exchanges with partners 1, 2, 4 ... apart, of S/2, S/4
// ... bytes; then back. The far partners get the small pieces.
//   t = fixed + h x 2 (hops of the exchanges) + 2 (sum over exchanges of the busiest link);
//   2(n-1)/n S on a full duplex
// R. Thakur, R. Rabenseifner and W. Gropp, "Optimization of collective communication operations in
// MPICH", IJHPCA 19(1), 2005. Powers of two only. NCCL and vLLM have no such all-reduce, so
// `Collectives` never takes it: it is here to compare with.
class HalvingDoubling final : public CollectiveAlgorithm {
 public:
  bool supports(const CollectiveCall& call, const Topology&) const override {
    return call.kind == CollectiveKind::kAllReduce && std::has_single_bit(call.gpus.size());
  }

  CostCurve curve(CollectiveKind, std::span<const int> gpus,
                  const Topology& topology) const override {
    const std::vector<int> ranks = in_order(gpus);
    LinkLoads total(topology);
    Seconds hops;
    double seconds_per_byte = 0;
    double piece = 0.5;
    for (std::size_t distance = 1; distance < ranks.size(); distance *= 2, piece /= 2) {
      LinkLoads exchange(topology);
      Seconds hop;
      for (std::size_t i = 0; i < ranks.size(); ++i) {
        const int partner = ranks[i ^ distance];
        exchange.add(ranks[i], partner, 2 * piece);  // halving and doubling
        hop = std::max(hop, topology.latency(ranks[i], partner));
      }
      hops += 2.0 * hop;
      seconds_per_byte += exchange.busiest().seconds_per_byte;
      total.add(exchange);
    }
    return {nccl_lines(nccl_fixed(gpus, topology), hops, seconds_per_byte), total.busiest().share};
  }
};

const Register<CollectiveAlgorithm> kHalvingDoubling{
    "halving_doubling", "exchanges at doubling distances; for comparison, no engine uses it",
    [](Reader&) { return std::make_unique<HalvingDoubling>(); }};

}  // namespace

}  // namespace moesim
