#include "sim/steptime/choice_counts.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <numeric>
#include <vector>

#include "tests/scenarios/expert_routing/expert_routing_support.h"
#include "tests/sim/steptime/moe_support.h"

using namespace moesim;

namespace {

/// Rows 0 .. tokens - 1 of a table, chosen by experts that lie on `ranks` ranks.
struct Chosen {
  Chosen(const RoutingTable& table, std::size_t tokens, const CapacityRule& rule, int ranks = 1)
      : counts(rule, table.shape()),
        load(table.shape().layers, table.shape().experts, ranks, 1),
        replicas(placed(table.shape(), ranks), std::vector<int>(static_cast<std::size_t>(ranks))) {
    rows.resize(tokens);
    std::iota(rows.begin(), rows.end(), std::uint64_t{0});
    const std::size_t halves[] = {tokens / 2, tokens - tokens / 2};
    counts.add({table, rows, tokens, halves}, replicas, load);
  }
  static ExpertPlacement placed(const RoutingShape& shape, int ranks) {
    ExpertPlacement all = empty_placement(shape.layers, shape.experts, shape.experts, ranks);
    for (std::size_t i = 0; i < all.logical.size(); ++i)
      all.logical[i] = static_cast<std::uint16_t>(i % static_cast<std::size_t>(shape.experts));
    return all;
  }
  std::vector<std::uint64_t> rows;
  ChoiceCounts counts;
  StepLoad load;
  ReplicaRanks replicas;
};

CapacityRule choice(double factor, CapacityScope scope = CapacityScope::kBatch) {
  CapacityRule rule;
  rule.factor = factor;
  rule.expert_choice = true;
  rule.scope = scope;
  return rule;
}

}  // namespace

TEST_CASE("experts that choose take their room each, whatever tokens prefer") {
  struct Case {
    const char* why;
    std::size_t tokens;
    double factor;
    CapacityScope scope;
    std::uint32_t room;
  };
  const Case cases[] = {
      {"a fair share: 100 * 2 / 8", 100, 1, CapacityScope::kBatch, 25},
      {"rounded up: 9 * 2 / 8", 9, 1, CapacityScope::kBatch, 3},
      {"half a fair share", 100, 0.5, CapacityScope::kBatch, 13},
      {"no more than there are", 3, 8, CapacityScope::kBatch, 3},
      {"a token alone goes to all experts", 1, 1, CapacityScope::kBatch, 1},
      {"of each rank's tokens: twice 5 * 2 / 8", 10, 1, CapacityScope::kRank, 4},
  };
  for (const char* kind : {"{kind: uniform}", "{kind: zipf, exponent: 2}",
                           "{kind: hot_expert, fraction: 1}", "{kind: hash, vocabulary: 2}"}) {
    const RoutingTable table = kind_of(kind)->table({3, 8, 2, 0, 0}, {1, 0, 200}, 5, 0);
    for (const Case& c : cases) {
      CAPTURE(kind);
      CAPTURE(c.why);
      const Chosen chosen(table, c.tokens, choice(c.factor, c.scope));
      for (int layer = 0; layer < 3; ++layer) {
        for (const std::uint32_t count : chosen.load.layer(layer).counts) CHECK(count == c.room);
        CHECK(chosen.counts.layers()[static_cast<std::size_t>(layer)].taken == 8.0 * c.room);
      }
      double tokens = 0, taken = 0;
      for (std::size_t n = 0; n < chosen.counts.by_experts().size(); ++n) {
        tokens += chosen.counts.by_experts()[n];
        taken += static_cast<double>(n) * chosen.counts.by_experts()[n];
      }
      CHECK(tokens == 3.0 * static_cast<double>(c.tokens));
      CHECK(taken == 3.0 * 8 * c.room);
    }
  }
}

TEST_CASE("experts that choose leave out as many tokens as with scores of all experts") {
  // The reference sees every score: softmax of independent Gumbel noise, E = 8, C = T / 8.
  constexpr int kTokens = 4000, kExperts = 8;
  std::vector<double> scores(std::size_t{kTokens} * kExperts);
  Rng rng(3, "reference");
  for (std::size_t t = 0; t < kTokens; ++t) {
    double sum = 0;
    for (std::size_t e = 0; e < kExperts; ++e)
      sum += scores[t * kExperts + e] = 1 / rng.exponential();
    for (std::size_t e = 0; e < kExperts; ++e) scores[t * kExperts + e] /= sum;
  }
  ExpertChoice reference;
  const auto got = reference.apply(scores, kExperts, kTokens / 8);
  const double none = static_cast<double>(std::ranges::count(got, 0)) / kTokens;
  REQUIRE(none > 0.1);
  // With all eight listed nothing is left to a guess; with two, tokens beyond them are.
  const auto ours = [](const RoutingTable& table, double factor) {
    const Chosen chosen(table, kTokens, choice(factor));
    return chosen.counts.layers()[0].with_none / kTokens;
  };
  const auto uniform = kind_of("{kind: uniform}");
  CHECK(ours(uniform->table({1, kExperts, 8, 0, 0}, {1, 0, kTokens}, 7, 0), 0.125) ==
        doctest::Approx(none).epsilon(0.05));
  CHECK(ours(uniform->table({1, kExperts, 2, 0, 0}, {1, 0, kTokens}, 7, 0), 0.5) ==
        doctest::Approx(none).epsilon(0.05));
}

TEST_CASE("a rank with several of a token's experts gets it once") {
  // A token alone is taken by all 8 experts, two on each of 4 ranks.
  const RoutingTable table = kind_of("{kind: uniform}")->table({2, 8, 2, 0, 0}, {1, 0, 50}, 5, 0);
  const Chosen alone(table, 1, choice(1), 4);
  for (const std::uint32_t copies : alone.load.layer(1).rank_copies) CHECK(copies == 1);
  // Of 40 tokens every rank gets at least what one of its experts takes and at most what both do.
  const Chosen many(table, 40, choice(1), 4);
  for (const std::uint32_t copies : many.load.layer(1).rank_copies) {
    CHECK(copies >= 10);
    CHECK(copies <= 20);
  }
  const auto copies = many.load.layer(1).rank_copies;
  CHECK(std::accumulate(copies.begin(), copies.end(), 0U) < 80);
}
