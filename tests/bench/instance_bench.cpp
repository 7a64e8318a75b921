#include <benchmark/benchmark.h>
#include <string>

#include "scenarios/load.h"
#include "sim/build.h"
#include "sim/report/metrics.h"

namespace moesim {
namespace {

// A closed loop holds `running` requests in the batch: the time per step must hardly depend on how
// many.
void BM_Run_Steps(benchmark::State& state) {
  const std::string running = std::to_string(state.range(0));
  const Scenario scenario = load_scenario(
      std::string(MOESIM_ROOT) + "/scenarios/01_quickstart.yaml",
      {{"workload", "{arrival: {kind: closed_loop, max_concurrency: " + running +
                        "}, synthetic: {num_prompts: " + std::to_string(20 * state.range(0)) +
                        ", input_tokens: 64, output_tokens: 512}}"},
       {"engine.max_num_seqs", "1024"},
       {"engine.max_num_batched_tokens", "8192"},
       {"slo", "null"}});
  std::uint64_t steps = 0;
  for (auto _ : state) {
    World world = build(scenario);
    Metrics metrics(world.instance_count(), scenario, world.workload());
    world.run(&metrics);
    steps += world.view().totals.front().steps;
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(steps));  // shown as steps per second
}
BENCHMARK(BM_Run_Steps)
    ->ArgName("running")
    ->Arg(16)
    ->Arg(64)
    ->Arg(256)
    ->Arg(1024)
    ->Unit(benchmark::kMillisecond);

// Loading, laying out and building: everything before the first event.
void BM_Start_Quickstart(benchmark::State& state) {
  for (auto _ : state) {
    const Scenario scenario =
        load_scenario(std::string(MOESIM_ROOT) + "/scenarios/01_quickstart.yaml");
    World world = build(scenario);
    benchmark::DoNotOptimize(world.instance_count());
  }
}
BENCHMARK(BM_Start_Quickstart)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace moesim
