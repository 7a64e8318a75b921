#include "models/memory.h"

#include <doctest/doctest.h>
#include <string>

#include "sim/base/random.h"
#include "tests/models/models_support.h"

using namespace moesim;
using test::gib;
using test::h100;
using test::shipped;

namespace {

// vLLM's large class on the newest version, 8192 batched tokens.
MemoryInputs newest(double device_gib) {
  MemoryInputs inputs;
  inputs.device_total = gib(device_gib);
  inputs.max_num_seqs = 1024;
  inputs.rules.utilization = 0.92;
  inputs.rules.graphs_in_budget = true;
  inputs.rules.worst_case_moe_workspace = true;
  return inputs;
}

Bytes parts(const GpuMemory& gpu) {
  return gpu.weights.total() + gpu.kv_cache + gpu.activation_peak + gpu.cuda_graph +
         gpu.comm_buffer + gpu.framework + gpu.free;
}

double gib_of(Bytes bytes) {
  return static_cast<double>(bytes.value()) / 1073741824.0;
}

}  // namespace

TEST_CASE("Mixtral in bf16 does not fit one 80 GB GPU, and says by how much; two hold it") {
  const ModelSpec model = shipped("Mixtral-8x7B-v0.1");
  const MemoryPlan one = plan_memory(model, {}, h100());
  CHECK_FALSE(one.feasible);
  CHECK(one.num_gpu_blocks == 0);
  // 87.0 GiB of weights alone are 15.7 above the 71.3 usable.
  CHECK(gib_of(one.shortfall) > 15.7);
  CHECK(gib_of(one.shortfall) < 18);
  CHECK(one.reason.find("87.0 GiB") != std::string::npos);
  const MemoryPlan two = plan_memory(model, {.tp = 2}, h100());
  CHECK(two.feasible);
  CHECK(two.reason.empty());
  CHECK(two.num_kv_tokens == two.num_gpu_blocks * 16);
  CHECK(two.num_kv_tokens == doctest::Approx(440176).epsilon(0.01));
}

TEST_CASE("Mixtral-8x22B: four 80 GB GPUs hold the weights in bf16 and leave little KV") {
  const ModelSpec model = shipped("Mixtral-8x22B-v0.1");
  const MemoryPlan plan = plan_memory(model, {.tp = 4}, h100());
  CHECK(plan.feasible);
  CHECK(gib_of(plan.gpus[0].weights.total()) == doctest::Approx(65.5).epsilon(0.005));
  CHECK(gib_of(plan.gpus[0].kv_cache) < 6);
  CHECK_FALSE(plan_memory(model, {.tp = 2}, h100()).feasible);
}

TEST_CASE("quantising Mixtral to four bits brings it onto one card") {
  ModelSpec model = shipped("Mixtral-8x7B-v0.1");
  struct Case {
    std::string format;
    double gigabytes;
  };
  for (const Case& c : {Case{"q4_k_m", 26.4}, Case{"awq_int4", 24.65}, Case{"gptq_int4", 24.65}}) {
    CAPTURE(c.format);
    apply_precision(model, {.weights = c.format, .experts = "auto", .kv_cache = "auto"});
    const MemoryPlan plan = plan_memory(model, {}, h100());
    CHECK(plan.feasible);
    CHECK(static_cast<double>(plan.gpus[0].weights.total().value()) / 1e9 ==
          doctest::Approx(c.gigabytes).epsilon(0.01));
  }
}

