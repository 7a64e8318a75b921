#include <algorithm>
#include <benchmark/benchmark.h>
#include <span>
#include <vector>

#include "scenarios/routing_counts.h"
#include "scenarios/routing_replay.h"
#include "sim/base/random.h"

namespace moesim {
namespace {

/// DeepSeek-V3's shape: 58 layers, top-8 of 256.
RoutingTable pool(std::uint64_t rows) {
  RoutingTable table({.layers = 58, .experts = 256, .top_k = 8}, rows);
  Rng rng(1, "bench");
  for (std::uint64_t row = 0; row < rows; ++row) {
    for (int layer = 0; layer < 58; ++layer) {
      const std::uint32_t begin = rng.below(256);
      for (int rank = 0; rank < 8; ++rank)
        table.set(row, layer, rank,
                  static_cast<int>((begin + 37 * static_cast<std::uint32_t>(rank)) % 256));
    }
  }
  constexpr std::uint32_t kSequence = 512;
  for (std::uint64_t first = 0; first < rows; first += kSequence) {
    RoutedSequence sequence;
    sequence.first_row = first;
    sequence.rows = kSequence;
    table.sequences.push_back(sequence);
  }
  return table;
}

// Load of a decode step: 128 requests, each at a row of its own, are counted by expert. Items are
// assignments (token, layer, expert).
void BM_RoutingReplay_CountStep(benchmark::State& state) {
  const RoutingTable table = pool(static_cast<std::uint64_t>(state.range(0)));
  constexpr std::uint32_t kBatch = 128;
  const RoutingReplay replay(table, {});
  std::vector<RoutingReplay::Walk> walks;
  for (std::uint64_t request = 0; request < kBatch; ++request)
    walks.push_back(replay.walk(request));
  std::vector<std::uint64_t> rows(kBatch);
  std::vector<std::uint16_t> counts(58 * 256);
  std::uint32_t step = 0;
  for (auto _ : state) {
    // A request ends every step, and the one that follows begins at its first row.
    walks[step % kBatch] = replay.walk(step + kBatch);
    for (std::uint32_t i = 0; i < kBatch; ++i)
      rows[i] = replay.decode_row(walks[i], (step + 4 * i) % 512);
    std::fill(counts.begin(), counts.end(), std::uint16_t{0});
    count_rows(table, rows, counts);
    benchmark::DoNotOptimize(counts.data());
    ++step;
  }
  state.SetItemsProcessed(state.iterations() * kBatch * 58 * 8);
}
BENCHMARK(BM_RoutingReplay_CountStep)->ArgName("rows")->Arg(4096)->Arg(65536)->Arg(524288);

// The same from 128 rows anywhere in the table: the memory's pace once it is larger than a cache.
void BM_RoutingReplay_CountRandomRows(benchmark::State& state) {
  const RoutingTable table = pool(static_cast<std::uint64_t>(state.range(0)));
  constexpr std::size_t kBatch = 128;
  Rng rng(2, "rows");
  std::vector<std::uint64_t> rows(kBatch * 1024);
  for (std::uint64_t& row : rows) row = rng.below(static_cast<std::uint32_t>(table.rows()));
  std::vector<std::uint16_t> counts(58 * 256);
  std::size_t step = 0;
  for (auto _ : state) {
    std::fill(counts.begin(), counts.end(), std::uint16_t{0});
    count_rows(table, std::span(rows).subspan(step++ % 1024 * kBatch, kBatch), counts);
    benchmark::DoNotOptimize(counts.data());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatch) * 58 * 8);
}
BENCHMARK(BM_RoutingReplay_CountRandomRows)->ArgName("rows")->Arg(4096)->Arg(65536)->Arg(524288);

// A request's rows past the end of its sequence.
void BM_RoutingReplay_WrappedRow(benchmark::State& state) {
  const RoutingTable table = pool(4096);
  const RoutingReplay replay(table, {});
  const RoutingReplay::Walk walk = replay.walk(1);
  std::uint32_t index = 512;
  for (auto _ : state) benchmark::DoNotOptimize(replay.decode_row(walk, index++));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_RoutingReplay_WrappedRow);

}  // namespace
}  // namespace moesim
