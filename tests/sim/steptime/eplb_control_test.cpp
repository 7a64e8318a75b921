#include "sim/steptime/eplb_control.h"

#include <cmath>
#include <doctest/doctest.h>
#include <vector>

#include "tests/sim/steptime/moe_support.h"

using namespace moesim;

namespace {

/// Experts whose load the test adds step by step.
class Loaded final : public MoeModel {
 public:
  void price(const MoeStep&, std::span<MoeStageCost>) override {}
  MoeStats stats() const override { return {}; }
  void set_placement(const ExpertPlacement& next) override { placements.push_back(next); }
  void take_load(std::vector<double>& load) override {
    load = sum;
    std::ranges::fill(sum, 0.0);
  }
  void add(const std::vector<double>& load) {
    for (std::size_t e = 0; e < load.size(); ++e) sum[e] += load[e];
  }
  std::vector<double> sum = std::vector<double>(4, 0.0);
  std::vector<ExpertPlacement> placements;
};

constexpr double kMoveNs = 5, kExpertBytes = 7;
// Host time of the balancer: 0.1 s for 58 layers of 288 slots; here one of four.
constexpr double kPlanNs = 1e8 / (58 * 288) * 4;

EplbControl control(const PlacementSpec& spec) {
  EplbControl::Config config;
  config.spec = spec;
  config.shape = {.layers = 1, .experts = 4, .ranks = 2, .nodes = 1, .groups = 0, .redundant = 0};
  config.expert_bytes = kExpertBytes;
  config.stage_of_layer = {0};
  config.transfer_ns = [](int stage, const std::vector<ExpertMove>& moves, double bytes) {
    CHECK(stage == 0);
    CHECK(bytes == kExpertBytes);
    return kMoveNs * static_cast<double>(moves.size());
  };
  return {std::move(config), placed(1, 4, {{0, 1}, {2, 3}})};
}

PlacementSpec every(int interval, int window) {
  PlacementSpec spec;
  spec.name = "eplb";
  spec.step_interval = interval;
  spec.window_size = window;
  return spec;
}

/// Nanoseconds serving stands still after each of `steps` steps; experts 0 and 1 are hot from step
/// `hot_from` on, before that 2 and 3 far more so.
std::vector<double> stops(EplbControl& eplb, Loaded& model, int steps, int hot_from) {
  std::vector<double> result;
  for (int step = 0; step < steps; ++step) {
    model.add(step >= hot_from ? std::vector<double>{10, 10, 1, 1}
                               : std::vector<double>{0, 0, 500, 500});
    result.push_back(eplb.after_step(static_cast<std::uint64_t>(step), model));
  }
  return result;
}

}  // namespace

TEST_CASE("after every interval the window's load is balanced, and serving stops for the copies") {
  EplbControl eplb = control(every(10, 4));
  Loaded model;
  // The window is steps 6 to 9: what came before is not looked at.
  const std::vector<double> stopped = stops(eplb, model, 10, 6);
  for (int step = 0; step < 9; ++step) CHECK(stopped[static_cast<std::size_t>(step)] == 0);
  // One of the hot experts changes places with a cold one: two moves.
  CHECK(stopped[9] == doctest::Approx(2 * kMoveNs + kPlanNs));
  REQUIRE(eplb.rebalances().size() == 1);
  const MoeStats::Rebalance done = eplb.rebalances().front();
  CHECK(done.step == 9);
  CHECK(done.moved_bytes == 2 * kExpertBytes);
  CHECK(done.imbalance_before == doctest::Approx(80.0 * 2 / 88));  // 80 on rank 0 of 88
  CHECK(done.imbalance_after == doctest::Approx(1));
  REQUIRE(model.placements.size() == 1);
  CHECK(model.placements.front() == eplb.placement());
}

