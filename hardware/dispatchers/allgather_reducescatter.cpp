#include "hardware/dispatch_gathers.h"
#include "hardware/dispatch_maker.h"

namespace moesim {

namespace {

/// Id (32 bit) and weight (float) of each of a token's experts go with it.
constexpr double kIndexBytes = 8;

// vLLM's default since 0.11: gather all tokens, compute, scatter the sums (serving-semantics 3.4
// (a)). Every token goes to every rank, so experts do not matter. Equal counts are one all-gather;
// ragged ones n grouped broadcasts, and n grouped reductions back: the same bytes over the same
// ring, plus what every further operation of a group costs.
class AllGatherReduceScatter final : public DispatchBackend {
 public:
  explicit AllGatherReduceScatter(const DispatchSetup& setup)
      : groups_(setup),
        there_bytes_(setup.dispatch_token_bytes + kIndexBytes * setup.top_k),
        back_bytes_(setup.combine_token_bytes) {}

  DispatchCost cost(const DispatchTraffic& traffic) const override {
    const double tokens = groups_.tokens(traffic.held);
    const double ragged = groups_.equal(traffic.held)
                              ? 0
                              : static_cast<double>(groups_.ranks()) * groups_.each_more();
    DispatchCost cost;
    cost.dispatch_ns =
        1e9 * (groups_.seconds(CollectiveKind::kAllGather, tokens * there_bytes_) + ragged);
    cost.combine_ns =
        1e9 * (groups_.seconds(CollectiveKind::kReduceScatter, tokens * back_bytes_) + ragged);
    groups_.count_bytes(traffic.held, there_bytes_, back_bytes_, cost);
    return cost;
  }

  DispatchSource source() const override { return {.spread = kNcclSpread}; }
  bool routed() const override { return false; }

 private:
  GatherGroups groups_;
  double there_bytes_, back_bytes_;  // of a token
};

const RegisterDispatch kAllGather{
    "allgather_reducescatter", "NCCL all-gather of all tokens, reduce-scatter of the sums",
    [](const DispatchSetup& setup) -> std::unique_ptr<DispatchBackend> {
      return std::make_unique<AllGatherReduceScatter>(setup);
    }};

}  // namespace

}  // namespace moesim