TEST_CASE("worked examples of serving-semantics 2.9") {
  SUBCASE("Mixtral on two H100, u 0.92, 8192 tokens: about 27 GiB, 448k tokens") {
    const MemoryPlan plan = plan_memory(shipped("Mixtral-8x7B-v0.1"), {.tp = 2}, newest(79.2));
    CHECK(gib_of(plan.gpus[0].usable) == doctest::Approx(72.9).epsilon(0.001));
    CHECK(gib_of(plan.gpus[0].weights.total()) == doctest::Approx(43.5).epsilon(0.001));
    CHECK(static_cast<double>(plan.num_kv_tokens) == doctest::Approx(448e3).epsilon(0.02));
  }
  SUBCASE("DeepSeek-V3 on 8 H200, TP8: weights about 79 GiB, about 43 GiB of KV, 0.66 M tokens") {
    const MemoryPlan plan = plan_memory(shipped("DeepSeek-V3"), {.tp = 8}, newest(139.8));
    CHECK(gib_of(plan.gpus[0].usable) == doctest::Approx(128.6).epsilon(0.001));
    CHECK(gib_of(plan.gpus[0].weights.total()) == doctest::Approx(79).epsilon(0.01));
    CHECK(static_cast<double>(plan.num_kv_tokens) == doctest::Approx(0.66e6).epsilon(0.05));
  }
  SUBCASE("the same with DP8 and EP8: 0.21 M tokens a rank after the gathered workspace") {
    const Parallel parallel{.tp = 1, .pp = 1, .dp = 8, .expert_parallel = true};
    const MemoryPlan plan = plan_memory(shipped("DeepSeek-V3"), parallel, newest(139.8));
    CHECK(gib_of(plan.gpus[0].weights.total()) == doctest::Approx(93.9).epsilon(0.005));
    CHECK(gib_of(plan.gpus[0].kv_cache) == doctest::Approx(14).epsilon(0.15));
    // Fewer batched tokens buy KV here.
    MemoryInputs small = newest(139.8);
    small.max_num_batched_tokens = 1024;
    CHECK(plan_memory(shipped("DeepSeek-V3"), parallel, small).num_kv_tokens >
          3 * plan.num_kv_tokens / 2);
  }
}

TEST_CASE("the parts sum to the capacity exactly, whatever the layout") {
  Rng rng(1, "memory_test");
  const std::string names[] = {"Mixtral-8x7B-v0.1",
                               "DeepSeek-V3",
                               "gpt-oss-120b",
                               "Qwen3-Next-80B-A3B-Instruct",
                               "granite-3.1-3b-a800m-base",
                               "Llama-4-Scout-17B-16E",
                               "Llama-3.1-8B"};
  const KvBudgetRule rules[] = {KvBudgetRule::kVllm, KvBudgetRule::kSglang, KvBudgetRule::kTrtllm};
  int feasible = 0;
  for (int i = 0; i < 400; ++i) {
    const ModelSpec model = shipped(names[rng.below(7)]);
    MemoryInputs inputs;
    inputs.device_total =
        Bytes(std::int64_t{20'000'000'000} + rng.below(2'000'000'000) * std::int64_t{80});
    inputs.rules.utilization = 0.5 + 0.45 * rng.uniform();
    inputs.rules.budget = rules[rng.below(3)];
    inputs.rules.graphs_in_budget = rng.below(2) == 1;
    inputs.rules.context_outside_budget = rng.below(2) == 1;
    inputs.rules.worst_case_moe_workspace = rng.below(2) == 1;
    inputs.max_num_batched_tokens = 1 << (5 + rng.below(9));
    inputs.max_num_seqs = 1 << rng.below(11);
    inputs.max_model_len = 1 << (8 + rng.below(10));
    inputs.lora = {.adapters = static_cast<int>(rng.below(3)), .rank = 16};
    if (rng.below(8) == 0) inputs.num_gpu_blocks_override = rng.below(100000);
    const Parallel parallel{.tp = 1 << rng.below(4),
                            .pp = 1 + static_cast<int>(rng.below(3)),
                            .dp = 1 << rng.below(3),
                            .expert_parallel = rng.below(2) == 1};
    const MemoryPlan plan = plan_memory(model, parallel, inputs);
    CHECK(plan.feasible == plan.reason.empty());
    CHECK((plan.gpus.empty() || plan.gpus.size() == static_cast<std::size_t>(parallel.pp)));
    for (const GpuMemory& gpu : plan.gpus) {
      CHECK(parts(gpu) == gpu.capacity);
      CHECK(gpu.kv_cache >= Bytes(0));
      if (plan.feasible) CHECK(gpu.free >= Bytes(0));
    }
    if (!plan.feasible && !plan.gpus.empty()) CHECK(plan.shortfall > Bytes(0));
    feasible += plan.feasible ? 1 : 0;
  }
  CHECK(feasible > 50);
  CHECK(feasible < 350);
}

TEST_CASE("a missing shortfall's worth of memory is what makes a plan feasible") {
  const ModelSpec model = shipped("Qwen3-30B-A3B");
  MemoryInputs inputs = h100();
  inputs.device_total = gib(48);
  const MemoryPlan plan = plan_memory(model, {}, inputs);
  REQUIRE_FALSE(plan.feasible);
  // Capacity enters the budget times the utilisation.
  inputs.device_total +=
      Bytes(static_cast<std::int64_t>(static_cast<double>(plan.shortfall.value()) / 0.9) + 2);
  CHECK(plan_memory(model, {}, inputs).feasible);
  inputs.device_total -= Bytes(8 << 20);
  CHECK_FALSE(plan_memory(model, {}, inputs).feasible);
}

