#include "hardware/link_loads.h"
#include "sim/base/registry.h"

namespace moesim {

namespace {

// Every rank sends S/n to every other, all at once.
//   t = fixed + h x (3.2 + 0.12 (n-1)) hops + S/n x (pairs on the busiest link) / B
// serving-semantics 3.5: the busiest link decides. Grouped ncclSend/ncclRecv, as nccl-tests'
// alltoall; the number of hops (handshake and data, and a little per peer) is fitted to
// NCCL 2.27-2.29 with 2, 4 and 8 GPUs of A100, H100, H200 and B200 (AIConfigurator data, 2026-08).
// Between nodes every byte takes the path of its own GPU's NIC; incast and message-rate limits of
// the NIC are not modelled.
class DirectAllToAll final : public CollectiveAlgorithm {
 public:
  bool supports(const CollectiveCall& call, const Topology&) const override {
    return call.kind == CollectiveKind::kAllToAll;
  }

  CostCurve curve(CollectiveKind, std::span<const int> gpus,
                  const Topology& topology) const override {
    const double n = static_cast<double>(gpus.size());
    LinkLoads loads(topology);
    loads.add_all_pairs(gpus, 1 / n);
    const LinkLoads::Busiest busiest = loads.busiest();
    const Seconds hops = (3.2 + 0.12 * (n - 1)) * longest_hop(gpus, topology);
    return {nccl_lines(nccl_fixed(gpus, topology), hops, busiest.seconds_per_byte), busiest.share};
  }
};

const Register<CollectiveAlgorithm> kDirectAllToAll{
    "direct_all_to_all", "every rank sends to every other at once (NCCL)",
    [](Reader&) { return std::make_unique<DirectAllToAll>(); }};

}  // namespace

}  // namespace moesim
