// How near the ways to follow tokens to experts of several ranks are to each other.
#include <algorithm>
#include <cstddef>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "reference/effort.h"
#include "sim/moesim.h"
#include "tests/laws/expert_support.h"

using namespace moesim;
using namespace moesim::laws;

namespace {

struct Outcome {
  double tokens_per_s = 0, p99_tpot = 0;
};
Outcome outcome(const Scenario& scenario) {
  World world = build(scenario);
  std::ostringstream out;
  write_json(simulate(world), out);
  const nlohmann::json summary = nlohmann::json::parse(out.str())["summary"];
  return {summary["output_throughput"], summary["p99_tpot_ms"]};
}

}  // namespace

TEST_CASE("draws made beforehand are within 3 % on throughput and 5 % on the slowest tokens") {
  const std::string ep = "enable_expert_parallel: true";
  struct Case {
    const char* why;
    std::string degrees, engine, routing;
  };
  const Case cases[] = {
      {"skewed, DP and EP", "data_parallel_size: 4", ep, "kind: zipf, exponent: 0.8"},
      {"even, DP and EP", "data_parallel_size: 4", ep, "kind: uniform"},
      {"TP, DP and EP", "tensor_parallel_size: 2, data_parallel_size: 2", ep,
       "kind: lognormal, sigma: 1.0"},
      {"sent where they go", "data_parallel_size: 8",
       ep + ", all2all_backend: deepep_high_throughput", "kind: zipf, exponent: 0.6"},
      {"cut experts", "tensor_parallel_size: 2, data_parallel_size: 2", "block_size: 16",
       "kind: zipf, exponent: 0.8"},
      {"TP and EP", "tensor_parallel_size: 4", ep, "kind: dirichlet, concentration: 1.0"},
  };
  Turns turns;
  for (const Case& c : cases) {
    if (turns.skip()) continue;
    CAPTURE(std::string(c.why));
    const auto run = [&](const std::string& fidelity) {
      return outcome(
          scenario_of(kBurst, layout(c.degrees, c.engine, c.routing + ", fidelity: " + fidelity)));
    };
    const Outcome exact = run("exact"), sampled = run("sampled");
    CHECK(sampled.tokens_per_s == doctest::Approx(exact.tokens_per_s).epsilon(0.03));
    CHECK(sampled.p99_tpot == doctest::Approx(exact.p99_tpot).epsilon(0.05));
  }
}

TEST_CASE("exact loads of ranks give exact replay's times within a few thousandths") {
  const std::string ep = "enable_expert_parallel: true, max_model_len: 4096";
  const std::string mixtral = "mistralai/Mixtral-8x7B-v0.1", qwen = "Qwen/Qwen3-30B-A3B";
  struct Case {
    const char* why;
    std::string model, degrees, engine, routing;
    double limit = 0.003;
  };
  const Case cases[] = {
      {"few experts, skewed", mixtral, "data_parallel_size: 4", ep, "kind: zipf, exponent: 0.8"},
      {"one expert a rank", mixtral, "data_parallel_size: 8", ep, "kind: uniform"},
      {"TP and EP", mixtral, "tensor_parallel_size: 4", ep, "kind: dirichlet, concentration: 1.0"},
      {"pipeline", mixtral, "tensor_parallel_size: 4, pipeline_parallel_size: 2", ep,
       "kind: zipf, exponent: 0.8"},
      {"many experts", qwen, "data_parallel_size: 8", ep, "kind: lognormal, sigma: 1.0"},
      {"sent to their ranks", qwen, "data_parallel_size: 8",
       ep + ", all2all_backend: deepep_high_throughput", "kind: zipf, exponent: 0.6"},
      {"sent to their experts", qwen, "data_parallel_size: 4",
       ep + ", all2all_backend: deepep_low_latency", "kind: lognormal, sigma: 0.5"},
      // Tokens that are alike share experts; of those, counting by ranks draws too few (1 to 3 %).
      {"neighbours alike", qwen, "data_parallel_size: 4", ep, "kind: latent_logit", 0.005},
      {"two ranks", qwen, "tensor_parallel_size: 2", ep, "kind: zipf, exponent: 0.8"},
      // 24 requests that choose as they did before: which experts those are differs by seed.
      {"steps alike", qwen, "tensor_parallel_size: 2", ep, "kind: markov, persistence: 0.5", 0.03},
  };
  Turns turns;
  for (const Case& c : cases) {
    if (turns.skip()) continue;
    CAPTURE(std::string(c.why));
    const auto run = [&](const std::string& fidelity) {
      return outcome(scenario_of(kBurst,
                                 layout(c.degrees, c.engine, c.routing + ", fidelity: " + fidelity),
                                 {{"model", c.model}}));
    };
    const Outcome exact = run("exact"), ranks = run("rank_exact");
    CHECK(ranks.tokens_per_s == doctest::Approx(exact.tokens_per_s).epsilon(c.limit));
    CHECK(ranks.p99_tpot == doctest::Approx(exact.p99_tpot).epsilon(c.limit));
  }
}

