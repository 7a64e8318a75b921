#include <doctest/doctest.h>

#include "tests/scenarios/expert_routing/expert_routing_support.h"

using namespace moesim;

namespace {

struct Skew {
  double expert_cv = 0, expert_max = 0, rank_max = 0;
};

Skew skew_of(const std::string& section) {
  Skew skew;
  constexpr int kLayers = 150;
  const RoutingTable table = kind_of(section)->table({kLayers, 256, 8, 0, 0}, {8, 0, 256}, 3, 0);
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::vector<double> counts = counts_of(table, layer);
    skew.expert_cv += cv(counts) / kLayers;
    skew.expert_max += max_over_mean(counts) / kLayers;
    skew.rank_max += max_over_mean(by_ranks(counts, 32)) / kLayers;
  }
  return skew;
}

}  // namespace

TEST_CASE("power_law: the skew of aiconfigurator's sampler at 4096 tokens") {
  // literature_targets.json, aic_alpha: what 400 draws of that sampler give at E = 256, K = 8.
  struct Case {
    const char* exponent;
    double expert_cv, expert_max, rank_max;
  };
  for (const Case& c : {Case{"0.6", 0.98, 3.35, 1.78}, Case{"1.01", 1.78, 8.18, 2.54},
                        Case{"1.2", 2.48, 15.27, 3.40}}) {
    CAPTURE(c.exponent);
    const Skew skew = skew_of("{kind: power_law, exponent: " + std::string(c.exponent) + "}");
    CHECK(skew.expert_cv == doctest::Approx(c.expert_cv).epsilon(0.05));
    CHECK(skew.expert_max == doctest::Approx(c.expert_max).epsilon(0.08));
    CHECK(skew.rank_max == doctest::Approx(c.rank_max).epsilon(0.05));
  }
}

TEST_CASE("power_law: more tokens, more skew, as in the original") {
  CHECK(skew_of("{kind: power_law, exponent: 1.01, tokens: 256}").rank_max ==
        doctest::Approx(2.11).epsilon(0.06));
  CHECK(skew_of("{kind: power_law, exponent: 1.01, tokens: 32768}").rank_max ==
        doctest::Approx(2.87).epsilon(0.06));
}