TEST_CASE("stages move their experts at once, each for its own time") {
  EplbControl::Config config;
  config.spec = every(1, 1);
  config.shape = {.layers = 3, .experts = 4, .ranks = 2, .nodes = 1, .groups = 0, .redundant = 0};
  config.expert_bytes = kExpertBytes;
  config.stage_of_layer = {0, 0, 1};
  // Links of the second stage are five times as slow.
  config.transfer_ns = [](int stage, const std::vector<ExpertMove>& moves, double) {
    return (stage == 0 ? 1.0 : 5.0) * kMoveNs * static_cast<double>(moves.size());
  };
  EplbControl eplb(std::move(config), placed(3, 4, {{0, 1}, {2, 3}}));
  Loaded model;
  model.sum = {10, 10, 1, 1, 10, 10, 1, 1, 10, 10, 1, 1};
  // Two moves a layer: 4 x 5 ns in the first stage, 2 x 25 ns in the second.
  CHECK(eplb.after_step(0, model) == doctest::Approx(50 + 3 * kPlanNs));
  CHECK(eplb.rebalances().front().moved_bytes == 6 * kExpertBytes);
}

TEST_CASE("a window as long as the interval sees all of it") {
  EplbControl eplb = control(every(5, 5));
  Loaded model;
  const std::vector<double> stopped = stops(eplb, model, 15, 0);
  REQUIRE(eplb.rebalances().size() == 3);
  CHECK(stopped[4] > 0);
  CHECK(eplb.rebalances()[0].imbalance_before == doctest::Approx(100.0 * 2 / 110));
  // The second finds the experts where the first put them.
  CHECK(eplb.rebalances()[1].imbalance_before == doctest::Approx(1));
  CHECK(eplb.rebalances()[1].moved_bytes == 0);
  CHECK(stopped[9] == doctest::Approx(kPlanNs));
}

TEST_CASE("a plan is for the load that was: when it changes, the placement is stale") {
  EplbControl eplb = control(every(4, 2));
  Loaded model;
  stops(eplb, model, 4, 0);  // 0 and 1 apart
  for (int step = 4; step < 8; ++step) {
    model.add({10, 1, 10, 1});
    (void)eplb.after_step(static_cast<std::uint64_t>(step), model);
  }
  REQUIRE(eplb.rebalances().size() == 2);
  // The first plan dealt 0, 1, 2, 3 out in turn: 0 and 2 are together.
  CHECK(eplb.rebalances()[1].imbalance_before == doctest::Approx(40.0 * 2 / 44));
  CHECK(eplb.rebalances()[1].imbalance_after == doctest::Approx(1));
  // What it was planned on tells 1, what came 1.8.
  CHECK(eplb.rebalances()[0].imbalance_after == doctest::Approx(1));
  CHECK(eplb.rebalances()[0].imbalance_next.value() == doctest::Approx(40.0 * 2 / 44));
  CHECK_FALSE(eplb.rebalances()[1].imbalance_next.has_value());
}

TEST_CASE("copies beside serving stop nothing; the placement is in force when they are done") {
  PlacementSpec spec = every(10, 4);
  spec.use_async = true;
  EplbControl eplb = control(spec);
  Loaded model;
  for (const double stopped : stops(eplb, model, 10, 6)) CHECK(stopped == 0);
  REQUIRE(eplb.rebalances().size() == 1);
  const double copy_ns = eplb.rebalances().front().copy_ns;
  CHECK(copy_ns == doctest::Approx(2 * kMoveNs + kPlanNs));
  const ExpertPlacement before = eplb.placement();
  const std::int64_t end = 1'000'000, done = end + static_cast<std::int64_t>(std::ceil(copy_ns));
  eplb.before_step(end + 2 * done, model);  // the step has not ended: nothing is copied yet
  CHECK(model.placements.empty());
  eplb.step_ended(end);
  eplb.step_ended(end + 7);  // a later one does not begin them again
  for (const std::int64_t now : {end, done - 1}) {
    eplb.before_step(now, model);
    CHECK(model.placements.empty());
    CHECK(eplb.placement() == before);
    CHECK_FALSE(eplb.rebalances().front().imbalance_next.has_value());
  }
  eplb.before_step(done, model);
  REQUIRE(model.placements.size() == 1);
  CHECK(model.placements.front() == eplb.placement());
  eplb.before_step(done + 1, model);
  CHECK(model.placements.size() == 1);
  CHECK(eplb.rebalances().size() == 1);
}

