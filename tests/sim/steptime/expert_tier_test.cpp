#include "sim/steptime/expert_tier.h"

#include <algorithm>
#include <array>
#include <doctest/doctest.h>
#include <vector>

#include "sim/base/random.h"

using namespace moesim;

namespace {

/// Every expert once, in order, on one rank.
ExpertPlacement all_of(int layers, int experts, int ranks = 1) {
  ExpertPlacement placement = empty_placement(layers, experts, experts, ranks);
  for (std::size_t i = 0; i < placement.logical.size(); ++i)
    placement.logical[i] = static_cast<std::uint16_t>(i % static_cast<std::size_t>(experts));
  return placement;
}

/// Experts of 1000 bytes, 2 bytes a nanosecond, 7 ns for a batch of copies.
ExpertTier::Config config_of(OffloadPolicy policy, double fraction, int layers = 1) {
  ExpertTier::Config config;
  config.spec = {OffloadTier::kHost, policy, OffloadPrefetch::kNone, fraction};
  config.expert_bytes.assign(static_cast<std::size_t>(layers), 1000);
  config.bytes_per_ns = 2;
  config.latency_ns = 7;
  return config;
}

/// One token that chooses these experts of `experts`, at layer 0 of a one-layer tier.
TierUse use(ExpertTier& tier, int experts, std::initializer_list<int> chosen, int layer = 0) {
  std::vector<std::uint32_t> counts(static_cast<std::size_t>(experts), 0);
  for (const int e : chosen) ++counts[static_cast<std::size_t>(e)];
  tier.begin_layer(layer, counts, 1);
  return tier.visit(0, counts);
}

/// Rows of one layer and one choice each.
RoutingTable rows_of(int experts, const std::vector<int>& chosen) {
  RoutingTable table({.layers = 1, .experts = experts, .top_k = 1}, chosen.size());
  for (std::size_t i = 0; i < chosen.size(); ++i) table.set(i, 0, 0, chosen[i]);
  return table;
}

/// 2000 choices of eight experts: 0 is chosen as often as 1, 2 and 3 together; with `stay` percent
/// the last choice comes again.
std::vector<int> skewed(std::uint64_t seed, int stay) {
  Rng rng(seed, "test");
  std::vector<int> chosen;
  for (int i = 0; i < 2000; ++i) {
    const bool again = !chosen.empty() && static_cast<int>(rng.below(100)) < stay;
    constexpr std::array<int, 16> kFavourites{7, 7, 7, 7, 7, 7, 5, 5, 3, 3, 2, 6, 0, 1, 4, 2};
    chosen.push_back(again ? chosen.back() : kFavourites[rng.below(16)]);
  }
  return chosen;
}

double hits_of(const std::vector<int>& chosen, OffloadPolicy policy, double fraction) {
  ExpertTier tier(config_of(policy, fraction), all_of(1, 8));
  tier.learn(rows_of(8, chosen));
  double hits = 0;
  for (const int e : chosen) hits += use(tier, 8, {e}).hits;
  return hits;
}

TEST_CASE("least recently used: the expert unused for longest leaves") {
  ExpertTier tier(config_of(OffloadPolicy::kLru, 0.5), all_of(1, 4));
  CHECK(use(tier, 4, {2}).hits == 0);  // 0 and 1 were resident; 1 leaves
  CHECK(use(tier, 4, {0}).hits == 1);
  CHECK(use(tier, 4, {1}).hits == 0);  // 2 leaves, not 0
  CHECK(use(tier, 4, {0}).hits == 1);
  CHECK(use(tier, 4, {2}).hits == 0);
}

TEST_CASE("least frequently used: tokens decide, not how long ago they were") {
  ExpertTier tier(config_of(OffloadPolicy::kLfu, 0.5), all_of(1, 4));
  for (const int e : {3, 3, 3, 2, 2}) static_cast<void>(use(tier, 4, {e}));
  CHECK(use(tier, 4, {0}).hits == 0);  // one use against three and two: stays outside
  CHECK(use(tier, 4, {2, 3}).hits == 2);
}

TEST_CASE("copies cost a latency and their bytes, and only experts with tokens are copied") {
  ExpertTier tier(config_of(OffloadPolicy::kPinnedHot, 0.25), all_of(1, 8));
  tier.learn(rows_of(8, {6, 6, 3, 3, 3, 1}));  // 3 and 6 stay
  const TierUse seen = use(tier, 8, {0, 3, 5, 6, 7});
  CHECK(seen.looked == 5);
  CHECK(seen.hits == 2);
  CHECK(seen.bytes == 3000);
  CHECK(seen.demand_ns == 7 + 3 * 1000 / 2.0);
  const TierUse none = use(tier, 8, {3, 6});
  CHECK(none.bytes == 0);
  CHECK(none.demand_ns == 0);  // no copy, no latency
}

TEST_CASE("pinning the hottest hits as often as their shares of the load add up to") {
  const std::vector<int> chosen = skewed(1, 0);
  std::array<double, 8> share{};
  for (const int e : chosen) share[static_cast<std::size_t>(e)] += 1;
  std::ranges::sort(share, std::greater<>());
  double sum = 0;
  for (int n = 0; n <= 8; ++n) {
    CHECK(hits_of(chosen, OffloadPolicy::kPinnedHot, n / 8.0) == sum);
    if (n < 8) sum += share[static_cast<std::size_t>(n)];
  }
}

TEST_CASE("more residents never hit less, whatever the policy") {
  for (const OffloadPolicy policy :
       {OffloadPolicy::kLru, OffloadPolicy::kLfu, OffloadPolicy::kPinnedHot}) {
    for (const int stay : {0, 60}) {
      double before = -1;
      for (int n = 0; n <= 8; ++n) {
        const double hits = hits_of(skewed(7, stay), policy, n / 8.0);
        CHECK(hits >= before);
        before = hits;
      }
      CHECK(before == 2000);
    }
  }
}

TEST_CASE("dropping the least recently used is no worse than dropping any") {
  for (const int stay : {0, 40, 80}) {
    const std::vector<int> chosen = skewed(3, stay);
    Rng rng(9, "test");
    double random_hits = 0;
    std::vector<int> resident{0, 1, 2};
    for (const int e : chosen) {
      const bool hit = std::ranges::find(resident, e) != resident.end();
      random_hits += hit ? 1 : 0;
      if (!hit) resident[rng.below(3)] = e;
    }
    CHECK(hits_of(chosen, OffloadPolicy::kLru, 3 / 8.0) >= random_hits);
  }
}

TEST_CASE("a rank keeps its own experts: half of each rank's, not half of all") {
  ExpertTier tier(config_of(OffloadPolicy::kPinnedHot, 0.5), all_of(1, 4, 2));
  tier.learn(rows_of(4, {0, 0, 0, 1, 1, 3}));
  const std::vector<std::uint32_t> counts{1, 1, 1, 1};
  tier.begin_layer(0, counts, 4);
  const auto all = std::span(counts);
  CHECK(tier.visit(0, all.first(2)).hits == 1);
  CHECK(tier.visit(1, all.last(2)).hits == 1);  // 3, though 1 is hotter
}

/// Layer 1 chooses the expert after layer 0's.
RoutingTable next_in_turn() {
  RoutingTable table({.layers = 2, .experts = 4, .top_k = 1}, 4);
  for (int e = 0; e < 4; ++e) {
    table.set(static_cast<std::uint64_t>(e), 0, 0, e);
    table.set(static_cast<std::uint64_t>(e), 1, 0, (e + 1) % 4);
  }
  return table;
}

TEST_CASE("what always follows is copied ahead, what never does is copied in vain") {
  ExpertTier::Config config = config_of(OffloadPolicy::kPinnedHot, 0, 2);
  config.spec.prefetch = OffloadPrefetch::kNextLayer;
  ExpertTier tier(config, all_of(2, 4));
  tier.learn(next_in_turn());
  const TierUse first = use(tier, 4, {1}, 0);
  CHECK(first.ahead == 0);  // nothing runs before the first layer
  CHECK(first.demand_ns == 507);
  const TierUse second = use(tier, 4, {2}, 1);
  CHECK(second.ahead == 1);
  CHECK(second.demand_ns == 0);
  CHECK(second.ahead_ns == 507);
  static_cast<void>(use(tier, 4, {1}, 0));
  const TierUse surprised = use(tier, 4, {0}, 1);
  CHECK(surprised.ahead == 0);
  CHECK(surprised.demand_ns == 507);
  CHECK(surprised.ahead_ns == 507);  // expert 2 came for nothing
  CHECK(surprised.bytes == 2000);
}

TEST_CASE("after a reset the same steps find the same experts") {
  ExpertTier tier(config_of(OffloadPolicy::kLru, 0.5), all_of(1, 8));
  std::array<std::vector<double>, 2> hits;
  for (auto& run : hits) {
    tier.reset();
    for (const int e : skewed(5, 30)) run.push_back(use(tier, 8, {e}).hits);
  }
  CHECK(hits[0] == hits[1]);
}

}  // namespace
