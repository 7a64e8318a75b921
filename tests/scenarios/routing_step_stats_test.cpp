#include "scenarios/routing_step_stats.h"

#include <cmath>
#include <doctest/doctest.h>
#include <fstream>
#include <nlohmann/json.hpp>

#include "scenarios/routing_trace.h"
#include "tests/scenarios/routing_support.h"

namespace moesim {
namespace {

using nlohmann::json;

StepLoads two_layers() {
  StepLoads loads;
  loads.shape = {.layers = 2, .experts = 4, .top_k = 1};
  loads.steps = {{0, 0, 0, 8}, {1, 1, 0, 0}, {2, 2, 0, 8}};
  loads.counts = {4, 2, 1, 1, 8, 0, 0, 0,  // step 0
                  0, 0, 0, 0, 0, 0, 0, 0,  // nothing ran
                  2, 2, 2, 2, 2, 2, 2, 2};
  return loads;
}

TEST_CASE("the two balancednesses engines log are not the same number") {
  const StepStats stats = step_stats(two_layers(), 2, 0, 1);
  CHECK(stats.steps == 1);
  // Ranks: layer 0 has 6 and 2, layer 1 has 8 and 0; both means are 4.
  CHECK(stats.balancedness_sglang == doctest::Approx((4.0 / 6 + 4.0 / 8) / 2));
  CHECK(stats.balancedness_vllm == doctest::Approx(8.0 / 14));
  CHECK(stats.rank_max_over_mean.max == doctest::Approx(2));
  CHECK(stats.rank_max_over_mean.p50 == doctest::Approx(1.75));
  CHECK(stats.expert_max_over_mean.mean == doctest::Approx(3));
  CHECK(stats.distinct.mean == doctest::Approx(2.5));
}

TEST_CASE("steps without tokens are left out") {
  const StepStats stats = step_stats(two_layers(), 2);
  CHECK(stats.steps == 2);
  CHECK(stats.balancedness_vllm == doctest::Approx((8.0 / 14 + 1) / 2));
  CHECK(step_stats(two_layers(), 2, 5).steps == 0);
}

TEST_CASE("drift is the distance of windows, by lag") {
  StepLoads loads;
  loads.shape = {.layers = 1, .experts = 2, .top_k = 1};
  loads.steps.resize(6);
  loads.counts = {1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0};  // windows of two: a, b, a
  const std::vector<Drift> drift = drift_of(loads, 2);
  CHECK(drift.size() == 2);
  CHECK(drift[0].pairs == 2);
  CHECK(drift[0].distance == doctest::Approx(1));
  CHECK(drift[1].lag == 2);
  CHECK(drift[1].distance == doctest::Approx(0));
}

TEST_CASE("sequences too short and repetition loops stay out of a lockstep") {
  RoutingTable table = small_table();  // decode rows: 2 and 2; the second finished
  table.sequences[1].flags = 2;
  const StepLoads loads = lockstep_loads(table, 8, 2);
  CHECK(loads.steps[0].decode_tokens == 1);
  CHECK(loads.counts[1] == 1);  // row 1, layer 0: experts 1 and 3
  CHECK(loads.counts[3] == 1);
  CHECK(first_mistake([&] { static_cast<void>(lockstep_loads(table, 8, 3)); }).problem ==
        "no sequence has 3 decode rows");
}

TEST_CASE("real sequences in lockstep give the step loads and figures published with them") {
  const auto path = routing_data("gpt_oss_20b_tokens.mrt");
  if (is_missing(path)) return;
  const RoutingTable table = read_routed_tokens(path);
  const StepLoads loads = lockstep_loads(table, 64, 200);
  const auto sample =
      std::get<StepLoads>(read_routing_trace(routing_data("gpt_oss_20b_sample.steps.mrt")));
  CHECK(std::equal(sample.counts.begin(), sample.counts.end(), loads.counts.begin()));

  std::ifstream file(routing_data("gpt_oss_20b_stats.json"));
  const json expected = json::parse(file)["lockstep_decode"];
  for (const int requests : {1, 8, 32, 64, 128}) {
    CAPTURE(requests);
    const StepLoads batch = lockstep_loads(table, requests, 200);
    struct Steps {
      const char* name;
      std::size_t first, count;
    };
    for (const Steps& steps : {Steps{"steps_0", 0, 1}, Steps{"mean_steps_8_199", 8, 192}}) {
      CAPTURE(steps.name);
      const json& row = expected[std::to_string(requests)][steps.name];
      const StepStats on4 = step_stats(batch, 4, steps.first, steps.count);
      const StepStats on8 = step_stats(batch, 8, steps.first, steps.count);
      const auto near = [&](double value, const char* key) {
        return std::abs(value - row[key].get<double>()) < 5.1e-4;  // three decimals
      };
      CHECK(near(on4.expert_max_over_mean.mean, "expert_max_over_mean"));
      CHECK(near(on4.expert_cv.mean, "expert_cv"));
      CHECK(near(on4.distinct.mean, "distinct_experts"));
      CHECK(near(on4.rank_max_over_mean.mean, "ep4_max_over_mean"));
      CHECK(near(on8.rank_max_over_mean.mean, "ep8_max_over_mean"));
    }
  }
}

}  // namespace
}  // namespace moesim
