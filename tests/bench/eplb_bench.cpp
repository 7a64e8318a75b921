// One rebalance of DeepSeek-V3: 58 layers of 256 experts on 288 slots, and what it moves.
#include <benchmark/benchmark.h>
#include <cmath>

#include "models/eplb.h"
#include "sim/base/random.h"

namespace {

using namespace moesim;

std::vector<double> loads(const char* stream) {
  Rng random(1, stream);
  std::vector<double> result(58 * 256);
  for (double& load : result) load = std::exp(1.05 * random.normal());
  return result;
}

PlacementInput input_of(const std::vector<double>& loads) {
  return {.layers = 58,
          .experts = 256,
          .ranks = 36,
          .nodes = 9,
          .groups = 8,
          .redundant = 32,
          .loads = loads};
}

void eplb_rebalance(benchmark::State& state) {
  const std::vector<double> now = loads("now");
  for (auto _ : state) benchmark::DoNotOptimize(balanced_placement(input_of(now)));
  state.SetItemsProcessed(58 * state.iterations());
}
BENCHMARK(eplb_rebalance)->Unit(benchmark::kMillisecond);

void eplb_moves(benchmark::State& state) {
  const std::vector<double> now = loads("now"), then = loads("then");
  const ExpertPlacement before = balanced_placement(input_of(now));
  const ExpertPlacement after = balanced_placement(input_of(then));
  for (auto _ : state) benchmark::DoNotOptimize(moved_slots(before, keep_slots(before, after)));
  state.SetItemsProcessed(58 * state.iterations());
}
BENCHMARK(eplb_moves)->Unit(benchmark::kMillisecond);

}  // namespace
