#include "sim/steptime/moe_group.h"

#include <doctest/doctest.h>
#include <vector>

#include "tests/sim/steptime/moe_support.h"

using namespace moesim;

namespace {

/// One microsecond for every row an expert computes.
double row_us(const Op& op) {
  return op.term == Term::kExpertGemm ? static_cast<double>(op.m) : 0.0;
}

struct TwoRanks {
  explicit TwoRanks(const ExpertPlacement& placement, bool routed = true, bool whole = true)
      : dispatch(100, 200, routed),
        group({.family = family.get(),
               .shard = make_shard(model, {.dp = 2, .expert_parallel = whole}, 0).shard,
               .kernels = &kernels,
               .dispatch = &dispatch,
               .ranks = whole ? 2 : 1,
               .node_of_rank = {0, 1}},
              placement) {}
  MoeLayerCost cost(const std::vector<std::uint32_t>& counts, int tokens,
                    const std::vector<std::uint32_t>& slots = {}, std::uint32_t key = 0) {
    const LayerClass layers{model.layers.back(), 2};
    const std::vector<std::uint32_t> copies = {5, 3}, nodes = {6, 7};
    const std::vector<double> held = {6, 2};
    return group.cost(layers, 1, tokens, held, {counts, copies, nodes, slots, key});
  }

  ModelSpec model = three_layers();
  std::unique_ptr<Family> family = make_family(model);
  ByFunction kernels{row_us};
  FixedDispatch dispatch;
  MoeGroup group;
};

}  // namespace

TEST_CASE("a layer takes its slowest rank's experts, told as the mean and the wait for it") {
  TwoRanks two(placed(2, 4, {{0, 1}, {2, 3}}));
  // Rank 0 computes 5 rows, rank 1 computes 2 + 1.
  const MoeLayerCost cost = two.cost({5, 0, 2, 1}, 8);
  CHECK(cost.gemm_ns == doctest::Approx(4000));
  CHECK(cost.wait_ns == doctest::Approx(1000));
  CHECK(cost.straggler == 0);
  CHECK(cost.rank_imbalance == doctest::Approx(5.0 / 4));
  CHECK(cost.expert_imbalance == doctest::Approx(5.0 / 2));
  CHECK(cost.active == doctest::Approx(1.5));  // one expert and two
  CHECK(cost.dispatch_ns == 100);
  CHECK(cost.combine_ns == 200);
  CHECK(cost.bytes_intra == 7);
  CHECK(cost.bytes_inter == 5);
  CHECK(cost.provenance == Provenance::kDonor);
  CHECK(two.dispatch.seen.held == std::vector<double>{6, 2});
  CHECK(two.dispatch.seen.slots == std::vector<double>{5, 3});
  CHECK(two.dispatch.seen.copies == std::vector<double>{5, 3});
  CHECK(two.dispatch.seen.nodes == std::vector<double>{6, 7});
}

TEST_CASE("copies of an expert share its tokens; who gets the rest changes with the step") {
  TwoRanks two(placed(2, 4, {{0, 1, 2}, {3, 0, 0}}));
  // Layer 1 of step 0 begins with the second copy of expert 0: 1, 2 and 2 of its five tokens. Rank
  // 0 has 1 + 0 + 2, rank 1 has 1 + 2 + 2.
  const MoeLayerCost cost = two.cost({5, 0, 2, 1}, 8);
  CHECK(two.dispatch.seen.slots == std::vector<double>{3, 5});
  CHECK(cost.gemm_ns == doctest::Approx(4000));
  CHECK(cost.wait_ns == doctest::Approx(1000));
  CHECK(cost.rank_imbalance == doctest::Approx(1.25));
  // Step 1 begins with the third: 2, 1 and 2; step 2 with the first: 2, 2 and 1; then as before.
  const std::vector<std::vector<double>> next = {{4, 4}, {4, 4}, {3, 5}};
  for (std::uint32_t step = 1; step <= 3; ++step) {
    (void)two.cost({5, 0, 2, 1}, 8, {}, step);
    CHECK(two.dispatch.seen.slots == next[step - 1]);
  }
}

