#include "hardware/link_loads.h"
#include "sim/base/registry.h"

namespace moesim {

namespace {

// Every rank sums its n-th part from all peers, then gathers the other parts.
//   t = 2 a1 + 2(n-1)/n S / B
// vLLM, csrc/custom_all_reduce.cuh (two stages); serving-semantics 4.4. The same form describes
// torch's symmetric-memory all-reduce that vLLM takes above the custom limits on sm 90 and 100:
// vLLM 0.24 on 8 H100, 2 to 16 MiB, lies within 8 % of it. With two ranks that kernel is slower (30
// % at 32 MiB). Same requirements as one_shot.
class TwoShot final : public CollectiveAlgorithm {
 public:
  bool supports(const CollectiveCall& call, const Topology& topology) const override {
    if (call.kind != CollectiveKind::kAllReduce || !topology.peer_access(call.gpus)) return false;
    return call.gpus.size() <= 2 || (call.gpus.size() <= 8 && topology.nvlink_connected(call.gpus));
  }

  CostCurve curve(CollectiveKind, std::span<const int> gpus,
                  const Topology& topology) const override {
    LinkLoads loads(topology);
    loads.add_all_pairs(gpus, 2.0 / static_cast<double>(gpus.size()));
    const LinkLoads::Busiest busiest = loads.busiest();
    return {{{2.0 * topology.latencies(gpus).custom_all_reduce, busiest.seconds_per_byte}},
            busiest.share};
  }
};

const Register<CollectiveAlgorithm> kTwoShot{
    "two_shot", "custom all-reduce, reduce-scatter then all-gather; small messages in a node",
    [](Reader&) { return std::make_unique<TwoShot>(); }};

}  // namespace

}  // namespace moesim
