#include "scenarios/routers.h"

#include <cmath>
#include <doctest/doctest.h>
#include <set>
#include <vector>

#include "sim/base/random.h"

using namespace moesim;

namespace {

using Score = RouterRule::Score;

struct Routed {
  std::vector<int> chosen;
  std::vector<double> weights;
};

Routed route(const RoutingShape& shape, const RouterRule& rule, const std::vector<double>& logits,
             const std::vector<double>& bias = {}) {
  Router router(shape, rule);
  Routed routed{std::vector<int>(static_cast<std::size_t>(shape.top_k)),
                std::vector<double>(static_cast<std::size_t>(shape.top_k))};
  router.route(logits, bias, routed.chosen, routed.weights);
  return routed;
}

}  // namespace

TEST_CASE("softmax, top two, renormalised: Mixtral") {
  // Weights of the chosen are softmax over those two alone: 1 / (1 + e^-1).
  const Routed routed =
      route({1, 4, 2, 0, 0}, {.score = Score::kSoftmax}, {std::log(1.0), 3, 2, -50});
  CHECK(routed.chosen == std::vector<int>{1, 2});
  CHECK(routed.weights[0] == doctest::Approx(1 / (1 + std::exp(-1.0))));
  CHECK(routed.weights[0] + routed.weights[1] == doctest::Approx(1));
}

TEST_CASE("softmax without renormalising keeps the share of all experts") {
  const Routed routed = route({1, 3, 2, 0, 0}, {.score = Score::kSoftmax, .renormalize = false},
                              {std::log(6.0), std::log(3.0), 0});
  CHECK(routed.weights[0] == doctest::Approx(0.6));
  CHECK(routed.weights[1] == doctest::Approx(0.3));
}

TEST_CASE("softmax over the chosen: gpt-oss") {
  const Routed routed =
      route({1, 4, 2, 0, 0}, {.score = Score::kSoftmaxOfChosen}, {0, std::log(3.0), -1, -2});
  CHECK(routed.chosen == std::vector<int>{1, 0});
  CHECK(routed.weights[0] == doctest::Approx(0.75));
}

TEST_CASE("a bias changes who is chosen and not what they weigh") {
  // Sigmoids 0.5, 0.75, 0.9; the bias lifts the first above the second.
  const std::vector<double> logits = {0, std::log(3.0), std::log(9.0)};
  const Routed routed =
      route({1, 3, 2, 0, 0}, {.score = Score::kSigmoid, .scale = 2.5}, logits, {0.3, 0, 0});
  CHECK(routed.chosen == std::vector<int>{2, 0});
  CHECK(routed.weights[0] == doctest::Approx(2.5 * 0.9 / 1.4));
  CHECK(routed.weights[1] == doctest::Approx(2.5 * 0.5 / 1.4));
}

TEST_CASE("groups: by the best expert or by the two best, and nobody from outside") {
  // Groups {0, 1}, {2, 3}, {4, 5}. The best expert is in the first, the best pair in the second.
  const std::vector<double> logits = {9, 0, 6, 5, 4, 3};
  const RoutingShape shape{1, 6, 2, 3, 1};
  RouterRule rule{.score = Score::kSoftmaxOfChosen};
  CHECK(route(shape, rule, logits).chosen == std::vector<int>{2, 3});
  rule.group_score = RouterRule::GroupScore::kBest;
  CHECK(route(shape, rule, logits).chosen == std::vector<int>{0, 1});
  CHECK(route({1, 6, 3, 3, 2}, rule, logits).chosen == std::vector<int>{0, 2, 3});
}

TEST_CASE("equal scores: the lower expert, so that nothing depends on the sort") {
  CHECK(route({1, 5, 3, 0, 0}, {}, {1, 1, 1, 1, 1}).chosen == std::vector<int>{0, 1, 2});
}

TEST_CASE("capacity is a share of the slots, rounded up") {
  CHECK(expert_capacity(1, 8, 2, 4) == 4);
  CHECK(expert_capacity(1.25, 8, 2, 5) == 4);  // 4 exactly
  CHECK(expert_capacity(1.1, 10, 1, 10) == 2);
  CHECK(expert_capacity(1.1, 10, 1, 11) == 1);  // 1.1 * 10 / 11 is 1 but for rounding
  CHECK(expert_capacity(1, 1, 1, 256) == 1);
}

TEST_CASE("over capacity slots are dropped: first choices come before second ones") {
  // Three tokens, room for one each. First choices: 0, 0, 1 - token 1 loses. Second: 1 is full for
  // token 0, token 1 gets 2, and 0 is full for token 2.
  const std::vector<int> experts = {0, 1, 0, 2, 1, 0};
  std::vector<int> placed(6);
  CapacityLimit limit;
  const auto outcome = limit.apply({experts, 2, 2}, 4, 1, Overflow::kDrop, placed);
  CHECK(placed == std::vector<int>{0, -1, -1, 2, 1, -1});
  CHECK(outcome.kept == 3);
  CHECK(outcome.dropped == 3);
  CHECK(outcome.moved == 0);
  CHECK(outcome.tokens_with_none == 0);
  CHECK(outcome.padding == 0);
  CHECK(std::vector<int>(limit.load().begin(), limit.load().end()) == std::vector<int>{1, 1, 1, 0});
}

