#include "sim/steptime/routing_bank.h"

#include <cmath>
#include <doctest/doctest.h>
#include <numeric>
#include <vector>

#include "sim/steptime/replica_ranks.h"
#include "tests/sim/steptime/moe_support.h"

using namespace moesim;

namespace {

constexpr RoutingShape kShape{.layers = 2, .experts = 6, .top_k = 2};

/// One sequence of `rows` decode rows; row r chooses r and r + 1 at layer 0, r and r + 3 at layer
/// 1, modulo the experts.
RoutingTable wheel(std::uint64_t rows) {
  RoutingTable table(kShape, rows);
  for (std::uint64_t row = 0; row < rows; ++row) {
    const int e = static_cast<int>(row % 6);
    table.set(row, 0, 0, e);
    table.set(row, 0, 1, (e + 1) % 6);
    table.set(row, 1, 0, e);
    table.set(row, 1, 1, (e + 3) % 6);
  }
  RoutedSequence all;
  all.rows = static_cast<std::uint32_t>(rows);
  table.sequences = {all};
  return table;
}

/// Ranks 0 and 1 on node 0, rank 2 on node 1.
ReplicaRanks three_ranks() {
  return {placed(2, 6, {{0, 1}, {2, 3}, {4, 5}}), {0, 0, 1}};
}

std::vector<std::uint32_t> copies_of(const LayerLoad& load) {
  std::vector<std::uint32_t> all(load.rank_copies.begin(), load.rank_copies.end());
  all.insert(all.end(), load.node_copies.begin(), load.node_copies.end());
  return all;
}

using Counts = std::vector<std::uint32_t>;

}  // namespace

TEST_CASE("a token counts once on every rank and node that has one of its experts") {
  const RoutingTable table = wheel(6);
  const ReplicaRanks replicas = three_ranks();
  StepLoad load(2, 6, 3, 2);
  // Layer 0: {0,1} rank 0; {1,2} ranks 0, 1; {5,0} ranks 2, 0.
  // Layer 1: {0,3} ranks 0, 1; {1,4} ranks 0, 2; {5,2} ranks 2, 1.
  const std::vector<std::uint64_t> rows = {0, 1, 5};
  load.add(table, rows, 0, replicas);
  const Counts first(load.layer(0).counts.begin(), load.layer(0).counts.end());
  const Counts second(load.layer(1).counts.begin(), load.layer(1).counts.end());
  CHECK(first == Counts{2, 2, 1, 0, 0, 1});
  CHECK(second == Counts{1, 1, 1, 1, 1, 1});
  CHECK(copies_of(load.layer(0)) == Counts{3, 1, 1, 3, 1});
  CHECK(copies_of(load.layer(1)) == Counts{2, 2, 2, 3, 2});
}

TEST_CASE("copies of an expert take turns by the token's number, another first at every layer") {
  // Expert 0 on ranks 0 and 2.
  const ReplicaRanks replicas(placed(2, 3, {{0, 1}, {2}, {0}}), {0, 0, 1});
  CHECK(replicas.copied());
  CHECK(replicas.rank(1, 0, 0) == 2);
  CHECK(replicas.rank(1, 0, 1) == 0);
  CHECK(replicas.place(1, 0, 0).slot == 3);
  CHECK(replicas.rank(0, 0, 0) == 0);
  CHECK(replicas.rank(0, 0, 1) == 2);
  CHECK(replicas.rank(0, 0, 2) == 0);
  CHECK(replicas.rank(0, 2, 7) == 1);
  const auto slots = replicas.slots(0, 0);
  CHECK(std::vector<int>(slots.begin(), slots.end()) == std::vector<int>{0, 3});
}

TEST_CASE("tokens are computed on the slots they are sent to, other ones first at every step") {
  const RoutingTable table = wheel(6);
  // Experts 0 to 2 twice: slots 0 to 2 and 6 to 8.
  const ReplicaRanks replicas(placed(2, 6, {{0, 1, 2}, {3, 4, 5}, {0, 1, 2}}), {0, 0, 1});
  StepLoad load(2, 6, 3, 2, 9);
  const std::vector<std::uint64_t> rows = {0, 1, 5};  // as above
  for (const std::uint32_t step : {4U, 7U}) {
    CAPTURE(step);
    load.clear(step);
    load.add(table, rows, 0, replicas);
    const Counts first(load.layer(0).slots.begin(), load.layer(0).slots.end());
    const Counts second(load.layer(1).slots.begin(), load.layer(1).slots.end());
    // Tokens 0 and 2 are on one side, token 1 on the other; layer 1 the other way round.
    const Counts on_first = {2, 1, 0, 0, 0, 1, 0, 1, 1}, on_last = {0, 1, 1, 0, 0, 1, 2, 1, 0};
    CHECK(first == (step == 4 ? on_first : on_last));
    const Counts then_last = {0, 1, 0, 1, 1, 1, 1, 0, 1}, then_first = {1, 0, 1, 1, 1, 1, 0, 1, 0};
    CHECK(second == (step == 4 ? then_last : then_first));
    CHECK(copies_of(load.layer(0)) == (step == 4 ? Counts{2, 1, 1, 2, 1} : Counts{1, 1, 2, 2, 2}));
    // Listed one by one they are the same.
    std::vector<std::uint32_t> copies(10, 0), slots(18, 0);
    const std::vector<int> chosen = {0, 3, 1, 4, 5, 2};
    replicas.count_placed(chosen, 2, 1, step, copies, slots);
    CHECK(Counts(slots.begin() + 9, slots.end()) == second);
  }
}

