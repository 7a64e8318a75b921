#include "scenarios/load_weights.h"

#include <cmath>
#include <doctest/doctest.h>
#include <numeric>
#include <vector>

#include "sim/base/random.h"

using namespace moesim;

TEST_CASE("two of three by weight: the chances worked out by hand") {
  // P(1) = .6 + .3 * 6/7 + .1 * 6/9 and so on, for weights 6, 3, 1.
  const std::vector<double> p = inclusion_probabilities(std::vector<double>{6, 3, 1}, 2);
  CHECK(p[0] == doctest::Approx(0.6 + 0.3 * 6 / 7 + 0.1 * 6 / 9).epsilon(0.002));
  CHECK(p[1] == doctest::Approx(0.3 + 0.6 * 3 / 4 + 0.1 * 3 / 9).epsilon(0.002));
  CHECK(p[2] == doctest::Approx(0.1 + 0.6 * 1 / 4 + 0.3 * 1 / 7).epsilon(0.002));
}

TEST_CASE("one choice: its chance is its share of the weights") {
  const std::vector<double> p = inclusion_probabilities(std::vector<double>{6, 3, 1}, 1);
  CHECK(p[0] == doctest::Approx(0.6).epsilon(0.002));
  CHECK(p[2] == doctest::Approx(0.1).epsilon(0.002));
}

TEST_CASE("all chosen: all certain") {
  CHECK(inclusion_probabilities(std::vector<double>{6, 3, 1}, 3) == std::vector<double>(3, 1.0));
}

TEST_CASE("weights give the loads that were asked for") {
  Rng rng(5, "test");
  struct Case {
    const char* why;
    int experts, top_k;
    double sigma;
  };
  const Case cases[] = {{"few and large experts, half of the places taken", 8, 4, 0.3},
                        {"Mixtral", 8, 2, 0.5},
                        {"DeepSeek-R1 as published", 256, 8, 1.05},
                        {"its most skewed layer", 256, 8, 1.4},
                        {"one choice", 64, 1, 1.0}};
  for (const Case& c : cases) {
    CAPTURE(c.why);
    std::vector<double> loads;
    for (int e = 0; e < c.experts; ++e) loads.push_back(std::exp(c.sigma * rng.normal()));
    const double total = std::accumulate(loads.begin(), loads.end(), 0.0);
    const std::vector<double> p =
        inclusion_probabilities(weights_for_loads(loads, c.top_k), c.top_k);
    double filled = 0;
    for (std::size_t e = 0; e < loads.size(); ++e) {
      if (loads[e] * c.top_k / total < 0.9)
        CHECK(p[e] == doctest::Approx(loads[e] * c.top_k / total).epsilon(0.01));
      filled += p[e];
    }
    CHECK(filled == doctest::Approx(c.top_k).epsilon(1e-9));
  }
}

TEST_CASE("an expert cannot take more than one slot of a token; the rest goes to the others") {
  // 90 % of the load, two slots a token: it is in (nearly) every token, and the other three share
  // the second slot in proportion 2 : 1 : 1.
  const std::vector<double> p =
      inclusion_probabilities(weights_for_loads(std::vector<double>{90, 5, 2.5, 2.5}, 2), 2);
  CHECK(p[0] == doctest::Approx(1).epsilon(0.005));
  CHECK(p[1] == doctest::Approx(0.5).epsilon(0.02));
  CHECK(p[2] == doctest::Approx(0.25).epsilon(0.02));
}

TEST_CASE("an expert without load is hardly ever drawn, and can be") {
  const std::vector<double> weights = weights_for_loads(std::vector<double>{1, 1, 0, 1}, 2);
  CHECK(weights[2] > 0);
  CHECK(weights[2] < 1e-5 * weights[0]);
}
