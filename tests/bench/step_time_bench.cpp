// What one step costs to price, once its token counts have been seen: the goal is 200 ns for a
// dense or aggregated step.

#include <benchmark/benchmark.h>
#include <memory>
#include <utility>
#include <vector>

#include "hardware/collective.h"
#include "hardware/topology.h"
#include "scenarios/load.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"
#include "sim/report/deployment.h"
#include "sim/steptime/measured.h"
#include "sim/steptime/roofline.h"
#include "sim/steptime/step_time.h"

namespace moesim {
namespace {

struct Prices {
  Scenario scenario;
  Deployment deployment;
  Topology topology;
  Collectives collectives;
  StepTime steps;

  explicit Prices(const std::string& model)
      : scenario(load_scenario_text(
            "schema_version: 1\nname: bench\nmodel: " + model +
                "\nsystem: {nodes: [{profile: h100_sxm, count: 1, gpus: 2}]}\n"
                "engine: {backend: vllm, max_model_len: 8192}\n"
                "deployment: {instances: [{tensor_parallel_size: 2}]}\n"
                "workload: {arrival: {kind: all_at_once}, synthetic: {num_prompts: 1, "
                "input_tokens: 16, output_tokens: 16}}\n",
            "bench.yaml", ".", {})),
        deployment(lay_out(scenario)),
        topology(scenario.cluster),
        collectives(topology, 90),
        steps(make()) {}

  StepTime make() {
    const InstanceInfo& info = deployment.instances.front();
    const SystemSpec& system = scenario.cluster.nodes[0].system;
    KernelChoice choice;
    choice.system = system.name;
    choice.sm_version = system.gpu.sm_version;
    choice.framework = "vllm";
    choice.version = info.engine.profile.version;
    std::vector<StepTime::Stage> stages;
    stages.push_back(
        {make_shard(scenario.model, info.parallel, 0).shard,
         std::make_unique<Measured>(choice, system, scenario.model.precisions, 2,
                                    std::make_unique<Roofline>(system, collectives, info.gpus, -1),
                                    FamilyNoise{}),
         nullptr, system.gpu.sm_count});
    const Document none = Document::parse("{}", "bench");
    Diagnostics diagnostics;
    Reader reader(none, diagnostics);
    StepTime::Experts experts;
    experts.routing = Registry<ExpertRouting>::find("uniform")->make(reader);
    return {scenario.model, std::move(stages), info.memory.kv, info.engine, std::move(experts), 1};
  }
};

/// Decode steps of 64 sequences whose contexts grow by one token each.
void decode_steps(benchmark::State& state, const std::string& model) {
  Prices prices(model);
  StepCost cost;
  StepWork work;
  work.decodes = work.sampled_rows = 64;
  work.decode_context[0] = 64 * 1000;
  for (auto _ : state) {
    ++work.step;
    work.decode_context[0] += 64;
    if (work.decode_context[0] > 64 * 8000) work.decode_context[0] = 64 * 1000;
    prices.steps.price(work, cost);
    benchmark::DoNotOptimize(cost.stage_ns[0]);
  }
  state.SetItemsProcessed(state.iterations());
}

void BM_StepTime_Dense(benchmark::State& state) {
  decode_steps(state, "meta-llama/Llama-3.1-8B");
}
void BM_StepTime_Aggregated(benchmark::State& state) {
  decode_steps(state, "mistralai/Mixtral-8x7B-v0.1");
}
BENCHMARK(BM_StepTime_Dense);
BENCHMARK(BM_StepTime_Aggregated);

}  // namespace
}  // namespace moesim