TEST_CASE("with every expert on every rank a draw of few tokens is as even as can be") {
  const RoutingTable table = wheel(600);
  const RoutingReplay replay(table, {});
  const std::vector<std::uint64_t> ends = {500};
  const ReplicaRanks replicas(
      placed(2, 6, {{0, 1, 2, 3, 4, 5}, {0, 1, 2, 3, 4, 5}, {0, 1, 2, 3, 4, 5}}), {0, 0, 1});
  RoutingBank bank({{.table = &table, .replay = &replay, .ends = ends}, true}, &replicas);
  StepLoad load(2, 6, 3, 2, 18);
  for (const int tokens : {1, 2, 3, 7, 23, 64, 72, 1000}) {
    std::vector<std::uint32_t> over_draws(3, 0);
    for (std::uint64_t draw = 0; draw < 3; ++draw) {
      bank.draw(tokens, draw, load);
      CAPTURE(tokens);
      CAPTURE(draw);
      const auto slots = load.layer(1).slots;
      const auto copies = load.layer(1).rank_copies;
      for (std::size_t rank = 0; rank < 3; ++rank) {
        std::uint32_t pairs = 0;
        for (std::size_t s = 6 * rank; s < 6 * rank + 6; ++s) pairs += slots[s];
        // A token's experts are all where the token is.
        CHECK(pairs == 2 * copies[rank]);
        const int apart = tokens <= RoutingBank::kFew ? 1 : 4;  // blocks begin anew
        CHECK(std::abs(static_cast<double>(copies[rank]) - tokens / 3.0) < apart);
        over_draws[rank] += copies[rank];
      }
    }
    // Three draws begin on three ranks.
    for (const std::uint32_t copies : over_draws) {
      if (tokens <= RoutingBank::kFew) CHECK(copies == static_cast<std::uint32_t>(tokens));
    }
  }
}

TEST_CASE("choices that were dropped count nowhere") {
  const ReplicaRanks replicas = three_ranks();
  std::vector<std::uint32_t> copies(10, 0);
  const std::vector<int> chosen = {0, -1, -1, -1, 3, 4};
  replicas.count_placed(chosen, 2, 1, 0, copies);
  CHECK(copies == Counts{0, 0, 0, 0, 0, 1, 1, 1, 2, 1});
}

TEST_CASE("draws of one kind of token are that many of it, at every size") {
  RoutingTable table(kShape, 40);
  for (std::uint64_t row = 0; row < 40; ++row) {
    for (int l = 0; l < 2; ++l) {
      table.set(row, l, 0, 1);
      table.set(row, l, 1, 4 - l);  // ranks 0 and 2, then 0 and 1
    }
  }
  RoutedSequence all;
  all.rows = 40;
  table.sequences = {all};
  const RoutingReplay replay(table, {});
  const ReplicaRanks replicas = three_ranks();
  const std::vector<std::uint64_t> ends = {256};  // one request of 256 tokens
  for (const auto kind : {TokenKind::kDecode, TokenKind::kPrompt}) {
    RoutingBank bank({{.table = &table, .replay = &replay, .kind = kind, .ends = ends}, true},
                     &replicas);
    StepLoad load(2, 6, 3, 2);
    for (const int tokens : {1, 2, 7, 64, 1000, 9001}) {
      const auto n = static_cast<std::uint32_t>(tokens);
      bank.draw(tokens, 3, load);
      CAPTURE(tokens);
      CHECK(copies_of(load.layer(0)) == Counts{n, 0, n, n, n});
      CHECK(copies_of(load.layer(1)) == Counts{n, n, 0, n, 0});
      CHECK(load.layer(0).counts[1] == n);
      CHECK(load.layer(0).counts[4] == n);
    }
  }
}

TEST_CASE("a draw places every choice, is repeatable, and has the table's mean") {
  const RoutingTable table = wheel(600);
  const RoutingReplay replay(table, {});
  const std::vector<std::uint64_t> ends = {500};
  RoutingBank bank({.draw = {.table = &table, .replay = &replay, .ends = ends}}, nullptr);
  RoutingBank again({.draw = {.table = &table, .replay = &replay, .ends = ends}}, nullptr);
  StepLoad load(2, 6, 0, 0), other(2, 6, 0, 0);
  std::vector<double> mean(6, 0.0);
  for (std::uint64_t draw = 0; draw < 16; ++draw) {
    bank.draw(777, draw, load);
    again.draw(777, draw, other);
    for (int l = 0; l < 2; ++l) {
      const auto counts = load.layer(l).counts;
      CHECK(std::accumulate(counts.begin(), counts.end(), 0U) == 2 * 777);
      CHECK(std::ranges::equal(counts, other.layer(l).counts));
    }
    for (std::size_t e = 0; e < 6; ++e) mean[e] += load.layer(0).counts[e] / 16.0;
  }
  // 2 x 777 / 6 = 259 each; the mean of 16 draws is within four standard deviations of 14.7 / 4.
  for (const double count : mean) CHECK(count == doctest::Approx(259).epsilon(0.06));
}
