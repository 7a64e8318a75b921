#include <doctest/doctest.h>

#include "tests/scenarios/expert_routing/expert_routing_support.h"

using namespace moesim;

// Acceptance check 6 of routing-traces.md 6, its second half.
TEST_CASE("lognormal(1.05): the rank loads of DeepSeek-R1 at EP32, mean of 30 seeds") {
  // literature_targets.json, r1_ep32 (TensorRT-LLM, wide_ep/ep_load_balancer/README.md): standard
  // deviation 491.651 of a mean of 1024, (max - mean) / mean 1.564, averaged over 58 layers.
  constexpr int kLayers = 20;
  const auto routing = kind_of("{kind: lognormal, sigma: 1.05}");
  double rank_cv = 0, rank_max = 0;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    const RoutingTable table = routing->table({kLayers, 256, 8, 0, 0}, {4, 0, 256}, seed, 0);
    for (int layer = 0; layer < kLayers; ++layer) {
      const std::vector<double> ranks = by_ranks(counts_of(table, layer), 32);
      rank_cv += cv(ranks) / (30 * kLayers);
      rank_max += max_over_mean(ranks) / (30 * kLayers);
    }
  }
  CHECK(rank_cv == doctest::Approx(0.480).epsilon(0.05));
  CHECK(rank_max == doctest::Approx(2.564).epsilon(0.05));
}

TEST_CASE("lognormal: sigma by layer") {
  const auto routing = kind_of("{kind: lognormal, sigma: [0, 0.5, 1.4]}");
  const RoutingTable table = routing->table({3, 256, 8, 0, 0}, {32, 0, 256}, 3, 0);
  // Loads exp(N(0, s^2)) have CV sqrt(exp(s^2) - 1): 0.533 at 0.5 (a draw of 256: +- 0.05); at 0
  // the layer is uniform: sqrt(248 / (8 * 8192)) = 0.0615.
  CHECK(cv(counts_of(table, 0)) == doctest::Approx(0.0615).epsilon(0.15));
  CHECK(cv(counts_of(table, 1)) == doctest::Approx(0.533).epsilon(0.25));
  CHECK(cv(counts_of(table, 2)) > 1.2);
}

TEST_CASE("lognormal: a list by layer needs one value a layer") {
  CHECK(mistake_of("{kind: lognormal, sigma: [1, 1]}", {3, 64, 4, 0, 0}) ==
        "sigma: 2 values for a model of 3 MoE layers; write one number for all layers, or one for "
        "each");
  CHECK(mistake_of("{kind: lognormal, sigma: 1}", {3, 64, 4, 0, 0}).empty());
  CHECK(mistake_of("{kind: lognormal, sigma: [1, wide]}", {2, 64, 4, 0, 0}).starts_with("sigma.1"));
}
