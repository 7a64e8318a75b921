#include "hardware/link_loads.h"
#include "sim/base/registry.h"

namespace moesim {

namespace {

// Every rank reads the whole buffer of every peer and sums by itself.
//   t = a1 + (n-1) S / B
// vLLM, csrc/custom_all_reduce.cuh (one stage); serving-semantics 4.4. a1 is the custom_all_reduce
// latency of the system. Needs peer access inside one node: NVLink between all, or two ranks. vLLM
// uses it for 2, 4, 6 or 8 ranks. Not for large S: two_shot sends 2/n of it.
class OneShot final : public CollectiveAlgorithm {
 public:
  bool supports(const CollectiveCall& call, const Topology& topology) const override {
    if (call.kind != CollectiveKind::kAllReduce || !topology.peer_access(call.gpus)) return false;
    return call.gpus.size() <= 2 || (call.gpus.size() <= 8 && topology.nvlink_connected(call.gpus));
  }

  CostCurve curve(CollectiveKind, std::span<const int> gpus,
                  const Topology& topology) const override {
    LinkLoads loads(topology);
    loads.add_all_pairs(gpus, 1.0);
    const LinkLoads::Busiest busiest = loads.busiest();
    return {{{topology.latencies(gpus).custom_all_reduce, busiest.seconds_per_byte}},
            busiest.share};
  }
};

const Register<CollectiveAlgorithm> kOneShot{
    "one_shot", "custom all-reduce, each rank reads all; best for tiny messages in a node",
    [](Reader&) { return std::make_unique<OneShot>(); }};

}  // namespace

}  // namespace moesim
