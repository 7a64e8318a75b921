#include "hardware/link_loads.h"
#include "sim/base/registry.h"

namespace moesim {

namespace {

// NVLink SHARP: the switch sums. Every rank sends its buffer once and receives its n-th part
// summed, then the parts are multicast the same way, both phases at once.
//   t = fixed + h_Simple x 2(n-1) hops + (1 + 1/n) S / B
// NVIDIA, NCCL 2.17 release notes, 2023; measured on 8 H100: 479 GB/s bus bandwidth (nccl-tests
// issue 347), which no ring reaches. NVSwitch of sm 90 and later. Taken for more than four ranks:
// with four, NCCL 2.29 runs at the speed of a ring. Not for small S: it waits as long as a ring of
// the Simple protocol (fitted to the same tables).
class Nvls final : public CollectiveAlgorithm {
 public:
  bool supports(const CollectiveCall& call, const Topology& topology) const override {
    return call.kind == CollectiveKind::kAllReduce && call.gpus.size() > 4 &&
           topology.nvlink_connected(call.gpus) && topology.sm_version(call.gpus) >= 90;
  }

  CostCurve curve(CollectiveKind, std::span<const int> gpus,
                  const Topology& topology) const override {
    const double n = static_cast<double>(gpus.size());
    LinkLoads loads(topology);
    loads.add_all_pairs(gpus, (1 + 1 / n) / (n - 1));
    const LinkLoads::Busiest busiest = loads.busiest();
    const Seconds hops = (2 * (n - 1)) * longest_hop(gpus, topology);
    const CostLine simple =
        nccl_lines(nccl_fixed(gpus, topology), hops, busiest.seconds_per_byte).back();
    return {{simple}, busiest.share};
  }
};

const Register<CollectiveAlgorithm> kNvls{
    "nvls", "sums in the NVSwitch; best for large all-reduces of more than four Hopper or later",
    [](Reader&) { return std::make_unique<Nvls>(); }};

}  // namespace

}  // namespace moesim
