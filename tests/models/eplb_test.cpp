#include "models/eplb.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>

#include "sim/base/random.h"

namespace moesim {
namespace {

using Ints = std::vector<int>;

/// Heaviest rank over the mean, minus one.
double imbalance(const ExpertPlacement& placement, int layer, std::span<const double> loads) {
  const std::vector<double> ranks = rank_loads(placement, layer, loads);
  double sum = 0;
  for (const double load : ranks) sum += load;
  return *std::ranges::max_element(ranks) * static_cast<double>(ranks.size()) / sum - 1;
}

ExpertPlacement placement_of(int ranks, const std::vector<std::vector<std::uint16_t>>& layers) {
  const int slots = static_cast<int>(layers.front().size());
  int experts = 0;
  for (const auto& row : layers) experts = std::max(experts, *std::ranges::max_element(row) + 1);
  ExpertPlacement out = empty_placement(static_cast<int>(layers.size()), experts, slots, ranks);
  out.logical.clear();
  for (const auto& row : layers) out.logical.insert(out.logical.end(), row.begin(), row.end());
  return out;
}

TEST_CASE("packing gives the heaviest item to the lightest bin with room") {
  struct Case {
    const char* why;
    std::vector<double> weights;
    int bins;
    Ints bin, position;
  };
  const Case cases[] = {
      // 9 -> bin 0; 7 -> bin 1; 4 -> bin 1 (7 < 9), which is full then; 1 -> bin 0.
      {"heaviest first", {4, 9, 1, 7}, 2, {1, 0, 0, 1}, {1, 0, 1, 0}},
      {"a full bin takes no more, however light", {8, 1, 1, 1}, 2, {0, 1, 1, 0}, {0, 0, 1, 1}},
      {"ties go to the lower index", {5, 5, 5, 5}, 2, {0, 1, 0, 1}, {0, 0, 1, 1}},
      {"one item a bin stays where it is", {1, 3, 2}, 3, {0, 1, 2}, {0, 0, 0}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const Packing packing = pack(c.weights, c.bins);
    CHECK(packing.bin == c.bin);
    CHECK(packing.position == c.position);
  }
}

TEST_CASE("a further slot copies the expert with most load per copy") {
  // 6, 12, 4: expert 1 is copied (6 each); then 0 and 1 tie at 6 and the lower index wins; then 1.
  CHECK(replicate(std::vector<double>{6, 12, 4}, 6) == Ints{0, 1, 2, 1, 0, 1});
  CHECK(replicate(std::vector<double>{0, 0}, 4) == Ints{0, 1, 0, 0});
}

// deepseek-ai/EPLB README: 2 layers, 12 experts in 4 groups, 16 slots, 2 nodes, 8 GPUs.
TEST_CASE("the published example comes out slot for slot") {
  const std::vector<double> loads = {90, 132, 40,  61, 104, 165, 39,  4,   73,  56, 183, 86,
                                     20, 107, 104, 64, 19,  197, 187, 157, 172, 86, 16,  27};
  const ExpertPlacement placement = balanced_placement({.layers = 2,
                                                        .experts = 12,
                                                        .ranks = 8,
                                                        .nodes = 2,
                                                        .groups = 4,
                                                        .redundant = 4,
                                                        .loads = loads});
  CHECK(placement.logical == std::vector<std::uint16_t>{5, 6, 5, 7,  8, 4, 3,  4, 10, 9, 10,
                                                        2, 0, 1, 11, 1, 7, 10, 6, 8,  6, 11,
                                                        8, 9, 2, 4,  5, 1, 5,  0, 3,  1});
}

TEST_CASE("groups that do not divide over the nodes are balanced globally") {
  // Hierarchical would keep experts 0-1 and 2-3 together; three nodes cannot share two groups.
  const std::vector<double> loads = {8, 1, 1, 1, 1, 1};
  const Ints global = rebalance(loads, {.slots = 6, .groups = 1, .nodes = 1, .ranks = 3});
  CHECK(rebalance(loads, {.slots = 6, .groups = 2, .nodes = 3, .ranks = 3}) == global);
  // 8 -> rank 0; then 1 -> rank 1, 2, 1, 2; the last finds only rank 0 with room.
  CHECK(global == Ints{0, 5, 1, 3, 2, 4});
}

TEST_CASE("nodes that do not share the ranks equally are no reason to balance by them") {
  // Five ranks on two nodes, as where the second is only partly used.
  const std::vector<double> loads = {8, 1, 1, 1, 1, 1, 4, 2, 2, 1};
  const Ints global = rebalance(loads, {.slots = 10, .groups = 1, .nodes = 1, .ranks = 5});
  CHECK(rebalance(loads, {.slots = 10, .groups = 2, .nodes = 2, .ranks = 5}) == global);
}

// Acceptance check 8 of routing-traces.md 6: a reference run gave 0.005, worst of 30 draws 0.011,
// and 0.96 once half of the variance of the logarithm was new (0.98 over 200 draws of a second
// implementation).
TEST_CASE("lognormal loads over 36 ranks are level on the load they were balanced for") {
  constexpr int kDraws = 200;
  constexpr double kSigma = 1.05;
  double worst = 0, later = 0;
  for (std::uint64_t draw = 0; draw < kDraws; ++draw) {
    Rng random(7, "eplb", draw);
    std::vector<double> now(256), then(256);
    for (std::size_t e = 0; e < 256; ++e) {
      const double old = random.normal();
      now[e] = std::exp(kSigma * old);
      then[e] = std::exp(kSigma * std::sqrt(0.5) * (old + random.normal()));
    }
    const ExpertPlacement placement = balanced_placement(
        {.layers = 1, .experts = 256, .ranks = 36, .redundant = 32, .loads = now});
    worst = std::max(worst, imbalance(placement, 0, now));
    later += imbalance(placement, 0, then) / kDraws;
  }
  CHECK(worst < 0.02);
  CHECK(later == doctest::Approx(0.96).epsilon(0.1));
}

/// Mean heaviest rank over the mean for 256 lognormal(1.05) experts in 288 slots, when a share of
/// the variance of the logarithm is new since the placement was planned.
double after_drift(double share) {
  constexpr int kDraws = 30;
  constexpr double kSigma = 1.05;
  double sum = 0;
  for (std::uint64_t draw = 0; draw < kDraws; ++draw) {
    Rng random(11, "eplb_drift", draw);
    std::vector<double> now(256), then(256);
    for (std::size_t e = 0; e < 256; ++e) {
      const double old = random.normal(), fresh = random.normal();
      now[e] = std::exp(kSigma * old);
      then[e] = std::exp(kSigma * (std::sqrt(1 - share) * old + std::sqrt(share) * fresh));
    }
    const ExpertPlacement placement = balanced_placement(
        {.layers = 1, .experts = 256, .ranks = 36, .redundant = 32, .loads = now});
    sum += 1 + imbalance(placement, 0, then);
  }
  return sum / kDraws;
}

// DeepSeek-R1 with EPLB and 32 redundant experts ran at a rank maximum of 1.115 times the mean
// (NVIDIA/TensorRT-LLM, examples/wide_ep/ep_load_balancer/README.md), though a plan is level
// to 1.02 on its own load. The drift that lies between is computed here, not assumed anywhere.
TEST_CASE("the published 1.115 is about one percent of drift away from the plan") {
  CHECK(after_drift(0) < 1.02);
  double low = 0, high = 0.5;
  for (int i = 0; i < 20; ++i) {
    const double middle = (low + high) / 2;
    (after_drift(middle) < 1.115 ? low : high) = middle;
  }
  MESSAGE("1.115 after ", 100 * low, " % of the log-variance is new");
  CHECK(low > 0.001);
  CHECK(low < 0.03);
}

TEST_CASE("experts that stay on a rank keep their slot") {
  const ExpertPlacement before = placement_of(2, {{0, 1, 2, 3, 4, 0}});
  struct Case {
    const char* why;
    std::vector<std::uint16_t> after, expect;
  };
  const Case cases[] = {
      {"nothing changed but the order", {2, 0, 1, 0, 3, 4}, {0, 1, 2, 3, 4, 0}},
      {"newcomers take the free slots in order", {4, 3, 1, 0, 2, 3}, {4, 1, 3, 3, 2, 0}},
      {"of two copies one stays", {0, 0, 4, 1, 2, 3}, {0, 0, 4, 3, 1, 2}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(keep_slots(before, placement_of(2, {c.after})).logical == c.expect);
  }
}

TEST_CASE("a rank receives each expert it lacked once, from its owners in turn") {
  // Rank:                                            0     1     2     3
  const ExpertPlacement before = placement_of(4, {{0, 1, 2, 3, 4, 5, 0, 6}});
  const ExpertPlacement after = placement_of(4, {{1, 0, 0, 0, 4, 0, 6, 2}});
  const std::vector<ExpertMove> moves = expert_moves(before, after, 0);
  // Expert 0 goes to ranks 1 and 2 (two slots of rank 1 take one copy), its owners 0 and 3 serve
  // one each; expert 2 goes from rank 1 to rank 3.
  REQUIRE(moves.size() == 3);
  const int expect[][3] = {{0, 0, 1}, {0, 3, 2}, {2, 1, 3}};
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(moves[i].expert == expect[i][0]);
    CHECK(moves[i].from_rank == expect[i][1]);
    CHECK(moves[i].to_rank == expect[i][2]);
  }
  CHECK(moved_slots(before, after) == Ints{0, 1, 1, 1});
  CHECK(moved_slots(before, before) == Ints{0, 0, 0, 0});
}

TEST_CASE("receivers that do not divide over the senders leave the rest to the first") {
  // Expert 0 lies on ranks 0 and 1 and goes to ranks 2, 3 and 4.
  const ExpertPlacement before = placement_of(5, {{0, 1, 0, 2, 3, 4, 1, 2, 3, 4}});
  const ExpertPlacement after = placement_of(5, {{1, 3, 2, 4, 0, 3, 0, 4, 0, 1}});
  std::vector<Ints> of_zero;
  for (const ExpertMove& move : expert_moves(before, after, 0)) {
    if (move.expert == 0) of_zero.push_back({move.from_rank, move.to_rank});
  }
  CHECK(of_zero == std::vector<Ints>{{0, 2}, {1, 3}, {0, 4}});
}

}  // namespace
}  // namespace moesim
