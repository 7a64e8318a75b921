#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <map>
#include <numeric>
#include <set>

#include "scenarios/expert_routing.h"
#include "tests/scenarios/expert_routing/expert_routing_support.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

struct Shape {
  int experts, top_k;
};

std::vector<std::uint32_t> drawn(const ExpertRouting& routing, Shape shape, int tokens, Rng& rng) {
  std::vector<std::uint32_t> counts(static_cast<std::size_t>(shape.experts), 99);
  routing.draw(0, tokens, shape.top_k, rng, counts);
  return counts;
}

TEST_CASE("uniform counts: each token has top_k distinct experts") {
  const auto routing = make<ExpertRouting>("uniform");
  Rng rng(5, "routing");
  for (const Shape shape :
       {Shape{8, 2}, Shape{8, 8}, Shape{1, 1}, Shape{128, 8}, Shape{60, 4}, Shape{512, 10}}) {
    for (const int tokens : {0, 1, 7, 300}) {
      const auto counts = drawn(*routing, shape, tokens, rng);
      CHECK(std::accumulate(counts.begin(), counts.end(), 0U) ==
            static_cast<std::uint32_t>(tokens * shape.top_k));
      CHECK(std::ranges::max(counts) <= static_cast<std::uint32_t>(tokens));
    }
  }
}

TEST_CASE("with top_k equal to the experts every token chooses them all") {
  Rng rng(5, "routing");
  CHECK(drawn(*make<ExpertRouting>("uniform"), {4, 4}, 50, rng) ==
        std::vector<std::uint32_t>(4, 50));
}

TEST_CASE("uniform marginals: no expert is favoured") {
  // A token's choices are distinct, so counts have variance n p (1-p) and chi-square over E-1
  // degrees of freedom must be scaled by (1-p); 4 standard deviations of chi-square are allowed.
  const auto routing = make<ExpertRouting>("uniform");
  for (const Shape shape : {Shape{8, 2}, Shape{128, 8}, Shape{60, 4}, Shape{256, 8}}) {
    CAPTURE(shape.experts);
    Rng rng(17, "routing");
    constexpr int kTokens = 200'000;
    const auto counts = drawn(*routing, shape, kTokens, rng);
    const double p = static_cast<double>(shape.top_k) / shape.experts;
    const double mean = kTokens * p;
    double chi_square = 0;
    for (const std::uint32_t count : counts) chi_square += (count - mean) * (count - mean) / mean;
    // Sum of E counts with this covariance: expectation (E-1)(1-p)E/(E-1) = E(1-p).
    const double degrees = shape.experts - 1;
    const double scaled = chi_square / (1 - p) * degrees / shape.experts;
    CHECK(scaled < degrees + 4 * std::sqrt(2 * degrees));
    CHECK(scaled > degrees - 4 * std::sqrt(2 * degrees));
  }
}

TEST_CASE("uniform sets: every pair of five experts is as likely as any other") {
  const auto routing = make<ExpertRouting>("uniform");
  Rng rng(23, "routing");
  std::map<std::vector<std::uint32_t>, int> sets;
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) ++sets[drawn(*routing, {5, 2}, 1, rng)];
  CHECK(sets.size() == 10);
  double chi_square = 0;
  for (const auto& [set, count] : sets)
    chi_square += (count - 10'000.0) * (count - 10'000.0) / 10'000.0;
  CHECK(chi_square < 27.9);  // 99.9 % quantile of chi-square with 9 degrees of freedom
}

TEST_CASE("the same stream gives the same counts, and moves on") {
  const auto routing = make<ExpertRouting>("uniform");
  Rng one(3, "routing");
  Rng two(3, "routing");
  const auto first = drawn(*routing, {64, 6}, 100, one);
  CHECK(first == drawn(*routing, {64, 6}, 100, two));
  CHECK(first != drawn(*routing, {64, 6}, 100, one));
}

// Acceptance check 9 of routing-traces.md 6.
TEST_CASE("uniform tables: the spread of loads is what drawing without repeats leaves") {
  // A token takes an expert or not: variance T p (1 - p) with p = K/E, so the counts' coefficient
  // of variation is sqrt((E - K) / (K T)): 0.0871 here. (Drawing with repeats would give 0.0884.)
  const RoutingShape shape{40, 256, 8, 0, 0};
  const RoutingTable table = kind_of("{kind: uniform}")->table(shape, {16, 0, 256}, 3, 0);
  double total = 0;
  for (int layer = 0; layer < 40; ++layer) total += cv(counts_of(table, layer));
  CHECK(total / 40 == doctest::Approx(std::sqrt(248.0 / (8 * 4096))).epsilon(0.03));
}

TEST_CASE("uniform tables: no place in a token's order favours an expert") {
  const RoutingShape shape{1, 6, 3, 0, 0};
  const RoutingTable table = kind_of("{kind: uniform}")->table(shape, {60, 0, 1000}, 3, 0);
  for (int rank = 0; rank < 3; ++rank) {
    // Binomial(60000, 1/6): 10000 +- 91; four deviations.
    for (const double count : counts_of(table, 0, rank)) CHECK(std::abs(count - 10'000) < 365);
  }
}

TEST_CASE("uniform tables: with groups a token stays inside the groups it keeps") {
  const RoutingShape shape{2, 32, 4, 8, 2};
  const RoutingTable table = kind_of("{kind: uniform}")->table(shape, {20, 0, 500}, 3, 0);
  for (std::uint64_t row = 0; row < table.rows(); ++row) {
    std::set<int> groups;
    for (int rank = 0; rank < 4; ++rank) groups.insert(table.expert(row, 1, rank) / 4);
    REQUIRE(groups.size() <= 2);
  }
  // Every expert is as likely as any other: Binomial(10000, 1/8), four deviations of 33.
  for (const double count : counts_of(table, 0)) CHECK(std::abs(count - 1250) < 133);
}

}  // namespace
}  // namespace moesim
