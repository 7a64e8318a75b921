#include <doctest/doctest.h>
#include <functional>

#include "tests/scenarios/expert_routing/expert_routing_support.h"

using namespace moesim;

TEST_CASE("zipf: with one choice a token the loads are 1/rank^a") {
  // a = 1, E = 4: weights 1, 1/2, 1/3, 1/4 of 25/12.
  const RoutingTable table =
      kind_of("{kind: zipf, exponent: 1}")->table({1, 4, 1, 0, 0}, {50, 0, 1000}, 3, 0);
  std::vector<double> counts = counts_of(table, 0);
  std::ranges::sort(counts, std::greater<>{});
  for (std::size_t rank = 0; rank < 4; ++rank)
    CHECK(counts[rank] / 50'000 ==
          doctest::Approx(12.0 / 25 / (static_cast<double>(rank) + 1)).epsilon(0.03));
}

TEST_CASE("zipf: rank imbalance as the shares give it, before repeats are ruled out") {
  // Published beside the definition: E = 256 on 32 ranks, exponent 0.3 gives max/mean 1.38, 0.5
  // gives 1.94. At these the busiest expert has under a tenth of all tokens, so ruling out repeats
  // takes little away.
  for (const auto& [exponent, expected] : {std::pair{"0.3", 1.38}, std::pair{"0.5", 1.94}}) {
    const auto routing = kind_of("{kind: zipf, exponent: " + std::string(exponent) + "}");
    const RoutingTable table = routing->table({100, 256, 8, 0, 0}, {8, 0, 256}, 3, 0);
    double sum = 0;
    for (int layer = 0; layer < 100; ++layer)
      sum += max_over_mean(by_ranks(counts_of(table, layer), 32));
    CHECK(sum / 100 == doctest::Approx(expected).epsilon(0.05));
  }
}

TEST_CASE("zipf: layers are popular in different experts") {
  const RoutingTable table =
      kind_of("{kind: zipf, exponent: 1}")->table({2, 64, 4, 0, 0}, {8, 0, 256}, 3, 0);
  CHECK(std::abs(correlation(counts_of(table, 0), counts_of(table, 1))) < 0.5);
}
