#include "hardware/dispatch_gathers.h"
#include "hardware/dispatch_maker.h"

namespace moesim {

namespace {

/// Router scores travel with the tokens, 16 bit for each expert: experts are chosen afterwards.
constexpr double kScoreBytes = 2;

// vLLM's default before 0.11 (serving-semantics 1.2): each rank in turn broadcasts its tokens, then
// its router scores; afterwards an all-reduce over the whole batch, of which each rank keeps its
// part. One broadcast waits for the one before.
class Naive final : public DispatchBackend {
 public:
  explicit Naive(const DispatchSetup& setup)
      : groups_(setup),
        token_bytes_(setup.dispatch_token_bytes),
        score_bytes_(kScoreBytes * setup.experts),
        back_bytes_(setup.combine_token_bytes) {}

  DispatchCost cost(const DispatchTraffic& traffic) const override {
    double seconds = 0, one = 0, last = -1;
    for (std::size_t rank = 0; rank < groups_.ranks(); ++rank) {
      const double held = groups_.held(traffic.held, rank);
      if (held != last) {
        one = groups_.seconds(CollectiveKind::kBroadcast, held * token_bytes_) +
              groups_.seconds(CollectiveKind::kBroadcast, held * score_bytes_);
      }
      last = held;
      seconds += one;
    }
    DispatchCost cost;
    cost.dispatch_ns = 1e9 * seconds;
    cost.combine_ns = 1e9 * groups_.seconds(CollectiveKind::kAllReduce,
                                            groups_.tokens(traffic.held) * back_bytes_);
    // An all-reduce is a reduce-scatter and an all-gather.
    groups_.count_bytes(traffic.held, token_bytes_ + score_bytes_, 2 * back_bytes_, cost);
    return cost;
  }

  DispatchSource source() const override { return {.spread = kNcclSpread}; }
  bool routed() const override { return false; }

 private:
  GatherGroups groups_;
  double token_bytes_, score_bytes_, back_bytes_;  // of a token
};

const RegisterDispatch kNaive{"naive", "a broadcast from each rank, an all-reduce of everything",
                              [](const DispatchSetup& setup) -> std::unique_ptr<DispatchBackend> {
                                return std::make_unique<Naive>(setup);
                              }};

}  // namespace

}  // namespace moesim
