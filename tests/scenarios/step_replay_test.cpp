#include "scenarios/step_replay.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <numeric>
#include <set>
#include <vector>

namespace moesim {
namespace {

using Counts = std::vector<std::uint32_t>;
using Order = StepReplay::Order;
using Scaling = StepReplay::Scaling;

/// Steps of one layer.
StepLoads one_layer(const std::vector<Counts>& steps, int top_k) {
  StepLoads loads;
  loads.shape = {.layers = 1, .experts = static_cast<int>(steps.front().size()), .top_k = top_k};
  for (const Counts& counts : steps) {
    loads.steps.emplace_back();
    loads.counts.insert(loads.counts.end(), counts.begin(), counts.end());
  }
  return loads;
}

Counts counts_of(StepReplay& replay, std::uint64_t step, int tokens, std::size_t experts) {
  Counts counts(experts, 99);
  replay.counts(step, 0, tokens, counts);
  return counts;
}

TEST_CASE("a recorded step, scaled to any number of tokens") {
  struct Case {
    const char* why;
    Counts recorded;
    int top_k, tokens;
    Counts expected;
  };
  const Case cases[] = {
      {"as many tokens: the recorded counts", {5, 3, 2, 0}, 1, 10, {5, 3, 2, 0}},
      {"half as many: 2.5, 1.5, 1, 0; the larger fraction of equal ones is the first's",
       {5, 3, 2, 0},
       1,
       5,
       {3, 1, 1, 0}},
      {"one token chooses the most loaded", {5, 3, 2, 0}, 1, 1, {1, 0, 0, 0}},
      {"nobody can have more than every token: 8 of 10 slots, cut to 5; 3 go to the least loaded",
       {8, 2, 0, 0},
       2,
       5,
       {5, 2, 2, 1}},
      {"raised step by step: 12 of 16 cut to 8; 4 lift 0 to 1, then both, the lower one first",
       {12, 3, 1, 0},
       2,
       8,
       {8, 3, 2, 3}},
      {"all tokens choose all experts", {9, 1, 0, 0}, 4, 3, {3, 3, 3, 3}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    StepReplay replay(one_layer({c.recorded}, c.top_k), {});
    CHECK(counts_of(replay, 7, c.tokens, 4) == c.expected);
  }
}

TEST_CASE("a multinomial draw has the recorded shares and their spread") {
  const Counts recorded = {600, 300, 90, 10, 0};
  StepReplay replay(one_layer({recorded}, 1), {.scaling = Scaling::kMultinomial});
  for (const int tokens : {40, 5000}) {
    CAPTURE(tokens);
    constexpr int kSteps = 2000;
    std::vector<double> sum(5, 0), squares(5, 0);
    for (std::uint64_t step = 0; step < kSteps; ++step) {
      const Counts counts = counts_of(replay, step, tokens, 5);
      REQUIRE(std::accumulate(counts.begin(), counts.end(), 0U) == static_cast<unsigned>(tokens));
      for (std::size_t e = 0; e < 5; ++e) {
        sum[e] += counts[e];
        squares[e] += static_cast<double>(counts[e]) * counts[e];
      }
    }
    CHECK(sum[4] == 0);
    for (std::size_t e = 0; e < 4; ++e) {
      const double p = recorded[e] / 1000.0, mean = sum[e] / kSteps;
      const double variance = squares[e] / kSteps - mean * mean;
      // Four standard errors of a mean, and of a variance (relative 1/sqrt(1000), more if skewed).
      CHECK(std::abs(mean - tokens * p) < 4 * std::sqrt(tokens * p * (1 - p) / kSteps));
      CHECK(variance == doctest::Approx(tokens * p * (1 - p)).epsilon(0.2));
    }
  }
}

TEST_CASE("steps come by key or in order, and idle ones never") {
  const StepLoads loads = one_layer({{0, 0}, {1, 0}, {0, 1}, {0, 0}, {2, 2}}, 1);
  StepReplay in_order(loads, {.order = Order::kInOrder});
  CHECK(in_order.recorded(0) == 0);
  CHECK(in_order.recorded(4) == 1);
  CHECK(counts_of(in_order, 0, 6, 2) == Counts{6, 0});
  CHECK(counts_of(in_order, 1, 6, 2) == Counts{0, 6});
  CHECK(counts_of(in_order, 5, 6, 2) == Counts{3, 3});
  StepReplay keyed(loads, {.seed = 3}), other(loads, {.seed = 4});
  std::set<std::size_t> seen;
  int different = 0;
  for (std::uint64_t step = 0; step < 60; ++step) {
    seen.insert(keyed.recorded(step));
    CHECK(keyed.recorded(step) == StepReplay(loads, {.seed = 3}).recorded(step));
    different += keyed.recorded(step) != other.recorded(step) ? 1 : 0;
  }
  CHECK(seen == std::set<std::size_t>{0, 1, 2});
  CHECK(different > 20);
}

TEST_CASE("slots are dealt at random, each expert to as many tokens as chose it, none twice") {
  struct Case {
    const char* why;
    Counts counts;
    int top_k, tokens;
  };
  const Case cases[] = {{"even", {60, 60, 60, 60, 60, 60, 60, 60}, 2, 240},
                        {"one that every token takes", {240, 40, 40, 40, 40, 40, 40, 0}, 2, 240},
                        {"every expert by every token", {30, 30, 30}, 3, 30},
                        {"one token", {1, 0, 1, 1}, 3, 1}};
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const StepReplay replay(one_layer({c.counts}, c.top_k), {});
    std::vector<int> placed(static_cast<std::size_t>(c.tokens * c.top_k), -1);
    replay.deal(1, 0, c.counts, placed);
    Counts dealt(c.counts.size(), 0);
    for (std::size_t t = 0; t < placed.size(); t += static_cast<std::size_t>(c.top_k)) {
      const auto first = placed.begin() + static_cast<std::ptrdiff_t>(t);
      CHECK(std::set<int>(first, first + c.top_k).size() == static_cast<std::size_t>(c.top_k));
      for (int k = 0; k < c.top_k; ++k) ++dealt[static_cast<std::size_t>(*(first + k))];
    }
    CHECK(dealt == c.counts);
  }
}

TEST_CASE("of even experts, two to a rank, a token's pair shares its rank in one case of seven") {
  const Counts counts(8, 60);
  const StepReplay replay(one_layer({counts}, 2), {});
  double together = 0;
  constexpr int kSteps = 50;
  std::vector<int> placed(480);
  for (std::uint64_t step = 0; step < kSteps; ++step) {
    replay.deal(step, 0, counts, placed);
    for (std::size_t t = 0; t < 480; t += 2) together += placed[t] / 2 == placed[t + 1] / 2 ? 1 : 0;
  }
  // 12,000 tokens: standard error 0.0032.
  CHECK(std::abs(together / (kSteps * 240) - 1.0 / 7) < 0.013);
}

TEST_CASE("a sample of a step keeps its shares") {
  StepReplay replay(one_layer({{1, 1, 1, 1}}, 2), {});
  Counts counts = {800, 600, 400, 200};
  replay.shrink(counts, 1000, 10);
  CHECK(counts == Counts{8, 6, 4, 2});
  replay.shrink(counts, 10, 10);
  CHECK(counts == Counts{8, 6, 4, 2});
}

}  // namespace
}  // namespace moesim
