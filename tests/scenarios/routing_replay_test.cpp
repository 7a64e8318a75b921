#include "scenarios/routing_replay.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <map>
#include <set>
#include <vector>

#include "scenarios/routing_trace.h"
#include "tests/scenarios/replay_support.h"
#include "tests/scenarios/routing_support.h"

namespace moesim {
namespace {

using Mode = RoutingReplay::Mode;
using Options = RoutingReplay::Options;

TEST_CASE("a request takes its sequence's rows in order, then rows behind the template") {
  const RoutingTable table = table_of({100, 50}, 10);
  const RoutingReplay replay(table, {});
  std::set<std::uint32_t> chosen;
  for (std::uint64_t request = 0; request < 40; ++request) {
    const RoutingReplay::Walk walk = replay.walk(request);
    chosen.insert(walk.sequence);
    const RoutedSequence& sequence = table.sequences[walk.sequence];
    const std::uint32_t decode = sequence.rows - 10;
    for (std::uint32_t i = 0; i < 10; ++i)
      REQUIRE(replay.prompt_row(walk, i) == sequence.first_row + i);
    for (std::uint32_t j = 0; j < decode; ++j)
      REQUIRE(replay.decode_row(walk, j) == sequence.first_row + 10 + j);
    for (std::uint32_t j = decode; j < 500; ++j) {
      const std::uint64_t row = replay.decode_row(walk, j);
      REQUIRE(row >= sequence.first_row + 10 + 32);
      REQUIRE(row < sequence.first_row + sequence.rows);
    }
    // Ten prompt rows are too few for a template of 32: all of them serve again.
    for (std::uint32_t i = 10; i < 100; ++i)
      REQUIRE(replay.prompt_row(walk, i) - sequence.first_row < 10);
  }
  CHECK(chosen.size() == 2);
}

TEST_CASE("a wrap begins anywhere and goes round once, each wrap elsewhere") {
  const RoutingTable table = table_of({132});
  const RoutingReplay replay(table, {});
  const RoutingReplay::Walk walk = replay.walk(7);
  std::set<std::uint64_t> starts;
  for (std::uint32_t wrap = 0; wrap < 20; ++wrap) {
    std::set<std::uint64_t> seen;
    for (std::uint32_t i = 0; i < 100; ++i)
      seen.insert(replay.decode_row(walk, 132 + wrap * 100 + i));
    CHECK(seen.size() == 100);
    CHECK(*seen.begin() == 32);
    starts.insert(replay.decode_row(walk, 132 + wrap * 100));
  }
  CHECK(starts.size() > 10);
}

TEST_CASE("without prompt rows a prompt takes decode rows behind the template") {
  const RoutingTable table = table_of({100, 40});
  const RoutingReplay replay(table, {});
  CHECK(replay.prefill_from_decode());
  CHECK_FALSE(RoutingReplay(table_of({50}, 5), {}).prefill_from_decode());
  std::set<std::uint64_t> first_rows;
  for (std::uint64_t request = 0; request < 20; ++request) {
    const RoutingReplay::Walk walk = replay.walk(request);
    const RoutedSequence& sequence = table.sequences[walk.sequence];
    for (std::uint32_t i = 0; i < 200; ++i) {
      const std::uint64_t row = replay.prompt_row(walk, i);
      REQUIRE(row >= sequence.first_row + 32);
      REQUIRE(row < sequence.first_row + sequence.rows);
    }
    first_rows.insert(replay.prompt_row(walk, 0));
  }
  CHECK(first_rows.size() > 5);
}

TEST_CASE("routing depends on seed, request and position, and on nothing else") {
  const RoutingTable table = table_of({70, 80, 90, 100});
  const Options options{.seed = 3};
  const RoutingReplay one(table, options), other(table, options);
  // Two orders of asking, one of them with other requests in between.
  std::map<std::pair<std::uint64_t, std::uint32_t>, std::uint64_t> rows;
  for (std::uint64_t request = 0; request < 30; ++request) {
    const RoutingReplay::Walk walk = one.walk(request);
    for (std::uint32_t j = 0; j < 300; j += 7) rows[{request, j}] = one.decode_row(walk, j);
  }
  for (std::uint32_t j = 294; j < 300; j -= 7) {
    for (std::uint64_t request = 29; request < 30; --request)
      REQUIRE(other.decode_row(other.walk(request), j) == rows[{request, j}]);
  }
  int different = 0;
  const RoutingReplay reseeded(table, {.seed = 4});
  for (std::uint64_t request = 0; request < 100; ++request)
    different += reseeded.walk(request).sequence != one.walk(request).sequence ? 1 : 0;
  CHECK(different > 50);
}

TEST_CASE("without replacement every sequence serves once before any serves twice") {
  const RoutingTable table = table_of({40, 40, 40, 40, 40, 40, 40});
  const RoutingReplay replay(table, {.replace = false, .seed = 9});
  std::set<std::vector<std::uint32_t>> orders;
  for (std::uint64_t epoch = 0; epoch < 6; ++epoch) {
    std::vector<std::uint32_t> order;
    for (std::uint64_t i = 0; i < 7; ++i) {
      order.push_back(replay.walk(epoch * 7 + i).sequence);
      CHECK(replay.epoch(epoch * 7 + i) == epoch);
    }
    orders.insert(order);
    std::sort(order.begin(), order.end());
    CHECK(order == std::vector<std::uint32_t>{0, 1, 2, 3, 4, 5, 6});
  }
  CHECK(orders.size() > 1);
  // One sequence is a permutation, too.
  const RoutingTable single = table_of({40});
  const RoutingReplay alone(single, {.replace = false});
  CHECK(alone.walk(5).sequence == 0);
  CHECK(alone.epoch(5) == 5);
}

TEST_CASE("a block of shared prefix routes the same in every request") {
  const RoutingTable table = table_of({200, 300}, 100);
  const RoutingReplay replay(table, {});
  std::set<std::uint64_t> starts;
  for (std::uint64_t block = 0; block < 50; ++block) {
    const std::uint64_t first = replay.block_row(block, 0);
    starts.insert(first);
    const RoutedSequence& sequence = table.sequences[first < 200 ? 0 : 1];
    for (std::uint32_t offset = 0; offset < 512; ++offset) {
      const std::uint64_t row = replay.block_row(block, offset);
      REQUIRE(row >= sequence.first_row + 32);
      REQUIRE(row < sequence.first_row + 100);
    }
  }
  CHECK(starts.size() > 25);
}

TEST_CASE("row mode draws all decode rows alike, prompts only prompt rows") {
  const RoutingTable table = table_of({30, 10}, 5);
  const RoutingReplay replay(table, {.mode = Mode::kRow});
  const RoutingReplay shuffled(table, {.mode = Mode::kRow, .replace = false});
  std::map<std::uint64_t, int> uses;
  const RoutingReplay::Walk walk = replay.walk(3);
  for (std::uint32_t j = 0; j < 30000; ++j) ++uses[replay.decode_row(walk, j)];
  CHECK(uses.size() == 30);  // 25 + 5
  for (const auto& [row, count] : uses) {
    CHECK((row < 30 ? row >= 5 : row >= 35));
    CHECK(std::abs(count - 1000) < 160);  // five standard deviations
  }
  std::set<std::uint64_t> once, prompts;
  for (std::uint32_t j = 0; j < 30; ++j) once.insert(shuffled.decode_row(walk, j));
  CHECK(once.size() == 30);
  for (std::uint32_t i = 0; i < 300; ++i) prompts.insert(replay.prompt_row(walk, i));
  CHECK(prompts == std::set<std::uint64_t>{0, 1, 2, 3, 4, 30, 31, 32, 33, 34});
}

// --- the real trace ------------------------------------------------------------------------------

/// Means over layers of one lockstep step: tokens of an expert and of a rank, experts in use.
struct Lockstep {
  double expert_max = 0, distinct = 0, ranks4 = 0, ranks8 = 0;
};
Lockstep lockstep(const RoutingTable& table, const std::vector<RoutingReplay::Walk>& walks,
                  const RoutingReplay& replay, std::uint32_t step) {
  const RoutingShape& shape = table.shape();
  Lockstep sum;
  for (int layer = 0; layer < shape.layers; ++layer) {
    std::vector<double> counts(static_cast<std::size_t>(shape.experts));
    for (const RoutingReplay::Walk& walk : walks) {
      for (int rank = 0; rank < shape.top_k; ++rank)
        ++counts[static_cast<std::size_t>(
            table.expert(replay.decode_row(walk, step), layer, rank))];
    }
    const double all = static_cast<double>(walks.size()) * shape.top_k;
    const auto ranks = [&](std::size_t n) {
      std::vector<double> load(n);
      for (std::size_t e = 0; e < counts.size(); ++e) load[e / (counts.size() / n)] += counts[e];
      return *std::max_element(load.begin(), load.end()) / all * static_cast<double>(n);
    };
    sum.expert_max += *std::max_element(counts.begin(), counts.end()) / all * shape.experts;
    sum.distinct += static_cast<double>(
        std::count_if(counts.begin(), counts.end(), [](double count) { return count > 0; }));
    sum.ranks4 += ranks(4);
    sum.ranks8 += ranks(8);
  }
  const double layers = shape.layers;
  return {sum.expert_max / layers, sum.distinct / layers, sum.ranks4 / layers, sum.ranks8 / layers};
}

// Acceptance check 3 of routing-traces.md 6.
TEST_CASE("64 requests in lockstep load experts as the recording does") {
  const auto path = routing_data("gpt_oss_20b_tokens.mrt");
  if (is_missing(path)) return;
  // gpt_oss_20b_stats.json, lockstep_decode.64: the first 64 sequences of at least 200 rows that
  // are no repetition loops. Without replacement 64 requests take each of them once.
  RoutingTable table = read_routed_tokens(path);
  std::erase_if(table.sequences, [](const RoutedSequence& sequence) {
    return (sequence.flags & 2) != 0 || sequence.rows < 200;
  });
  table.sequences.resize(64);
  const RoutingReplay replay(table, {.replace = false});
  std::vector<RoutingReplay::Walk> walks;
  for (std::uint64_t request = 0; request < 64; ++request) walks.push_back(replay.walk(request));
  Lockstep late;
  for (std::uint32_t step = 8; step < 200; ++step) {
    const Lockstep now = lockstep(table, walks, replay, step);
    late.expert_max += now.expert_max / 192;
    late.distinct += now.distinct / 192;
    late.ranks4 += now.ranks4 / 192;
    late.ranks8 += now.ranks8 / 192;
  }
  const auto near = [](double value, double expected) { return std::abs(value - expected) < 6e-4; };
  CHECK_MESSAGE(near(late.expert_max, 2.929), late.expert_max);
  CHECK_MESSAGE(near(late.distinct, 28.043), late.distinct);
  CHECK_MESSAGE(near(late.ranks4, 1.208), late.ranks4);
  CHECK_MESSAGE(near(late.ranks8, 1.520), late.ranks8);
  const Lockstep first = lockstep(table, walks, replay, 0);
  CHECK_MESSAGE(near(first.expert_max, 8.0), first.expert_max);
  CHECK_MESSAGE(near(first.distinct, 7.167), first.distinct);
}

/// Share of experts that consecutive tokens of requests have in common, mean over layers.
double adjacent_overlap(const RoutingTable& table, const RoutingReplay& replay) {
  const RoutingShape& shape = table.shape();
  std::uint64_t shared = 0, all = 0;
  for (std::uint64_t request = 0; request < 100; ++request) {
    const RoutingReplay::Walk walk = replay.walk(request);
    for (std::uint32_t j = 0; j < 200; ++j) {
      const std::uint64_t a = replay.decode_row(walk, j), b = replay.decode_row(walk, j + 1);
      for (int layer = 0; layer < shape.layers; ++layer) {
        for (int i = 0; i < shape.top_k; ++i, ++all) {
          for (int k = 0; k < shape.top_k; ++k)
            shared += table.expert(a, layer, i) == table.expert(b, layer, k) ? 1U : 0U;
        }
      }
    }
  }
  return static_cast<double>(shared) / static_cast<double>(all);
}

// Acceptance check 5 of routing-traces.md 6, with the next case.
TEST_CASE("row mode loses the likeness of neighbours, sequence mode keeps it") {
  const auto path = routing_data("gpt_oss_20b_tokens.mrt");
  if (is_missing(path)) return;
  const RoutingTable table = read_routed_tokens(path);
  CHECK(adjacent_overlap(table, RoutingReplay(table, {.mode = Mode::kRow})) ==
        doctest::Approx(0.200).epsilon(0.025));  // within 0.005
  CHECK(adjacent_overlap(table, RoutingReplay(table, {})) == doctest::Approx(0.443).epsilon(0.05));
}

TEST_CASE("independent mode loses what one layer's choice says about the next") {
  const auto path = routing_data("gpt_oss_20b_tokens.mrt");
  if (is_missing(path)) return;
  const RoutingTable table = read_routed_tokens(path);
  const RoutingReplay replay(table, {.mode = Mode::kIndependent});
  // First choices at layers 10 and 11: mutual information over the entropy of layer 11's.
  std::vector<int> here, next;
  for (std::uint32_t j = 0; j < 60000; ++j) {
    here.push_back(table.expert(replay.layer_row(j % 97, false, j / 97, 10), 10, 0));
    next.push_back(table.expert(replay.layer_row(j % 97, false, j / 97, 11), 11, 0));
  }
  CHECK(information_share(here, next, 32) < 0.02);
}

}  // namespace
}  // namespace moesim
