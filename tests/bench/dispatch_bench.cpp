// Cost of one MoE layer's dispatch and combine, as a step asks for it 58 times (DeepSeek-V3).
#include <benchmark/benchmark.h>
#include <numeric>

#include "hardware/dispatch.h"
#include "sim/base/random.h"

namespace {

using namespace moesim;

ClusterSpec cluster_of(int nodes) {
  ClusterSpec cluster;
  cluster.nodes.push_back({load_system("h100_sxm", ".", Where()), nodes, 8});
  cluster.network.preset = NetworkPreset::kRailOptimized;
  cluster.network.link = load_link("ndr_400g", Where());
  return cluster;
}

DispatchSetup setup_of(std::size_t ranks, const Topology& topology,
                       const Collectives& collectives) {
  DispatchSetup setup;
  setup.topology = &topology;
  setup.collectives = &collectives;
  setup.gpus.resize(ranks);
  std::iota(setup.gpus.begin(), setup.gpus.end(), 0);
  setup.hidden = 7168;
  setup.top_k = 8;
  setup.experts = 288;
  setup.dispatch_token_bytes = 7392;
  setup.combine_token_bytes = 14336;
  setup.kernels.system = "h100_sxm";
  setup.kernels.sm_version = 90;
  setup.kernels.framework = "vllm";
  return setup;
}

void dispatch_setup(benchmark::State& state) {
  const auto ranks = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) {
    const Topology topology(cluster_of(static_cast<int>(ranks) / 8));
    const Collectives collectives(topology, 90);
    const auto setup = setup_of(ranks, topology, collectives);
    benchmark::DoNotOptimize(make_dispatch("deepep_low_latency", setup));
  }
}
BENCHMARK(dispatch_setup)->Arg(32)->Arg(72)->Arg(320)->Unit(benchmark::kMillisecond);

void dispatch_cost(benchmark::State& state, const char* name) {
  const auto ranks = static_cast<std::size_t>(state.range(0));
  const Topology topology(cluster_of(static_cast<int>(ranks) / 8));
  const Collectives collectives(topology, 90);
  const auto backend = make_dispatch(name, setup_of(ranks, topology, collectives));
  Rng random(1, "dispatch bench");
  std::vector<double> held(ranks), slots(ranks), copies(ranks), nodes(ranks / 8);
  for (double& x : held) x = 100 + 50 * random.uniform();
  for (double& x : copies) x = 700 + 200 * random.uniform();
  for (double& x : slots) x = 800 + 400 * random.uniform();
  for (double& x : nodes) x = 2000 + 500 * random.uniform();
  for (auto _ : state) {
    benchmark::DoNotOptimize(held.data());
    benchmark::ClobberMemory();
    benchmark::DoNotOptimize(backend->cost({held, copies, slots, nodes}));
  }
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK_CAPTURE(dispatch_cost, deepep_low_latency, "deepep_low_latency")->Arg(32)->Arg(72);
BENCHMARK_CAPTURE(dispatch_cost, deepep_high_throughput, "deepep_high_throughput")
    ->Arg(32)
    ->Arg(72);
BENCHMARK_CAPTURE(dispatch_cost, nccl_all_to_all, "nccl_all_to_all")->Arg(32)->Arg(72);
BENCHMARK_CAPTURE(dispatch_cost, allgather_reducescatter, "allgather_reducescatter")
    ->Arg(32)
    ->Arg(72);
BENCHMARK_CAPTURE(dispatch_cost, naive, "naive")->Arg(32)->Arg(72);

}  // namespace