TEST_CASE("a plan waits for the copies of the one before, and each is judged by its own time") {
  PlacementSpec spec = every(4, 2);
  spec.use_async = true;
  EplbControl eplb = control(spec);
  Loaded model;
  stops(eplb, model, 4, 0);  // 0 and 1 are hot and together: they are to be parted
  eplb.step_ended(0);
  const ExpertPlacement first = eplb.placement();
  // Steps 4 to 8 still run with the first placement: no plan after step 7.
  const auto run = [&](std::uint64_t step, const std::vector<double>& load) {
    model.add(load);
    CHECK(eplb.after_step(step, model) == 0);
  };
  for (std::uint64_t step = 4; step < 9; ++step) run(step, {10, 10, 1, 1});
  CHECK(eplb.rebalances().size() == 1);
  CHECK(eplb.placement() == first);
  eplb.before_step(1'000'000'000, model);
  CHECK(eplb.placement() != first);
  CHECK_FALSE(eplb.rebalances().front().imbalance_next.has_value());
  // The plan put off comes at once. 0 and 2 are together now; it looks at steps 6 to 9.
  run(9, {10, 1, 10, 1});
  REQUIRE(eplb.rebalances().size() == 2);
  const MoeStats::Rebalance second = eplb.rebalances()[1];
  CHECK(second.step == 9);
  // 40 + 13 of 3 x 22 + 22: ranks {0, 2} and {1, 3}, or the other way round.
  CHECK(second.imbalance_before == doctest::Approx((3 * 11 + 20) * 2 / 88.0));
  // What came since the first was in force: one step, 20 of 22 on one rank.
  eplb.step_ended(2'000'000'000);
  for (std::uint64_t step = 10; step < 12; ++step) run(step, {10, 1, 10, 1});
  eplb.before_step(3'000'000'000, model);
  CHECK(eplb.rebalances()[0].imbalance_next.value() == doctest::Approx(20.0 * 2 / 22));
  // The next is due four steps after the one put off; its window begins in the middle.
  for (std::uint64_t step = 12; step < 13; ++step) run(step, {10, 1, 10, 1});
  CHECK(eplb.rebalances().size() == 2);
  run(13, {10, 1, 10, 1});
  REQUIRE(eplb.rebalances().size() == 3);
  CHECK(eplb.rebalances()[2].step == 13);
}

TEST_CASE("a placement that comes into force within a window takes nothing from its load") {
  PlacementSpec spec = every(4, 4);
  spec.use_async = true;
  EplbControl eplb = control(spec);
  Loaded model;
  stops(eplb, model, 4, 0);
  eplb.step_ended(0);
  for (std::uint64_t step = 4; step < 8; ++step) {
    model.add(step < 6 ? std::vector<double>{0, 0, 0, 30} : std::vector<double>{30, 0, 0, 0});
    if (step == 6) eplb.before_step(1'000'000'000, model);
    CHECK(eplb.after_step(step, model) == 0);
  }
  REQUIRE(eplb.rebalances().size() == 2);
  // 0 and 3 lie apart: 60 each. Without the first half it would be 2.
  CHECK(eplb.rebalances()[1].imbalance_before == doctest::Approx(1));
}

TEST_CASE("nothing is moved for a load of nothing") {
  EplbControl eplb = control(every(2, 1));
  Loaded model;
  for (std::uint64_t step = 0; step < 6; ++step) CHECK(eplb.after_step(step, model) == 0);
  CHECK(eplb.rebalances().empty());
  CHECK(model.placements.empty());
}
