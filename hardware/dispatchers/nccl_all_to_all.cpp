#include <algorithm>

#include "hardware/dispatch_gathers.h"
#include "hardware/dispatch_maker.h"
#include "hardware/dispatch_pairs.h"
#include "hardware/link_loads.h"

namespace moesim {

namespace {

/// Id and weight of the expert go with every copy: 4 bytes each.
constexpr double kIndexBytes = 8;
/// Receivers must know how much comes: a second, small all-to-all, and the CPU waits for it, 50 to
/// 100 us (serving-semantics 4.5, unverified).
constexpr double kSizesOnHost = 50e-6;

// Grouped ncclSend and ncclRecv of a copy per (token, expert), no de-duplication (serving-semantics
// 3.4 (b)). Start and protocols as in collectives/direct_all_to_all.cpp; the busiest link under the
// actual counts. Dispatch is preceded by the exchange of sizes; combine knows them.
class NcclAllToAll final : public DispatchBackend {
 public:
  explicit NcclAllToAll(const DispatchSetup& setup)
      : traffic_(setup),
        there_bytes_(setup.dispatch_token_bytes + kIndexBytes),
        back_bytes_(setup.combine_token_bytes) {
    const double peers = traffic_.ranks() - 1;
    const Seconds hops = (3.2 + 0.12 * peers) * longest_hop(setup.gpus, *setup.topology);
    lines_ = nccl_lines(nccl_fixed(setup.gpus, *setup.topology), hops, 1);
    sizes_ = seconds(0) + kSizesOnHost;
  }

  DispatchCost cost(const DispatchTraffic& traffic) const override {
    const PairTraffic::Result moved = traffic_.of(traffic.held, traffic.slots);
    const bool between = moved.there.between > moved.there.inside;
    const double there = std::max(moved.there.inside, moved.there.between);
    const double back = std::max(moved.back.inside, moved.back.between);
    DispatchCost cost;
    cost.busiest_rank = between ? moved.there.between_rank : moved.there.inside_rank;
    cost.dispatch_ns = 1e9 * (sizes_ + seconds(there_bytes_ * there));
    cost.combine_ns = 1e9 * seconds(back_bytes_ * back);
    cost.dispatch_bytes_intra = there_bytes_ * moved.intra;
    cost.dispatch_bytes_inter = there_bytes_ * moved.inter;
    cost.combine_bytes_intra = back_bytes_ * moved.intra;
    cost.combine_bytes_inter = back_bytes_ * moved.inter;
    return cost;
  }

  DispatchSource source() const override { return {.spread = kNcclSpread}; }
  bool routed() const override { return true; }

  bool needs_copies() const override { return false; }

 private:
  /// The best protocol for a link that is busy so long.
  [[nodiscard]] double seconds(double busy) const {
    double least = lines_.front().fixed.value() + lines_.front().seconds_per_byte * busy;
    for (const CostLine& line : lines_) {
      least = std::min(least, line.fixed.value() + line.seconds_per_byte * busy);
    }
    return least;
  }

  PairTraffic traffic_;
  double there_bytes_, back_bytes_;  // of a copy
  std::vector<CostLine> lines_;      // per second a link is busy
  double sizes_ = 0;
};

const RegisterDispatch kNcclAllToAll{
    "nccl_all_to_all", "NCCL sends and receives: a copy per (token, expert), sizes first",
    [](const DispatchSetup& setup) -> std::unique_ptr<DispatchBackend> {
      return std::make_unique<NcclAllToAll>(setup);
    }};

}  // namespace

}  // namespace moesim
