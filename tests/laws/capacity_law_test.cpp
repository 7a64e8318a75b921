// Experts with limited room: room for all is no limit, and what overflows changes nobody's choices.
#include <cmath>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "reference/effort.h"
#include "sim/moesim.h"
#include "tests/laws/law_support.h"

using namespace moesim;
using namespace moesim::laws;

namespace {

struct Outcome {
  std::uint64_t digest = 0;
  MoeStats stats;
  double end_s = 0;
};

Outcome run(const std::string& routing, const std::string& model = "Qwen/Qwen3-30B-A3B") {
  // A request at a time on four ranks: three of them run dummies, all are padded alike.
  const std::string few =
      "arrival: {kind: closed_loop, max_concurrency: 2}, synthetic: {num_prompts: 8, "
      "input_tokens: {uniform: [20, 200]}, output_tokens: {uniform: [5, 40]}}";
  World world = build(scenario_of(few,
                                  "deployment: {instances: [{data_parallel_size: 4}]}\n"
                                  "engine: {enable_expert_parallel: true, max_model_len: 4096}\n"
                                  "uncertainty: {replicas: 1}\nrouting: {" +
                                      routing + "}\n",
                                  {{"model", model}}),
                      {.check = true});
  world.run(nullptr);
  const RunView view = world.view();
  return {view.digest, view.moe.front().stats, static_cast<double>(view.end_time) * 1e-9};
}

}  // namespace

TEST_CASE("a factor that leaves room for all is no limit at all, whatever overflow would do") {
  Turns turns;
  for (const std::string kind : kEveryKind) {
    if (turns.skip()) continue;
    CAPTURE(kind);
    const Outcome none = run(kind + ", fidelity: exact");
    for (const std::string rest : {"drop", "next_choice", "drop, capacity_scope: rank"}) {
      CAPTURE(rest);
      const Outcome roomy = run(kind + ", capacity_factor: 1000, overflow: " + rest);
      CHECK(roomy.digest == none.digest);
      CHECK(roomy.stats.expert_load == none.stats.expert_load);
      for (std::size_t l = 0; l < none.stats.layers.size(); ++l) {
        CHECK(roomy.stats.layers[l].rank_imbalance == none.stats.layers[l].rank_imbalance);
        CHECK(roomy.stats.layers[l].dropped + roomy.stats.layers[l].moved == 0);
      }
    }
  }
}

TEST_CASE("the next choice computes what dropping would not, and evens experts out") {
  const std::string tight = "kind: lognormal, sigma: 1.0, capacity_factor: 1.0, overflow: ";
  const Outcome drop = run(tight + "drop"), next = run(tight + "next_choice");
  double lost = 0, saved = 0, dropped = 0;
  for (std::size_t l = 0; l < drop.stats.layers.size(); ++l) {
    lost += drop.stats.layers[l].dropped;
    saved += next.stats.layers[l].moved;
    dropped += next.stats.layers[l].dropped;
  }
  CHECK(lost > 0);
  // What is asked for first is the same, so what finds no room there is the same or less: others'
  // next choices may have taken it.
  CHECK(saved > 0.3 * lost);
  CHECK(dropped < lost);
}

TEST_CASE("experts that choose are loaded alike in every tier, whatever the routing") {
  Turns turns;
  for (const std::string kind : kEveryKind) {
    if (turns.skip()) continue;
    CAPTURE(kind);
    const std::string rest = ", router: expert_choice, fidelity: ";
    const Outcome exact = run(kind + rest + "exact"), again = run(kind + rest + "exact");
    const Outcome ranks = run(kind + rest + "rank_exact"), drawn = run(kind + rest + "sampled");
    CHECK(exact.digest == again.digest);
    CHECK(ranks.digest == exact.digest);
    CHECK(drawn.stats.fidelity == "sampled");
    CHECK(drawn.end_s == doctest::Approx(exact.end_s).epsilon(0.01));
    for (const Outcome* run : {&exact, &drawn}) {
      double tokens = 0, taken = 0, none = 0, all = 0, chosen = 0;
      const std::vector<double>& by = run->stats.by_experts;
      for (std::size_t n = 0; n < by.size(); ++n) {
        all += by[n];
        chosen += static_cast<double>(n) * by[n];
      }
      for (const MoeLayerStats& layer : run->stats.layers) {
        CHECK(layer.rank_imbalance == doctest::Approx(static_cast<double>(layer.steps)));
        CHECK(layer.expert_imbalance == doctest::Approx(static_cast<double>(layer.steps)));
        CHECK(layer.dropped + layer.moved + layer.padding == 0);
        tokens += layer.tokens;
        taken += layer.assignments;
        none += layer.left_with_none;
      }
      double load = 0;
      for (const double one : run->stats.expert_load) load += one;
      CHECK(all == doctest::Approx(tokens));
      CHECK(chosen == doctest::Approx(taken));
      CHECK(by[0] == doctest::Approx(none));
      CHECK(load == doctest::Approx(taken));
      CHECK(taken >= 8 * tokens * 0.9);
    }
    CHECK(drawn.stats.layers[0].tokens == exact.stats.layers[0].tokens);
  }
}

TEST_CASE("what a sampled run says of its error is what exact replay would say") {
  Turns turns;
  for (const std::string kind : kEveryKind) {
    if (turns.skip()) continue;
    CAPTURE(kind);
    const Outcome drawn = run(kind + ", fidelity: sampled");
    const SampledError& error = drawn.stats.error;
    REQUIRE(error.steps >= 4);
    const auto steps = static_cast<double>(error.steps);
    const auto near = [&](const SampledError::Sum& sum, double allowed) {
      CHECK(std::abs(sum.mean()) < 4 * sum.error(steps) + allowed);
    };
    near(error.time, 0.01);
    near(error.active, 0.02);
    near(error.rank_imbalance, 0.05);
    CHECK(run(kind + ", fidelity: exact").stats.error.steps == 0);
  }
}
