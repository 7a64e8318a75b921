#include "sim/steptime/rank_times.h"

#include <cmath>
#include <doctest/doctest.h>
#include <vector>

#include "tests/sim/steptime/moe_support.h"

using namespace moesim;

namespace {

/// Two ranks of two experts each of three_layers(), whose second MoE layer is priced; decodes and
/// prompts have tables of their own.
struct TwoRanks {
  TwoRanks(ByFunction::Function us, bool routed, const RoutingTable& decodes,
           const RoutingTable& prompts)
      : kernels(std::move(us)),
        dispatch(0, 0, routed),
        stage{MoeGroup({.family = family.get(),
                        .shard = make_shard(model, {.dp = 2, .expert_parallel = true}, 0).shard,
                        .kernels = &kernels,
                        .dispatch = &dispatch,
                        .ranks = 2,
                        .node_of_rank = {0, 0}},
                       placed(2, 4, {{0, 1}, {2, 3}})),
              {LayerClass{model.layers.back(), 2}},
              {0, 0},
              0},
        times(stage),
        decode_replay(decodes, {RoutingReplay::Mode::kRow, true, 1, {}}),
        prompt_replay(prompts, {RoutingReplay::Mode::kRow, true, 1, {}}) {
    RowDraw decode{.table = &decodes, .replay = &decode_replay, .ends = ends, .any_row = true};
    RowDraw prompt{.table = &prompts, .replay = &prompt_replay, .ends = ends, .any_row = true};
    prompt.kind = TokenKind::kPrompt;
    times.learn({decode, prompt}, 1);
  }

  /// Costs of both ranks at layer 1.
  std::vector<RankCost> operator()(const std::vector<std::uint32_t>& loads, int tokens,
                                   double prompts = 0, std::uint64_t key = 1) {
    std::vector<RankCost> out(2);
    times.price(1, loads, {tokens, prompts}, key, out);
    return out;
  }

  ModelSpec model = three_layers();
  std::unique_ptr<Family> family = make_family(model);
  ByFunction kernels;
  FixedDispatch dispatch;
  MoeStageSpec stage;
  RankTimes times;
  std::vector<std::uint64_t> ends = {100};
  RoutingReplay decode_replay, prompt_replay;
};

/// Rows of one token each that choose experts a and b at both layers.
RoutingTable pairs(const std::vector<std::pair<int, int>>& choices) {
  RoutingTable table({.layers = 2, .experts = 4, .top_k = 2}, choices.size());
  for (std::size_t row = 0; row < choices.size(); ++row) {
    for (int l = 0; l < 2; ++l) {
      table.set(row, l, 0, choices[row].first);
      table.set(row, l, 1, choices[row].second);
    }
  }
  RoutedSequence all;
  all.rows = static_cast<std::uint32_t>(choices.size());
  table.sequences = {all};
  return table;
}

double rows_us(const Op& op) {
  return static_cast<double>(op.m);
}

}  // namespace

TEST_CASE("what is linear in rows is exact at every load") {
  const RoutingTable even = pairs({{0, 2}, {1, 3}, {0, 3}, {1, 2}});
  TwoRanks two(rows_us, true, even, even);
  for (const std::uint32_t load : {1U, 2U, 15U, 16U, 17U, 23U, 100U, 4097U, 100'000U}) {
    CAPTURE(load);
    const std::vector<RankCost> costs = two({load, 3}, 1000);
    CHECK(costs[0].gemm_ns == doctest::Approx(1000.0 * load));
    CHECK(costs[1].gemm_ns == doctest::Approx(3000));
    CHECK(costs[0].provenance == Provenance::kDonor);
  }
  const std::vector<RankCost> idle = two({0, 3}, 1000);
  CHECK(idle[0].gemm_ns == 0);
  CHECK(idle[0].active == 0);
}

TEST_CASE("experts that are never chosen are not active, and prompts have choices of their own") {
  // Rank 0: decodes know expert 0 only, prompts both in turn. Rank 1: nobody in decodes.
  const RoutingTable decodes = pairs({{0, 2}}), prompts = pairs({{0, 2}, {1, 2}});
  TwoRanks two(rows_us, true, decodes, prompts);
  CHECK(two({50, 50}, 50)[0].active == 1);
  CHECK(two({50, 50}, 50, 1.0)[0].active == 2);
  CHECK(two({50, 50}, 50, 0.25)[0].active == doctest::Approx(1.25));
  const RoutingTable first_rank = pairs({{0, 1}});
  TwoRanks cold(rows_us, true, first_rank, first_rank);
  // A rank no draw knows has its experts chosen in turn.
  CHECK(cold({50, 1}, 50)[1].active == 1);
  CHECK(cold({50, 2}, 50)[1].active == 2);
}

TEST_CASE("active experts over draws are what chance gives") {
  // Both experts of rank 0 with equal chance: n assignments leave one idle with 2^(1-n).
  std::vector<std::pair<int, int>> choices;
  Rng rng(5, "choices");
  for (int i = 0; i < 4096; ++i) choices.push_back({static_cast<int>(rng.next() % 2), 2});
  const RoutingTable table = pairs(choices);
  for (const std::uint32_t load : {1U, 2U, 3U}) {
    CAPTURE(load);
    double mean = 0;
    constexpr int kSeeds = 60;
    for (int seed = 0; seed < kSeeds; ++seed) {
      TwoRanks two(rows_us, true, table, table);
      RowDraw draw{
          .table = &table, .replay = &two.decode_replay, .ends = two.ends, .any_row = true};
      two.times.learn({draw, draw}, static_cast<std::uint64_t>(seed));
      for (std::uint64_t key = 0; key < 32; ++key)
        mean += two({load, 1}, 4, 0, key)[0].active / (kSeeds * 32.0);
    }
    // Some 20 of 32 draws of each of 60 streams: a standard deviation of 0.5 / sqrt(1200) = 0.014.
    CHECK(mean == doctest::Approx(2 - std::pow(0.5, load - 1)).epsilon(0.04));
  }
}

TEST_CASE("without routed dispatch a rank sees all tokens of the step, else its own") {
  const RoutingTable even = pairs({{0, 2}, {1, 3}});
  const auto tokens_us = [](const Op& op) { return static_cast<double>(op.tokens); };
  TwoRanks all(tokens_us, false, even, even), own(tokens_us, true, even, even);
  for (const int tokens : {7, 16, 100, 4096, 5000}) {
    CAPTURE(tokens);
    CHECK(all({20, 20}, tokens)[0].gemm_ns == doctest::Approx(1000.0 * tokens));
    // One choice of every token is on this rank: distinct tokens are its load.
    CHECK(own({20, 20}, tokens)[0].gemm_ns == doctest::Approx(20'000));
  }
}

TEST_CASE("equal keys take equal draws, and a new table is learned anew") {
  const RoutingTable one = pairs({{0, 2}}), both = pairs({{0, 2}, {1, 2}});
  TwoRanks two(rows_us, true, one, one);
  CHECK(two({9, 9}, 9)[0].active == 1);
  RowDraw draw{.table = &both, .replay = &two.decode_replay, .ends = two.ends, .any_row = true};
  two.times.learn({draw, draw}, 1);
  const std::vector<RankCost> first = two({9, 9}, 9, 0, 77), again = two({9, 9}, 9, 0, 77);
  CHECK(first[0].active == 2);
  CHECK(first[0].gemm_ns == again[0].gemm_ns);
}
