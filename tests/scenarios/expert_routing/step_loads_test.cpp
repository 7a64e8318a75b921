#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "scenarios/routing_trace.h"
#include "scenarios/step_replay.h"
#include "tests/scenarios/expert_routing/expert_routing_support.h"
#include "tests/scenarios/scenarios_support.h"

using namespace moesim;

namespace {

const RoutingShape kShape{.layers = 2, .experts = 3, .top_k = 2};

/// Two steps of four tokens: on layer 0 all take expert 0, on layer 1 all take expert 2.
StepLoads two_steps() {
  StepLoads loads;
  loads.shape = kShape;
  loads.steps = {{0, 0, 0, 4}, {10, 1, 0, 4}};
  loads.counts = {4, 3, 1, 2, 2, 4, 4, 1, 3, 1, 3, 4};
  return loads;
}

std::string section(const TempFolder& folder, const StepLoads& loads,
                    const std::string& more = "") {
  const std::string file = folder.write("steps.csv", write_routing_csv(loads)).string();
  return "{kind: step_loads, path: " + file + more + "}";
}

}  // namespace

TEST_CASE("step_loads: recorded steps reach the simulated ones") {
  const TempFolder folder;
  const auto routing = kind_of(section(folder, two_steps(), ", order: in_order"));
  routing->check(kShape);
  const auto steps = routing->steps(kShape, 1);
  REQUIRE(steps != nullptr);
  std::vector<std::uint32_t> counts(3);
  steps->counts(1, 0, 4, counts);
  CHECK(counts == std::vector<std::uint32_t>{4, 1, 3});
  steps->counts(2, 1, 2, counts);
  CHECK(counts == std::vector<std::uint32_t>{1, 1, 2});
  CHECK(kind_of("{kind: uniform}")->steps(kShape, 1) == nullptr);
}

TEST_CASE("step_loads: who wants tokens gets those of all steps together") {
  const TempFolder folder;
  const auto routing = kind_of(section(folder, two_steps()));
  const RoutingTable table = routing->table(kShape, {20, 0, 500}, 3, 0);
  const std::vector<double> counts = counts_of(table, 0);
  CHECK(counts[0] / 10'000 == doctest::Approx(1).epsilon(0.01));
  CHECK(counts[1] / 5'000 == doctest::Approx(1).epsilon(0.05));
  CHECK(routing->independent_tokens());
}

TEST_CASE("step_loads: other layers only if told to, other experts never") {
  const TempFolder folder;
  RoutingShape deeper = kShape;
  deeper.layers = 5;
  CHECK(mistake_of(section(folder, two_steps()), deeper) ==
        "path: its tokens choose 2 of 3 experts in 2 layers, the model's 2 of 3 in 5; give a trace "
        "of this model, or write adapt: layers");
  const std::string adapted = section(folder, two_steps(), ", adapt: layers");
  CHECK(mistake_of(adapted, deeper).empty());
  CHECK(mistake_of(adapted, kShape) ==
        "adapt: has no effect: the trace has the model's shape; leave it out");
  const auto steps = kind_of(adapted)->steps(deeper, 1);
  std::vector<std::uint32_t> counts(3);
  for (int layer = 0; layer < 5; ++layer) {
    steps->counts(0, layer, 4, counts);  // floor(layer * 2 / 5): 0 0 0 1 1
    CHECK(counts[layer < 3 ? 0 : 2] == 4);
  }
  CHECK(mistake_of(adapted, {2, 4, 2, 0, 0}).find("latent_logit") != std::string::npos);
  CHECK(mistake_of(section(folder, two_steps(), ", adapt: experts"), kShape).find("'experts'") !=
        std::string::npos);
}

TEST_CASE("step_loads: tokens, copies and idle recordings are refused") {
  const TempFolder folder;
  const std::string tokens = folder.write("t.mrt", write_mrt(small_table())).string();
  CHECK(mistake_of("{kind: step_loads, path: " + tokens + "}", kShape) ==
        "path: holds tokens, not loads of steps; write kind: trace to replay them");
  StepLoads physical = two_steps();
  physical.physical = true;
  CHECK(mistake_of(section(folder, physical), kShape).starts_with("path: its ids are of stored"));
  StepLoads idle = two_steps();
  idle.free_sum = true;
  std::fill(idle.counts.begin(), idle.counts.begin() + 3, 0U);
  std::fill(idle.counts.begin() + 9, idle.counts.end(), 0U);
  CHECK(mistake_of(section(folder, idle), kShape).starts_with("path: holds no step with load"));
  CHECK_FALSE(mistake_of("{kind: step_loads, path: /no/such.csv}", kShape).empty());
}

TEST_CASE("step_loads: what a token of a step would need is refused at its key") {
  const TempFolder folder;
  StepLoads loads;
  loads.shape = {32, 8, 2, 0, 0};  // Mixtral's
  loads.steps = {{0, 0, 0, 8}};
  loads.counts.assign(32 * 8, 2);
  const std::string file = folder.write("steps.csv", write_routing_csv(loads)).string();
  const std::string text = with_line(
      19, "routing: {kind: step_loads, path: " + file + ", fidelity: exact, capacity_factor: 1}");
  CHECK(compare(mistakes_of(text),
                {{19, "routing.capacity_factor", "do not say which token", "kind: loads"},
                 {19, "routing.fidelity", "has no effect", ""}}) == "");
  CHECK(mistakes_of(with_line(19, "routing: {kind: step_loads, path: " + file + "}")).empty());
}