TEST_CASE("what does not divide over copies is dealt on from one expert to the next") {
  TwoRanks two(placed(2, 4, {{0, 1, 2, 3}, {0, 1, 2, 3}}));
  struct Case {
    const char* why;
    std::vector<std::uint32_t> counts;
    std::vector<double> even, odd;  // ranks in steps of even and odd number
  };
  const Case cases[] = {
      {"one of each", {1, 1, 1, 1}, {2, 2}, {2, 2}},
      {"one alone: layer 1 begins with rank 1", {1, 0, 0, 0}, {0, 1}, {1, 0}},
      {"another one", {0, 0, 0, 1}, {0, 1}, {1, 0}},
      {"three and two: rank 1, 0, 1, then 0, 1", {3, 0, 2, 0}, {2, 3}, {3, 2}},
      {"shares of 2 and 1, the rest to rank 1, then 0", {5, 2, 1, 0}, {4, 4}, {4, 4}},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    for (std::uint32_t step = 0; step < 4; ++step) {
      (void)two.cost(c.counts, 8, {}, step);
      CHECK(two.dispatch.seen.slots == (step % 2 == 0 ? c.even : c.odd));
    }
  }
}

TEST_CASE("tokens that were followed are computed where they were sent") {
  TwoRanks two(placed(2, 4, {{0, 1, 2}, {3, 0, 0}}));
  const MoeLayerCost cost = two.cost({5, 0, 2, 1}, 8, {0, 0, 2, 1, 1, 4});
  CHECK(two.dispatch.seen.slots == std::vector<double>{2, 6});
  CHECK(cost.straggler == 1);
  CHECK(cost.active == doctest::Approx(2));  // one expert and three
}

TEST_CASE("a new placement counts from the next layer on") {
  TwoRanks two(placed(2, 4, {{0, 1}, {2, 3}}));
  CHECK(two.cost({5, 0, 2, 1}, 8).straggler == 0);
  two.group.set_placement(placed(2, 4, {{3, 1}, {2, 0}}));
  const MoeLayerCost cost = two.cost({5, 0, 2, 1}, 8);
  CHECK(cost.straggler == 1);
  CHECK(two.dispatch.seen.slots == std::vector<double>{1, 7});
  CHECK(cost.gemm_ns + cost.wait_ns == doctest::Approx(7000));
}

TEST_CASE("other numbers for experts, or for ranks, change nothing but the straggler's number") {
  TwoRanks two(placed(2, 4, {{0, 1}, {2, 3}}));
  const MoeLayerCost cost = two.cost({5, 0, 2, 1}, 8);
  // Experts 0 1 2 3 are called 2 0 3 1.
  TwoRanks renamed(placed(2, 4, {{2, 0}, {3, 1}}));
  const MoeLayerCost same = renamed.cost({0, 1, 5, 2}, 8);
  CHECK(renamed.dispatch.seen.slots == two.dispatch.seen.slots);
  CHECK(same.straggler == cost.straggler);
  TwoRanks swapped(placed(2, 4, {{2, 3}, {0, 1}}));
  const MoeLayerCost mirrored = swapped.cost({5, 0, 2, 1}, 8);
  CHECK(swapped.dispatch.seen.slots == std::vector<double>{3, 5});
  CHECK(mirrored.straggler == 1 - cost.straggler);
  for (const MoeLayerCost& other : {same, mirrored}) {
    CHECK(other.gemm_ns == cost.gemm_ns);
    CHECK(other.wait_ns == cost.wait_ns);
    CHECK(other.active == cost.active);
    CHECK(other.rank_imbalance == cost.rank_imbalance);
    CHECK(other.expert_imbalance == cost.expert_imbalance);
  }
}

TEST_CASE("experts cut over all ranks compute every row everywhere and wait for nobody") {
  TwoRanks two({}, false, false);
  const MoeLayerCost cost = two.cost({5, 0, 2, 1}, 8);
  CHECK(cost.gemm_ns == doctest::Approx(8000));
  CHECK(cost.wait_ns == 0);
  CHECK(cost.active == 3);
  CHECK(cost.rank_imbalance == 1);
  CHECK(cost.dispatch_ns == 100);
}

TEST_CASE("a layer nobody has tokens for takes no expert time and is balanced") {
  TwoRanks two(placed(2, 4, {{0, 1}, {2, 3}}));
  const MoeLayerCost cost = two.cost({0, 0, 0, 0}, 0);
  CHECK(cost.gemm_ns == 0);
  CHECK(cost.wait_ns == 0);
  CHECK(cost.rank_imbalance == 1);
  CHECK(cost.expert_imbalance == 1);
}
