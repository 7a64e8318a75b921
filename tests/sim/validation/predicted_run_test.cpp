#include "sim/validation/predicted_run.h"

#include <doctest/doctest.h>
#include <stdexcept>
#include <string>
#include <vector>

#include "scenarios/load.h"

using namespace moesim;

namespace {

/// Llama-3.1-8B on a 24 GB card: 15 GiB of weights leave room for 40,000 tokens, not for 131,072.
Scenario scenario() {
  return load_scenario_text(R"(
schema_version: 1
name: t
model: meta-llama/Llama-3.1-8B
system: {nodes: [{profile: rtx_4090, gpus: 1}]}
deployment: {instances: [{tensor_parallel_size: 1}]}
workload: {arrival: {kind: all_at_once}, synthetic: {num_prompts: 4, input_tokens: 100, output_tokens: 10}}
)",
                            "t", ".");
}

}  // namespace

TEST_CASE("a server that ran had room for its longest request") {
  const PredictedRun strict = predict(scenario());
  CHECK(strict.problem.starts_with("does not fit: one request of 131072 tokens"));
  CHECK_FALSE(strict.output_tok_s.has_value());
  const PredictedRun free = predict(scenario(), {.workload = nullptr, .length_is_free = true});
  CHECK(free.problem.empty());
  CHECK(free.assumed == "max_model_len as long as the longest request");
  CHECK(free.completed == 4);
  CHECK(free.num_gpu_blocks * 16 > 4 * 110);
}

TEST_CASE("requests given from outside replace the scenario's") {
  Scenario short_model = scenario();
  short_model.instances.front().engine.max_model_len = 2000;
  Workload workload = make_workload(short_model.workload, 1);
  for (std::uint32_t& tokens : workload.output_tokens) tokens = 20;
  const PredictedRun own = predict(short_model);
  const PredictedRun given = predict(short_model, {.workload = &workload, .length_is_free = false});
  REQUIRE(own.problem.empty());
  REQUIRE(given.problem.empty());
  // Twice the tokens after the same first one: 19 gaps to 9.
  CHECK((given.e2e_ms->mean - given.ttft_ms->mean) / (own.e2e_ms->mean - own.ttft_ms->mean) ==
        doctest::Approx(19.0 / 9).epsilon(0.02));
}

TEST_CASE("every index once, whatever the number of threads; the first failure is the one thrown") {
  for (const int jobs : {1, 3, 50}) {
    CAPTURE(jobs);
    std::vector<int> seen(20);
    for_each_index(seen.size(), jobs, [&](std::size_t i) { ++seen[i]; });
    CHECK(seen == std::vector<int>(20, 1));
    const auto failing = [](std::size_t i) {
      if (i == 7 || i == 11) throw std::runtime_error(std::to_string(i));
    };
    CHECK_THROWS_WITH(for_each_index(20, jobs, failing), "7");
  }
  for_each_index(0, 4, [](std::size_t) { FAIL("nothing to do"); });
}
