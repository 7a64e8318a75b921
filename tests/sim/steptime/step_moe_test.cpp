// Steps that take recorded loads of steps.
#include <doctest/doctest.h>
#include <memory>
#include <utility>
#include <vector>

#include "scenarios/step_replay.h"
#include "tests/sim/steptime/moe_support.h"

using namespace moesim;

namespace {

/// Two MoE layers of four experts, top-1; layer 0 of step n loads expert n % 4 twice as much.
class Recorded final : public ExpertRouting {
 public:
  [[nodiscard]] RoutingTable table(const RoutingShape& shape, const TableSize& size,
                                   std::uint64_t /*seed*/, std::uint64_t /*epoch*/) const override {
    return empty_table(shape, size);
  }
  [[nodiscard]] std::unique_ptr<StepReplay> steps(const RoutingShape& shape,
                                                  std::uint64_t seed) const override {
    StepLoads loads;
    loads.shape = shape;
    for (std::size_t n = 0; n < 4; ++n) {
      loads.steps.emplace_back();
      for (std::size_t e = 0; e < 8; ++e) loads.counts.push_back(e == n ? 40 : 20);
    }
    StepReplay::Options options;
    options.order = StepReplay::Order::kInOrder;
    options.seed = seed;
    return std::make_unique<StepReplay>(loads, options);
  }
};

/// Assignments after steps 0 .. `steps` - 1 of `tokens` decodes, and what else was seen.
MoeStats run(int dp, std::uint64_t steps, int tokens) {
  Lockstep group({.dp = dp, .enforce_eager = true, .routing = std::make_unique<Recorded>()});
  for (std::uint64_t step = 0; step < steps; ++step) {
    std::vector<StepWork> ranks;
    for (int rank = 0; rank < dp; ++rank) {
      ranks.push_back(work(tokens / dp, kNone, tokens / dp));
      ranks.back().step = step;
    }
    (void)group(ranks);
  }
  return group.step_time.moe_stats();
}

}  // namespace

TEST_CASE("simulated steps load experts as the recorded ones did") {
  const MoeStats first = run(1, 1, 50);
  CHECK(first.fidelity == "steps");
  CHECK(first.expert_load == std::vector<double>{20, 10, 10, 10, 13, 13, 12, 12});
  const MoeStats all = run(1, 4, 50);
  CHECK(all.expert_load == std::vector<double>{50, 50, 50, 50, 52, 52, 48, 48});
  CHECK(all.layers[0].steps == 4);
  CHECK(all.layers[0].tokens == 200);
  CHECK(all.layers[0].assignments == 200);
  CHECK(all.layers[0].expert_imbalance / 4 == doctest::Approx(20 / 12.5));
  CHECK_FALSE(all.dispatch_estimated);
}

TEST_CASE("where tokens are sent, recorded steps leave that to a guess, and it is said") {
  const MoeStats two = run(2, 1, 50);
  CHECK(two.dispatch_estimated);
  CHECK(two.layers[0].rank_imbalance == doctest::Approx(30.0 / 25));
}

TEST_CASE("of a large step some tokens are dealt and stand for all of it") {
  ModelSpec model = three_layers();
  const std::unique_ptr<Family> family = make_family(model);
  const ByFunction kernels{[](const Op&) { return 1.0; }};
  const FixedDispatch dispatch(100, 200, true);
  MoeGroup group({.family = family.get(),
                  .shard = make_shard(model, {.dp = 2, .expert_parallel = true}, 0).shard,
                  .kernels = &kernels,
                  .dispatch = &dispatch,
                  .ranks = 2,
                  .node_of_rank = {0, 0}},
                 placed(2, 4, {{0, 1}, {2, 3}}));
  MoeSetup setup;
  setup.routing = std::make_unique<Recorded>();
  setup.shape = {.layers = 2, .experts = 4, .top_k = 1};
  setup.stages.push_back({std::move(group), {{model.layers.back(), 2}}, {0, 0}, 0});
  auto steps = setup.routing->steps(setup.shape, 1);
  const auto moe = make_step_moe(std::move(setup), std::move(steps));
  const std::vector<double> held = {2500, 2500};
  MoeStep step;
  step.held = held;
  step.decode_tokens = 5000;
  MoeStageCost cost;
  moe->price(step, {&cost, 1});
  // Of the last layer, which is even: 1024 tokens dealt, each to one of two ranks.
  CHECK(dispatch.seen.copies == std::vector<double>{2500, 2500});
  CHECK(dispatch.seen.nodes == std::vector<double>{5000});
  CHECK(cost.dispatch_ns == 200);
}
