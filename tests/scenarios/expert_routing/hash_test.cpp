#include <cmath>
#include <doctest/doctest.h>
#include <map>
#include <vector>

#include "tests/scenarios/expert_routing/expert_routing_support.h"

using namespace moesim;

namespace {

std::vector<int> path_of(const RoutingTable& table, std::uint64_t row, int layer) {
  std::vector<int> path;
  for (int k = 0; k < table.shape().top_k; ++k) path.push_back(table.expert(row, layer, k));
  return path;
}

}  // namespace

TEST_CASE("hash: words that never come twice load all experts alike, but for chance") {
  // 50,000 tokens on 8 experts: 12,500 slots each, of a binomial with p = 1/4: sd 97, cv 0.0077.
  const RoutingTable table = kind_of("{kind: hash}")->table({2, 8, 2, 0, 0}, {50, 0, 1000}, 3, 0);
  for (const double count : counts_of(table, 0)) CHECK(std::abs(count - 12'500) < 5 * 97);
}

TEST_CASE("hash: all tokens of a word have the same experts, and the commonest word its share") {
  // Two words by 1/rank: 2/3 and 1/3.
  const RoutingTable table =
      kind_of("{kind: hash, vocabulary: 2}")->table({2, 64, 4, 0, 0}, {20, 0, 500}, 3, 0);
  std::map<std::vector<int>, int> seen;
  for (std::uint64_t row = 0; row < table.rows(); ++row) ++seen[path_of(table, row, 1)];
  REQUIRE(seen.size() == 2);
  const int first = std::max(seen.begin()->second, seen.rbegin()->second);
  CHECK(first / 10'000.0 == doctest::Approx(2.0 / 3).epsilon(0.03));
}

TEST_CASE("hash: layers have hashes of their own unless one serves all") {
  const RoutingShape shape{3, 64, 4, 0, 0};
  const auto alike = [&](const char* section) {
    const RoutingTable table = kind_of(section)->table(shape, {2, 3, 20}, 3, 0);
    int same = 0;
    for (std::uint64_t row = 0; row < table.rows(); ++row)
      same += path_of(table, row, 0) == path_of(table, row, 2) ? 1 : 0;
    return same;
  };
  CHECK(alike("{kind: hash, per_layer: false}") == 46);
  CHECK(alike("{kind: hash}") == 0);
}

TEST_CASE("hash: frequencies need words") {
  CHECK(mistake_of("{kind: hash, exponent: 1}", {1, 8, 2, 0, 0}) ==
        "exponent: has no effect without a vocabulary; write vocabulary: 32000, or leave it out");
}
