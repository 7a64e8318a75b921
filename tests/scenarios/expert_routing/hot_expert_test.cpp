#include <doctest/doctest.h>

#include "tests/scenarios/expert_routing/expert_routing_support.h"

using namespace moesim;

// Acceptance check 9 of routing-traces.md 6, its second half.
TEST_CASE("hot_expert(0.896) at one expert a token: its share, and its part of the rest") {
  const auto routing = kind_of("{kind: hot_expert, fraction: 0.896}");
  const RoutingTable table = routing->table({4, 64, 1, 0, 0}, {40, 0, 500}, 3, 0);
  const double expected = (0.896 + 0.104 / 64) * 64;
  for (int layer = 0; layer < 4; ++layer)
    CHECK(max_over_mean(counts_of(table, layer)) == doctest::Approx(expected).epsilon(0.02));
}

TEST_CASE("hot_expert at K experts a token: in every token, so E/K over the mean") {
  const auto routing = kind_of("{kind: hot_expert, fraction: 1}");
  const RoutingTable table = routing->table({1, 64, 8, 0, 0}, {10, 0, 500}, 3, 0);
  CHECK(max_over_mean(counts_of(table, 0)) == doctest::Approx(8));
  // The other slots are the base's: 7 of 63 experts, or 7/64 where the base had chosen it itself.
  for (const double count : counts_of(table, 0)) {
    if (count < 5000) CHECK(count == doctest::Approx(5000.0 * 7 / 63).epsilon(0.15));
  }
}

TEST_CASE("hot_expert: several of them share, and only in the layers named") {
  const auto routing = kind_of("{kind: hot_expert, fraction: 0.8, experts: 4, layers: [1]}");
  const RoutingTable table = routing->table({2, 64, 1, 0, 0}, {40, 0, 500}, 3, 0);
  CHECK(max_over_mean(counts_of(table, 0)) < 1.5);
  int hot = 0;
  for (const double count : counts_of(table, 1)) {
    if (count < 2000) continue;
    ++hot;
    CHECK(count / 20'000 == doctest::Approx(0.2 + 0.2 / 64).epsilon(0.06));
  }
  CHECK(hot == 4);
}

TEST_CASE("hot_expert: the base's rows until from_s, then the heat") {
  const auto routing =
      kind_of("{kind: hot_expert, fraction: 1, from_s: 20, base: {kind: zipf, exponent: 0.5}}");
  const RoutingShape shape{1, 64, 8, 0, 0};
  const TableSize size{4, 0, 100};
  CHECK(routing->epoch_s() == 20);
  const RoutingTable base = kind_of("{kind: zipf, exponent: 0.5}")->table(shape, size, 3, 0);
  CHECK(same_rows(routing->table(shape, size, 3, 0), base));
  const RoutingTable after = routing->table(shape, size, 3, 1);
  CHECK(max_over_mean(counts_of(after, 0)) == doctest::Approx(8));
  CHECK(same_rows(after, routing->table(shape, size, 3, 9)));
}

TEST_CASE("hot_expert: with a base that drifts the heat starts at one of its epochs") {
  const auto routing = kind_of(
      "{kind: hot_expert, fraction: 1, from_s: 25, base: {kind: zipf, exponent: 0, drift: {kind: "
      "step, half_life_s: 10}}}");
  const RoutingShape shape{1, 64, 8, 0, 0};
  CHECK(routing->epoch_s() == 10);
  CHECK(max_over_mean(counts_of(routing->table(shape, {4, 0, 100}, 3, 2), 0)) < 3);
  CHECK(max_over_mean(counts_of(routing->table(shape, {4, 0, 100}, 3, 3), 0)) ==
        doctest::Approx(8));
}

TEST_CASE("hot_expert: what the model does not have is a mistake at its key") {
  const RoutingShape shape{2, 8, 2, 0, 0};
  CHECK(mistake_of("{kind: hot_expert, fraction: 0.5, layers: [2]}", shape) ==
        "layers: 2 is not a layer of a model of 2 MoE layers; layers here are MoE layers, counted "
        "from 0 with dense ones left out; leave it out for all");
  CHECK(mistake_of("{kind: hot_expert, fraction: 0.5, experts: 9}", shape) ==
        "experts: 9 hot experts in a layer of 8; write fewer");
  CHECK(mistake_of("{kind: hot_expert, fraction: 1.5}", shape).starts_with("fraction: "));
}

TEST_CASE("hot_expert: with groups as many tokens get the hot expert, and the rest is as even") {
  const auto routing = kind_of("{kind: hot_expert, fraction: 0.9}");
  const RoutingTable table = routing->table({1, 256, 8, 8, 4}, {100, 0, 200}, 3, 0);
  std::vector<double> counts = counts_of(table, 0);
  std::ranges::sort(counts);
  CHECK(counts.back() / 20'000 == doctest::Approx(0.9 + 0.1 * 8 / 256).epsilon(0.01));
  // Its 31 neighbours come with it more often: their group is in (nearly) every token's four.
  CHECK(counts[254] / mean(counts) < 2.5);
  CHECK(counts[0] / mean(counts) > 0.6);
}