TEST_CASE("the number of blocks is that of the fullest stage") {
  const ModelSpec model = shipped("Llama-3.1-70B");
  MemoryInputs inputs = h100();
  const MemoryPlan plan = plan_memory(model, {.tp = 1, .pp = 3}, inputs);
  REQUIRE(plan.gpus.size() == 3);
  // 27 layers and the embedding on the first stage, 26 and the head on the last
  CHECK(plan.gpus[0].rank == 0);
  CHECK(plan.gpus[2].rank == 2);
  for (const GpuMemory& gpu : plan.gpus) {
    const Bytes page = Bytes(plan.num_gpu_blocks * 16 * 4096);  // one layer's KV of all blocks
    CHECK((gpu.kv_cache == 27 * page || gpu.kv_cache == 26 * page));
  }
}

TEST_CASE("what does not fit names what is in the way") {
  const ModelSpec model = shipped("Llama-3.1-8B");
  MemoryInputs inputs = h100();
  SUBCASE("one long request") {
    inputs.device_total = gib(24);
    inputs.max_model_len = 131072;
    const MemoryPlan plan = plan_memory(model, {}, inputs);
    CHECK_FALSE(plan.feasible);
    CHECK(plan.reason.find("one request of 131072 tokens needs 16.0 GiB") != std::string::npos);
    CHECK(plan.num_gpu_blocks > 0);
  }
  SUBCASE("too high a utilisation") {
    inputs.rules.utilization = 0.995;
    const MemoryPlan plan = plan_memory(model, {}, inputs);
    CHECK_FALSE(plan.feasible);
    CHECK(plan.reason.find("gpu_memory_utilization is too high") != std::string::npos);
    CHECK(plan.gpus[0].free < Bytes(0));
  }
  SUBCASE("a layout that does not divide the model") {
    const MemoryPlan plan = plan_memory(model, {.tp = 3}, inputs);
    CHECK_FALSE(plan.feasible);
    CHECK(plan.gpus.empty());
    CHECK(plan.reason.find("tensor_parallel_size 3") != std::string::npos);
  }
}

TEST_CASE("engines differ in what the fraction is of") {
  const ModelSpec model = shipped("Llama-3.1-8B");
  MemoryInputs inputs = h100();
  inputs.rules.enforce_eager = true;
  const auto kv = [&](KvBudgetRule rule, double fraction) {
    inputs.rules.budget = rule;
    inputs.rules.utilization = fraction;
    return plan_memory(model, {}, inputs).gpus[0].kv_cache;
  };
  const double weights = 14.96;
  // vLLM: of the total, less weights and activations; SGLang: of the total, covering weights and KV
  // only (less the context); TensorRT-LLM: of what is left.
  CHECK(gib_of(kv(KvBudgetRule::kVllm, 0.9)) ==
        doctest::Approx(0.9 * 79.2 - weights - 1.0 - 0.15).epsilon(0.01));
  CHECK(gib_of(kv(KvBudgetRule::kSglang, 0.9)) ==
        doctest::Approx(0.9 * 79.2 - weights - 0.65).epsilon(0.01));
  CHECK(gib_of(kv(KvBudgetRule::kTrtllm, 0.9)) ==
        doctest::Approx(0.9 * (79.2 - weights - 1.0 - 0.65)).epsilon(0.01));
}

TEST_CASE("graphs cost KV only where the engine counts them, and nothing in eager mode") {
  const ModelSpec model = shipped("Mixtral-8x7B-v0.1");
  MemoryInputs inputs = h100();
  const MemoryPlan outside = plan_memory(model, {.tp = 2}, inputs);
  inputs.rules.graphs_in_budget = true;
  const MemoryPlan inside = plan_memory(model, {.tp = 2}, inputs);
  inputs.rules.enforce_eager = true;
  const MemoryPlan eager = plan_memory(model, {.tp = 2}, inputs);
  CHECK(inside.num_gpu_blocks < outside.num_gpu_blocks);
  CHECK(eager.num_gpu_blocks == outside.num_gpu_blocks);
  CHECK(eager.gpus[0].cuda_graph == Bytes(0));
}

TEST_CASE("graph pools lie where they were logged") {
  MemoryInputs inputs = h100();
  inputs.rules.graph_sizes = 16;
  const double small = gib_of(plan_memory(shipped("Llama-3.1-8B"), {}, inputs).gpus[0].cuda_graph);
  CHECK(small == doctest::Approx(0.36).epsilon(0.35));
  inputs.rules.graph_sizes = 51;
  const Parallel wide{.tp = 1, .pp = 1, .dp = 8, .expert_parallel = true};
  inputs.device_total = gib(139.8);
  const double large = gib_of(plan_memory(shipped("DeepSeek-V3"), wide, inputs).gpus[0].cuda_graph);
  CHECK(large == doctest::Approx(2.5).epsilon(0.35));
}

