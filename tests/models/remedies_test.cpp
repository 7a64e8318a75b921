#include <algorithm>
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "tests/models/models_support.h"

using namespace moesim;
using test::gib;
using test::h100;
using test::shipped;

namespace {

std::vector<std::string> changes(const std::vector<Remedy>& remedies) {
  std::vector<std::string> list;
  for (const Remedy& remedy : remedies) list.push_back(remedy.change);
  return list;
}

}  // namespace

TEST_CASE("what helps Mixtral on one 80 GB GPU, cheapest first") {
  const std::vector<Remedy> remedies = find_remedies(shipped("Mixtral-8x7B-v0.1"), {}, h100());
  CHECK(changes(remedies) == std::vector<std::string>{"precision.weights: fp8",
                                                      "tensor_parallel_size: 2",
                                                      "pipeline_parallel_size: 2"});
  for (const Remedy& remedy : remedies) CHECK(remedy.why.find("tokens of KV") != std::string::npos);
}

TEST_CASE("a context too long is shortened, or its KV stored in fp8") {
  MemoryInputs inputs = h100();
  inputs.device_total = gib(32);
  inputs.max_model_len = 131072;  // 16 GiB of KV; 12.4 are left
  const std::vector<std::string> list = changes(find_remedies(shipped("Llama-3.1-8B"), {}, inputs));
  REQUIRE(list.size() >= 3);
  CHECK(list[0].rfind("engine.max_model_len: ", 0) == 0);
  CHECK(std::stoi(list[0].substr(22)) % 1024 == 0);
  CHECK(list[1] == "precision.kv_cache: fp8");
}

TEST_CASE("the longest context that fits is found: a little more does not") {
  const ModelSpec model = shipped("Llama-3.1-8B");
  MemoryInputs inputs = h100();
  inputs.device_total = gib(32);
  inputs.max_model_len = 131072;
  const std::vector<std::string> list = changes(find_remedies(model, {}, inputs));
  REQUIRE_FALSE(list.empty());
  const int longest = std::stoi(list[0].substr(22));
  inputs.max_model_len = longest;
  CHECK(plan_memory(model, {}, inputs).feasible);
  inputs.max_model_len = longest + 1024;
  CHECK_FALSE(plan_memory(model, {}, inputs).feasible);
}

TEST_CASE("too high a utilisation is lowered, too low a one raised") {
  MemoryInputs inputs = h100();
  inputs.rules.utilization = 0.995;
  const std::vector<std::string> lower =
      changes(find_remedies(shipped("Llama-3.1-8B"), {}, inputs));
  REQUIRE_FALSE(lower.empty());
  CHECK(lower[0] == "engine.gpu_memory_utilization: 0.92");
  inputs.rules.utilization = 0.75;
  const std::vector<std::string> higher =
      changes(find_remedies(shipped("Qwen3-30B-A3B"), {}, inputs));
  CHECK(higher.empty());  // it fits: nothing to do
  inputs.rules.utilization = 0.7;
  const std::vector<std::string> needed =
      changes(find_remedies(shipped("Qwen3-30B-A3B"), {}, inputs));
  REQUIRE_FALSE(needed.empty());
  CHECK(needed[0] == "engine.gpu_memory_utilization: 0.90");
}

TEST_CASE("the gathered MoE workspace is cured by fewer batched tokens") {
  MemoryInputs inputs = h100();
  inputs.device_total = gib(139.8);
  inputs.max_num_batched_tokens = 32768;
  inputs.rules.fused_moe_chunk = 0;
  const Parallel parallel{.tp = 1, .pp = 1, .dp = 8, .expert_parallel = true};
  const ModelSpec model = shipped("DeepSeek-V3");
  const std::vector<std::string> list = changes(find_remedies(model, parallel, inputs));
  REQUIRE_FALSE(list.empty());
  // 16384 tokens of 8 ranks still take two workspaces of 15 GB beside 94 GiB of weights.
  CHECK(list[0] == "engine.max_num_batched_tokens: 8192");
}

TEST_CASE("a number of blocks that cannot be is left out, or is the most that fit") {
  const ModelSpec model = shipped("Llama-3.1-8B");
  MemoryInputs inputs = h100();
  inputs.max_model_len = 4096;
  inputs.num_gpu_blocks_override = 10;
  CHECK(find_remedies(model, {}, inputs).front().change == "engine.num_gpu_blocks_override: null");
  // What the engine would take by itself does not fit either: the most that does.
  inputs.rules.utilization = 1;
  inputs.num_gpu_blocks_override = 1'000'000;
  const Remedy remedy = find_remedies(model, {}, inputs).front();
  const std::string key = "engine.num_gpu_blocks_override: ";
  REQUIRE(remedy.change.starts_with(key));
  inputs.num_gpu_blocks_override = std::stoi(remedy.change.substr(key.size()));
  CHECK(plan_memory(model, {}, inputs).feasible);
  ++*inputs.num_gpu_blocks_override;
  CHECK_FALSE(plan_memory(model, {}, inputs).feasible);
}

TEST_CASE("adapters that are too many or too large are fewer, or of a lower rank") {
  const ModelSpec model = shipped("Mixtral-8x7B-v0.1");
  Parallel parallel;
  parallel.tp = 2;
  MemoryInputs inputs = h100();
  inputs.lora = {.adapters = 400, .rank = 256, .targets = LoraTargets::kExperts};
  const std::vector<std::string> list = changes(find_remedies(model, parallel, inputs));
  REQUIRE_FALSE(list.empty());
  REQUIRE(list[0].starts_with("lora.adapters: "));
  inputs.lora.adapters = std::stoi(list[0].substr(15));
  CHECK(plan_memory(model, parallel, inputs).feasible);
  ++inputs.lora.adapters;
  CHECK_FALSE(plan_memory(model, parallel, inputs).feasible);
  inputs.lora = {.adapters = 12, .rank = 256, .targets = LoraTargets::kExperts};
  CHECK(std::ranges::any_of(changes(find_remedies(model, parallel, inputs)),
                            [](const std::string& change) { return change == "lora.rank: 128"; }));
}

TEST_CASE("a hopeless plan has no remedy, a feasible one needs none") {
  MemoryInputs inputs = h100();
  CHECK(find_remedies(shipped("Llama-3.1-8B"), {}, inputs).empty());
  inputs.device_total = gib(1);
  CHECK(find_remedies(shipped("Kimi-K2-Instruct"), {}, inputs).empty());
}