TEST_CASE("padding fills every expert to its capacity") {
  const std::vector<int> experts = {0, 1, 0, 2, 1, 0};
  std::vector<int> placed(6);
  const auto outcome = CapacityLimit().apply({experts, 2, 2}, 4, 2, Overflow::kPad, placed);
  CHECK(outcome.kept == 5);  // expert 0 is asked for three times
  CHECK(outcome.dropped == 1);
  CHECK(outcome.padding == 4 * 2 - 5);
}

TEST_CASE("a token whose every choice is full has nothing left") {
  const std::vector<int> experts = {0, 1, 0, 1, 0, 1};
  std::vector<int> placed(6);
  CHECK(CapacityLimit().apply({experts, 2, 2}, 4, 1, Overflow::kDrop, placed).tokens_with_none ==
        2);
}

TEST_CASE("next choice: the token's best expert with room takes the slot") {
  // Both want 0; token 1 has 2 as its next, which has room; then 3 for its second slot, since 1 is
  // full.
  const std::vector<int> experts = {0, 1, 2, 3, 0, 1, 2, 3};
  std::vector<int> placed(4);
  CapacityLimit limit;
  const auto outcome = limit.apply({experts, 4, 2}, 4, 1, Overflow::kNextChoice, placed);
  CHECK(placed == std::vector<int>{0, 1, 2, 3});
  CHECK(outcome.kept == 2);
  CHECK(outcome.moved == 2);
  CHECK(outcome.dropped == 0);
}

TEST_CASE("laws of capacity on random choices") {
  Rng rng(3, "test");
  CapacityLimit limit;
  for (int round = 0; round < 200; ++round) {
    constexpr int kExperts = 12, kTopK = 3, kRanked = 6;
    const auto tokens = static_cast<int>(rng.below(40));
    std::vector<int> experts;
    for (int t = 0; t < tokens; ++t) {
      std::vector<int> order(kExperts);
      for (int e = 0; e < kExperts; ++e) order[static_cast<std::size_t>(e)] = e;
      for (std::uint32_t i = 0; i < kRanked; ++i)
        std::swap(order[i], order[i + rng.below(kExperts - i) / 2]);
      experts.insert(experts.end(), order.begin(), order.begin() + kRanked);
    }
    const int capacity = expert_capacity(0.5 + rng.uniform(), tokens, kTopK, kExperts);
    std::vector<int> placed(static_cast<std::size_t>(tokens * kTopK));
    std::int64_t dropped = 0;
    for (const Overflow overflow : {Overflow::kDrop, Overflow::kPad, Overflow::kNextChoice}) {
      const auto outcome =
          limit.apply({experts, kRanked, kTopK}, kExperts, capacity, overflow, placed);
      CHECK(outcome.kept + outcome.moved + outcome.dropped == tokens * kTopK);
      int sum = 0;
      for (const int load : limit.load()) {
        CHECK(load <= capacity);
        sum += load;
      }
      CHECK(sum == outcome.kept + outcome.moved);
      for (int t = 0; t < tokens; ++t) {
        std::set<int> own;
        int slots = 0;
        for (int rank = 0; rank < kTopK; ++rank) {
          const int expert = placed[static_cast<std::size_t>(t * kTopK + rank)];
          if (expert < 0) continue;
          own.insert(expert);
          ++slots;
        }
        CHECK(static_cast<int>(own.size()) == slots);
      }
      if (overflow == Overflow::kDrop) dropped = outcome.dropped;
      CHECK(outcome.dropped <= dropped);
    }
    // Room for all: nothing is dropped.
    CHECK(
        limit.apply({experts, kRanked, kTopK}, kExperts, tokens, Overflow::kDrop, placed).dropped ==
        0);
  }
}

TEST_CASE("expert choice: each expert its best tokens, and tokens none to all of them") {
  // Tokens by experts; each expert takes two of three tokens.
  const std::vector<double> scores = {9, 8, 7,   //
                                      5, 9, 1,   //
                                      7, 3, 1};  // ties at expert 2: the earlier token
  ExpertChoice choice;
  const auto got = choice.apply(scores, 3, 2);
  CHECK(std::vector<int>(got.begin(), got.end()) == std::vector<int>{3, 2, 1});
  CHECK(choice.tokens_of(0)[0] == 0);
  CHECK(choice.tokens_of(0)[1] == 2);
  CHECK(choice.tokens_of(1)[0] == 1);
  CHECK(choice.tokens_of(2)[1] == 1);
}

TEST_CASE("expert choice: a capacity above the tokens is all of them") {
  ExpertChoice choice;
  const auto got = choice.apply(std::vector<double>{1, 2, 3, 4}, 2, 10);
  CHECK(std::vector<int>(got.begin(), got.end()) == std::vector<int>{2, 2});
}

TEST_CASE("hash routing: a function of the id, even over ids, distinct, new at each layer") {
  std::vector<int> counts(16, 0), chosen(3), again(3);
  int moved = 0;
  for (std::uint64_t id = 0; id < 16'000; ++id) {
    hash_experts(1, 0, id, 16, chosen);
    hash_experts(1, 0, id, 16, again);
    REQUIRE(chosen == again);
    REQUIRE(std::set<int>(chosen.begin(), chosen.end()).size() == 3);
    for (const int expert : chosen) ++counts[static_cast<std::size_t>(expert)];
    hash_experts(1, 1, id, 16, again);
    moved += chosen[0] != again[0] ? 1 : 0;
  }
  for (const int count : counts) CHECK(std::abs(count - 3000) < 198);  // four deviations of 49
  CHECK(std::abs(moved - 15'000) < 123);
}
