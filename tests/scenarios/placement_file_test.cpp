// A placement of the scenario's own, as far as loading has to know it.
#include <doctest/doctest.h>
#include <string>

#include "models/memory.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

/// 48 layers of 128 experts, the first `copies` of them twice.
std::string places(int copies, int layers = 48) {
  std::string text = "[";
  for (int layer = 0; layer < layers; ++layer) {
    text += layer > 0 ? ",\n[" : "[";
    for (int slot = 0; slot < 128 + copies; ++slot)
      text += (slot > 0 ? "," : "") + std::to_string(slot % 128);
    text += "]";
  }
  return text + "]";
}

std::string scenario(const std::string& placement, const std::string& engine = "") {
  return "schema_version: 1\nname: t\nmodel: Qwen/Qwen3-30B-A3B\n"
         "system: {nodes: [{profile: h100_sxm, gpus: 8}]}\n"
         "engine: {enable_expert_parallel: true, max_model_len: 4096" +
         engine +
         "}\ndeployment: {instances: [{data_parallel_size: 8}]}\n"
         "workload: {arrival: {kind: all_at_once}, synthetic: {num_prompts: 4, input_tokens: 64, "
         "output_tokens: 4}}\n"
         "placement: " +
         placement + "\n";
}

MemoryPlan memory_of(const Scenario& scenario) {
  const Parallel& parallel = scenario.instances[0].parallel;
  MemoryInputs inputs;
  inputs.device_total = Bytes(80LL << 30);
  inputs.max_model_len = 4096;
  inputs.all2all_backend = "deepep_low_latency";
  return plan_memory(scenario.model, parallel, inputs);
}

TEST_CASE("slots beyond the experts are copies, whoever names them") {
  const TempFolder folder;
  const std::string map = "{file: " + folder.write("places.json", places(8)).string() + "}";
  const Scenario file = load_text(scenario(map));
  const Scenario eplb = load_text(scenario("{eplb: {num_redundant_experts: 8}}"));
  CHECK(file.instances[0].parallel.redundant_experts == 8);
  // Weights, and the buffers that have room for every slot.
  const GpuMemory own = memory_of(file).gpus.front(), balanced = memory_of(eplb).gpus.front();
  CHECK(own.weights.redundant_experts.value() == 48LL * 3 * 2048 * 768 * 2);  // one a GPU
  CHECK(own.weights.redundant_experts == balanced.weights.redundant_experts);
  CHECK(own.comm_buffer == balanced.comm_buffer);
  const std::string all = "{file: " + folder.write("all.json", places(0)).string() + "}";
  CHECK(load_text(scenario(all)).instances[0].parallel.redundant_experts == 0);
}

TEST_CASE("a map that does not fit the model is a mistake of loading") {
  const TempFolder folder;
  const auto found = [&](const std::string& text) {
    const std::string map = "{file: " + folder.write("places.json", text).string() + "}";
    return mistakes_of(scenario(map));
  };
  CHECK(compare(found(places(3)), {{1, "placement.file[0]", "do not divide over 8", "every rank"}})
            .empty());
  CHECK(compare(found(places(0, 47)), {{1, "placement.file", "47 layers", "one list"}}).empty());
  CHECK(compare(found("0"), {{1, "placement.file", "expected '['", "write"}}).empty());
}

}  // namespace
}  // namespace moesim
