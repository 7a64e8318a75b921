// Draws made beforehand are of ranks that hold equally many tokens; what must hold where they do
// not.
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "hardware/dispatch.h"
#include "reference/effort.h"
#include "sim/moesim.h"
#include "tests/laws/law_support.h"

using namespace moesim;
using namespace moesim::laws;

namespace {

nlohmann::json summary_of(const Scenario& scenario) {
  World world = build(scenario);
  std::ostringstream out;
  write_json(simulate(world), out);
  return nlohmann::json::parse(out.str())["summary"];
}

}  // namespace

TEST_CASE("ranks with prompts beside ranks with none: draws tell what exact replay does") {
  // Some twelve prompts of 3000 tokens on eight ranks: most steps have one or two full ranks, which
  // send for all of them, and six that wait. Enough of them that who meets whom, which a step that
  // ends a little later changes for good, averages out.
  const std::string few =
      "arrival: {kind: closed_loop, max_concurrency: 12}, synthetic: {num_prompts: 384, "
      "input_tokens: 3000, output_tokens: {uniform: [16, 64]}}";
  Turns turns;
  for (const std::string& backend : dispatch_names()) {
    if (turns.skip()) continue;
    CAPTURE(backend);
    const auto run = [&](const std::string& fidelity) {
      return summary_of(scenario_of(
          few,
          "deployment: {instances: [{data_parallel_size: 8}]}\nengine: {enable_expert_parallel: "
          "true, max_model_len: 4096, all2all_backend: " +
              backend + "}\nrouting: {kind: lognormal, sigma: 0.8, fidelity: " + fidelity + "}\n",
          {{"model", "Qwen/Qwen3-30B-A3B"}}));
    };
    const nlohmann::json exact = run("exact"), sampled = run("sampled");
    const double rate = exact["output_throughput"], token = exact["mean_tpot_ms"];
    CHECK(sampled["output_throughput"].get<double>() == doctest::Approx(rate).epsilon(0.01));
    // Not the slowest: outputs are so short that one prompt more or less beside them decides it.
    CHECK(sampled["mean_tpot_ms"].get<double>() == doctest::Approx(token).epsilon(0.01));
  }
}

TEST_CASE("a few prompts on 64 ranks over a network: draws tell what exact replay does") {
  // The gallery's scenario with so few prompts that most ranks have none.
  const auto run = [](const std::string& fidelity) {
    return summary_of(
        load_scenario(std::string(MOESIM_ROOT) + "/scenarios/17_group_limited_routing.yaml",
                      {{"routing.fidelity", fidelity},
                       {"workload.synthetic.num_prompts", "512"},
                       {"workload.arrival.max_concurrency", "48"},
                       {"variants", "[]"}}));
  };
  const nlohmann::json exact = run("exact"), sampled = run("sampled");
  const double rate = exact["request_throughput"], first = exact["mean_ttft_ms"];
  CHECK(sampled["request_throughput"].get<double>() == doctest::Approx(rate).epsilon(0.03));
  CHECK(sampled["mean_ttft_ms"].get<double>() == doctest::Approx(first).epsilon(0.03));
}
