#include <benchmark/benchmark.h>
#include <string>
#include <vector>

#include "scenarios/load.h"
#include "sim/build.h"
#include "sim/report/metrics.h"

namespace moesim {
namespace {

/// Runs tests/bench/scenarios/aggregated.yaml (one instance, 38.7 requests/s) with these settings;
/// shown as steps per second of all instances.
void run_aggregated(benchmark::State& state, const std::vector<Override>& settings) {
  const Scenario scenario =
      load_scenario(std::string(MOESIM_ROOT) + "/tests/bench/scenarios/aggregated.yaml", settings);
  std::uint64_t steps = 0;
  for (auto _ : state) {
    World world = build(scenario);
    Metrics metrics(world.instance_count(), scenario, world.workload());
    world.run(&metrics);
    for (const InstanceTotals& totals : world.view().totals) steps += totals.steps;
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(steps));
}

// A closed loop holds `running` requests in the batch, and two end in every step whatever their
// number: the time per step must hardly depend on it.
void BM_Run_Steps(benchmark::State& state) {
  const std::string running = std::to_string(state.range(0));
  run_aggregated(state, {{"workload", "{arrival: {kind: closed_loop, max_concurrency: " + running +
                                          "}, synthetic: {num_prompts: 20000, input_tokens: 64, "
                                          "output_tokens: " +
                                          std::to_string(state.range(0) / 2) + "}}"},
                         {"engine.max_num_seqs", "1024"},
                         {"engine.max_num_batched_tokens", "8192"}});
}
BENCHMARK(BM_Run_Steps)
    ->ArgName("running")
    ->Arg(16)
    ->Arg(64)
    ->Arg(256)
    ->Arg(1024)
    ->Unit(benchmark::kMillisecond);

std::vector<Override> instances(std::int64_t count) {
  const std::string number = std::to_string(count);
  return {{"system.nodes.0.count", number},
          {"system.network", count > 1 ? "{preset: leaf_spine, link: ndr_400g}" : "null"},
          {"deployment.instances.0.count", number},
          {"workload.arrival.request_rate", std::to_string(38.7 * static_cast<double>(count))},
          {"workload.synthetic.num_prompts", std::to_string(5000 * count)}};
}

// The same load for each of more and more instances: a step must cost the same wherever it runs.
void BM_Run_Instances(benchmark::State& state) {
  run_aggregated(state, instances(state.range(0)));
}
BENCHMARK(BM_Run_Instances)
    ->ArgName("instances")
    ->Arg(1)
    ->Arg(4)
    ->Arg(16)
    ->Unit(benchmark::kMillisecond);

// The same behind a router that looks at loads, so that one clock runs all instances.
void BM_Run_CoupledInstances(benchmark::State& state) {
  std::vector<Override> settings = instances(state.range(0));
  settings.push_back({"deployment.request_router", "least_loaded"});
  run_aggregated(state, settings);
}
BENCHMARK(BM_Run_CoupledInstances)
    ->ArgName("instances")
    ->Arg(4)
    ->Arg(16)
    ->Unit(benchmark::kMillisecond);

// Longer and longer: the rate must not fall.
void BM_Run_Requests(benchmark::State& state) {
  run_aggregated(state, {{"workload.synthetic.num_prompts", std::to_string(state.range(0))}});
}
BENCHMARK(BM_Run_Requests)
    ->ArgName("requests")
    ->Arg(10'000)
    ->Arg(100'000)
    ->Arg(1'000'000)
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
