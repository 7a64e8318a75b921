#include "scenarios/expert_chooser.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <map>
#include <utility>
#include <vector>

#include "sim/base/random.h"

using namespace moesim;

namespace {

using Row = std::vector<int>;

/// Share of each ordered choice among `draws`.
std::map<Row, double> shares(const RoutingShape& shape, const std::vector<double>& weights,
                             int draws) {
  ExpertChooser chooser(shape, weights);
  Rng rng(11, "test");
  std::map<Row, double> result;
  Row row(static_cast<std::size_t>(shape.top_k));
  for (int i = 0; i < draws; ++i) {
    chooser.choose(rng, row);
    result[row] += 1.0 / draws;
  }
  return result;
}

/// Within four standard deviations of a share of `draws`.
bool near(double found, double expected, int draws) {
  return std::abs(found - expected) < 4 * std::sqrt(expected * (1 - expected) / draws);
}

}  // namespace

TEST_CASE("an alias table draws by weight") {
  const std::vector<double> weights = {1, 5, 0.5, 3.5};
  const AliasTable table(weights);
  Rng rng(3, "test");
  std::vector<int> counts(4, 0);
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) ++counts[static_cast<std::size_t>(table.draw(rng))];
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(near(counts[i] / double{kDraws}, weights[i] / 10, kDraws));
}

TEST_CASE("an alias table of one weight draws it") {
  const AliasTable table(std::vector<double>{0.3});
  Rng rng(3, "test");
  CHECK(table.draw(rng) == 0);
}

TEST_CASE("choices come one after the other, each by the weights that are left") {
  constexpr int kDraws = 200'000;
  const auto found = shares({1, 3, 2, 0, 0}, {6, 3, 1}, kDraws);
  // First w_i / 10, then w_j / (10 - w_i).
  const std::map<Row, double> expected = {{{0, 1}, 0.6 * 3 / 4}, {{0, 2}, 0.6 * 1 / 4},
                                          {{1, 0}, 0.3 * 6 / 7}, {{1, 2}, 0.3 * 1 / 7},
                                          {{2, 0}, 0.1 * 6 / 9}, {{2, 1}, 0.1 * 3 / 9}};
  CHECK(found.size() == 6);
  for (const auto& [row, share] : expected) CHECK(near(found.at(row), share, kDraws));
}

TEST_CASE("where one weight has nearly all, the pass over the rest keeps the odds") {
  // Alias draws nearly always hit expert 0 again, so the second choice comes from the pass: 2 : 1.
  constexpr int kDraws = 50'000;
  const auto found = shares({1, 3, 2, 0, 0}, {1e7, 2, 1}, kDraws);
  CHECK(near(found.at({0, 1}), 2.0 / 3, kDraws));
  CHECK(near(found.at({0, 2}), 1.0 / 3, kDraws));
}

TEST_CASE("as many choices as experts: a permutation") {
  for (const auto& [row, share] : shares({1, 4, 4, 0, 0}, {1, 2, 3, 4}, 1000)) {
    std::vector<int> seen(4, 0);
    for (const int expert : row) ++seen[static_cast<std::size_t>(expert)];
    CHECK(seen == std::vector<int>(4, 1));
  }
}

TEST_CASE("two groups of one expert: the group is the expert") {
  constexpr int kDraws = 100'000;
  const auto found = shares({1, 2, 1, 2, 1}, {3, 1}, kDraws);
  CHECK(near(found.at({0}), 0.75, kDraws));
}

TEST_CASE("groups: top two of the best group, by an independent sum over all scores") {
  // The definition itself, by drawing every expert's Gumbel score: log w - log(-log u).
  const RoutingShape shape{1, 6, 2, 3, 1};
  const std::vector<double> weights = {5, 1, 2, 2, 1, 4};
  constexpr int kDraws = 200'000;
  Rng rng(29, "test");
  std::map<Row, double> expected;
  for (int i = 0; i < kDraws; ++i) {
    std::vector<double> score;
    for (const double w : weights) score.push_back(std::log(w) - std::log(rng.exponential()));
    int best = 0;
    for (int g = 1; g < 3; ++g) {
      const auto sum = [&](int at) {
        return score[static_cast<std::size_t>(2 * at)] +
               score[static_cast<std::size_t>(2 * at + 1)];
      };
      if (sum(g) > sum(best)) best = g;
    }
    const bool swapped =
        score[static_cast<std::size_t>(2 * best)] < score[static_cast<std::size_t>(2 * best + 1)];
    expected[{2 * best + (swapped ? 1 : 0), 2 * best + (swapped ? 0 : 1)}] += 1.0 / kDraws;
  }
  const auto found = shares(shape, weights, kDraws);
  CHECK(found.size() == 6);
  // Both sides are sampled: sqrt(2) more.
  for (const auto& [row, share] : expected) CHECK(near(found.at(row), share, kDraws / 2));
}

TEST_CASE("groups: the choices of two groups out of three merge in falling score") {
  const RoutingShape shape{1, 9, 4, 3, 2};
  const std::vector<double> weights = {5, 1, 2, 2, 1, 4, 0.5, 3, 1};
  constexpr int kDraws = 200'000;
  Rng rng(31, "test");
  std::map<int, double> first, last;  // marginals of the first and the fourth choice
  for (int i = 0; i < kDraws; ++i) {
    std::vector<std::pair<double, int>> score;  // negative, so that the best sorts first
    for (int e = 0; e < 9; ++e)
      score.emplace_back(
          -std::log(weights[static_cast<std::size_t>(e)]) + std::log(rng.exponential()), e);
    std::vector<std::pair<double, int>> groups;
    for (int g = 0; g < 3; ++g) {
      std::vector<double> own;
      for (int e = 3 * g; e < 3 * g + 3; ++e)
        own.push_back(score[static_cast<std::size_t>(e)].first);
      std::ranges::sort(own);
      groups.emplace_back(own[0] + own[1], g);
    }
    std::ranges::sort(groups);
    std::ranges::sort(score);
    Row row;
    for (const auto& [value, e] : score) {
      if (e / 3 != groups[2].second) row.push_back(e);
    }
    first[row[0]] += 1.0 / kDraws;
    last[row[3]] += 1.0 / kDraws;
  }
  std::map<int, double> found_first, found_last;
  for (const auto& [row, share] : shares(shape, weights, kDraws)) {
    found_first[row[0]] += share;
    found_last[row[3]] += share;
  }
  for (int e = 0; e < 9; ++e) {
    CHECK(near(found_first[e], first[e], kDraws / 2));
    CHECK(near(found_last[e], last[e], kDraws / 2));
  }
}