TEST_CASE("DeepEP buffers") {
  struct Case {
    int tokens;
    double gigabytes;
  };
  const ModelSpec model = shipped("DeepSeek-V3");
  MemoryInputs inputs = newest(139.8);
  inputs.all2all_backend = "deepep_low_latency";
  const Parallel parallel{.tp = 1, .pp = 1, .dp = 16, .expert_parallel = true};
  for (const Case& c : {Case{128, 1.908}, Case{256, 3.817}, Case{1024, 15.3}, Case{8192, 3.817}}) {
    CAPTURE(c.tokens);
    inputs.max_num_batched_tokens = c.tokens;
    const double comm =
        static_cast<double>(plan_memory(model, parallel, inputs).gpus[0].comm_buffer.value());
    const double fixed = (392.0 + 1024) * 1048576;  // NCCL and the NVLink buffer
    CHECK((comm - fixed) / 1e9 == doctest::Approx(c.gigabytes).epsilon(0.005));
  }
  inputs.all2all_backend = "deepep_high_throughput";
  CHECK(plan_memory(model, parallel, inputs).gpus[0].comm_buffer == Bytes((392LL + 2048) << 20));
  inputs.gpus_per_node = 16;
  CHECK(plan_memory(model, parallel, inputs).gpus[0].comm_buffer == Bytes((392LL + 1024) << 20));
}

TEST_CASE("adapters are part of the weights and cost KV") {
  const ModelSpec model = shipped("Mixtral-8x7B-v0.1");
  MemoryInputs inputs = h100();
  const MemoryPlan without = plan_memory(model, {.tp = 2}, inputs);
  inputs.lora = {.adapters = 4, .rank = 16, .targets = LoraTargets::kExperts, .hot_experts = 0};
  const MemoryPlan with = plan_memory(model, {.tp = 2}, inputs);
  CHECK(with.gpus[0].weights.lora == Bytes(4LL * 276'824'064));
  CHECK(with.num_gpu_blocks < without.num_gpu_blocks);
}

TEST_CASE("a given number of blocks overrides the budget") {
  const ModelSpec model = shipped("Llama-3.1-8B");
  MemoryInputs inputs = h100();
  inputs.num_gpu_blocks_override = 1000;
  const MemoryPlan plan = plan_memory(model, {}, inputs);
  CHECK(plan.num_gpu_blocks == 1000);
  CHECK(plan.num_kv_tokens == 16000);
  CHECK(plan.max_concurrency_at_max_model_len == doctest::Approx(999.0 / 256));
}

TEST_CASE("a given number of blocks that cannot be is blamed, not the budget") {
  const ModelSpec model = shipped("Llama-3.1-8B");
  MemoryInputs inputs = h100();
  inputs.max_model_len = 4096;
  inputs.num_gpu_blocks_override = 256;  // 4096 tokens, but a block is kept back
  const MemoryPlan few = plan_memory(model, {}, inputs);
  CHECK_FALSE(few.feasible);
  CHECK(few.shortfall == Bytes(0));
  CHECK(few.reason ==
        "num_gpu_blocks_override asks for 256 KV blocks, but one request of 4096 tokens needs 256 "
        "and the engine keeps one back");
  inputs.num_gpu_blocks_override = 257;
  CHECK(plan_memory(model, {}, inputs).feasible);
  inputs.num_gpu_blocks_override = 1'000'000;  // 2 MiB each
  const MemoryPlan many = plan_memory(model, {}, inputs);
  CHECK_FALSE(many.feasible);
  CHECK(many.shortfall == Bytes(0) - many.gpus[0].free);
  CHECK(many.reason.find("num_gpu_blocks_override asks for 1000000 KV blocks, but these take 1.91 "
                         "TiB, of which the 79.2 GiB of the GPU have ") == 0);
}

TEST_CASE("tokens of a long request on a hybrid model leave room for the window") {
  const ModelSpec model = shipped("gpt-oss-20b");
  const MemoryPlan plan = plan_memory(model, {}, h100());
  // The sliding group keeps 127 + 2048 tokens and a partial block.
  CHECK(plan.num_kv_tokens == (plan.num_gpu_blocks - 137) * 16);
}