TEST_CASE("counting by ranks sees exactly exact replay's loads, and says which it was") {
  const std::string degrees = "tensor_parallel_size: 2, data_parallel_size: 2";
  const std::string engine =
      "enable_expert_parallel: true, enforce_eager: true, async_scheduling: false, "
      "all2all_backend: deepep_high_throughput";
  // Steps of a token or two: which of them a rank's load is of is not known, and choices of one
  // token never meet while those of two may. It shows where tokens choose alike.
  struct Case {
    std::string routing;
    double limit;
  };
  const Case cases[] = {{"kind: zipf, exponent: 0.8", 0.01}, {"kind: latent_logit", 0.025}};
  for (const Case& c : cases) {
    CAPTURE(c.routing);
    // Requests come one after the other, so that steps do not depend on how long steps take.
    const std::string one_by_one =
        "arrival: {kind: closed_loop, max_concurrency: 1}, synthetic: {num_prompts: 12, "
        "input_tokens: {uniform: [20, 400]}, output_tokens: {uniform: [10, 60]}}";
    const auto run = [&](const std::string& fidelity) {
      return stats_of(
          scenario_of(one_by_one, layout(degrees, engine, c.routing + ", fidelity: " + fidelity)));
    };
    const MoeStats exact = run("exact"), ranks = run("rank_exact");
    CHECK(exact.fidelity == "exact");
    CHECK(ranks.fidelity == "rank_exact");
    CHECK(ranks.expert_load == exact.expert_load);
    double active = 0, modelled = 0;
    for (std::size_t l = 0; l < exact.layers.size(); ++l) {
      CAPTURE(l);
      CHECK(ranks.layers[l].steps == exact.layers[l].steps);
      CHECK(ranks.layers[l].tokens == exact.layers[l].tokens);
      CHECK(ranks.layers[l].assignments == exact.layers[l].assignments);
      CHECK(ranks.layers[l].rank_imbalance == exact.layers[l].rank_imbalance);
      CHECK(ranks.layers[l].bytes_intra == exact.layers[l].bytes_intra);
      active += exact.layers[l].active;
      modelled += ranks.layers[l].active;
    }
    CHECK(modelled == doctest::Approx(active).epsilon(c.limit));
  }
}

TEST_CASE("what rank_exact cannot follow runs as exact, with a warning that says why") {
  struct Case {
    const char* why;
    std::string degrees, engine, routing, more;
  };
  const std::string ep = "enable_expert_parallel: true";
  const Case cases[] = {
      {"experts are not spread over ranks", "tensor_parallel_size: 4", "block_size: 16", "", ""},
      {"eplb moves experts during the run", "tensor_parallel_size: 4", ep, "",
       "placement: {eplb: {window_size: 20, step_interval: 20}}\n"},
      {"capacity_factor needs to know which experts are full", "tensor_parallel_size: 4", ep,
       ", capacity_factor: 1.25", ""},
      {"offload needs to know which experts are used", "tensor_parallel_size: 4", ep, "",
       "offload: {experts: {tier: host, resident_fraction: 0.5}}\n"},
  };
  Turns turns;
  for (const Case& c : cases) {
    if (turns.skip()) continue;
    CAPTURE(std::string(c.why));
    World world = build(scenario_of(
        kBurst, layout(c.degrees, c.engine,
                       "kind: zipf, exponent: 0.8, fidelity: rank_exact" + c.routing, c.more)));
    const RunView view = finish(world);
    CHECK(view.moe.front().stats.fidelity == "exact");
    const std::string warning = std::string("routing.fidelity: rank_exact runs as exact: ") + c.why;
    CHECK(std::ranges::count(view.warnings, warning) == 1);
  }
}
