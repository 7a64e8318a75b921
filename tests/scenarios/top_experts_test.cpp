// The best experts of a token, against sorting all scores.
#include <algorithm>
#include <doctest/doctest.h>
#include <numeric>
#include <vector>

#include "scenarios/latent_tokens.h"

namespace moesim {
namespace {

/// The groups kept by the sum of their two best scores, then the best experts inside them; among
/// equals the lower group and the lower number.
std::vector<int> sorted_best(const RoutingShape& shape, const std::vector<float>& scores) {
  const int groups = std::max(shape.groups, 1), size = shape.experts / groups;
  std::vector<int> order(static_cast<std::size_t>(groups));
  std::iota(order.begin(), order.end(), 0);
  const auto score_of = [&](int group) {
    std::vector<float> own(scores.begin() + group * size, scores.begin() + (group + 1) * size);
    std::ranges::sort(own, std::greater<>());
    return size == 1 ? own[0] : own[0] + own[1];
  };
  std::ranges::stable_sort(order, [&](int a, int b) { return score_of(a) > score_of(b); });
  std::vector<int> experts;
  for (int i = 0; i < (shape.groups == 0 ? 1 : shape.topk_groups); ++i) {
    for (int e = 0; e < size; ++e) experts.push_back(order[static_cast<std::size_t>(i)] * size + e);
  }
  std::ranges::stable_sort(experts, [&](int a, int b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  experts.resize(static_cast<std::size_t>(shape.top_k));
  return experts;
}

TEST_CASE("the best experts are those of a sort, with groups and without, ties included") {
  struct Case {
    int experts, top_k, groups, kept;
  };
  for (const Case& c :
       {Case{8, 2, 0, 0}, Case{128, 8, 0, 0}, Case{256, 8, 8, 4}, Case{256, 8, 8, 1},
        Case{60, 6, 6, 3}, Case{16, 4, 16, 4}, Case{20, 10, 2, 1}}) {
    CAPTURE(c.experts);
    CAPTURE(c.kept);
    const RoutingShape shape{.layers = 1,
                             .experts = c.experts,
                             .top_k = c.top_k,
                             .groups = c.groups,
                             .topk_groups = c.kept};
    TopExperts top(shape);
    Rng rng(7, "scores", static_cast<std::uint64_t>(c.experts * 100 + c.kept));
    for (int token = 0; token < 200; ++token) {
      std::vector<float> scores(static_cast<std::size_t>(c.experts));
      // Every other token has few values, so that many are equal.
      for (float& score : scores)
        score =
            token % 2 == 0 ? static_cast<float>(rng.normal()) : static_cast<float>(rng.below(5));
      const auto found = top.of(scores);
      CHECK(std::vector<int>(found.begin(), found.end()) == sorted_best(shape, scores));
    }
  }
}

}  // namespace
}  // namespace moesim
