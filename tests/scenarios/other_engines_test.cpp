// Releases and defaults of SGLang and TensorRT-LLM: serving-semantics 8.1 and 8.2.
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "scenarios/engine_profile.h"
#include "scenarios/load.h"
#include "scenarios/other_defaults.h"

using namespace moesim;

namespace {

constexpr Bytes mib(std::int64_t count) {
  return Bytes(count << 20);
}

EngineSpec engine_of(const std::string& engine, const std::string& more = "") {
  const std::string text =
      "schema_version: 1\nname: x\nmodel: Qwen/Qwen3-30B-A3B\n"
      "system: {nodes: [{profile: h100_sxm, gpus: 8}]}\n"
      "engine: {" +
      engine + "}\n" +
      (more.empty() ? "deployment: {instances: [{tensor_parallel_size: 1}]}\n" : more) +
      "workload: {arrival: {kind: all_at_once}, synthetic: {num_prompts: 1, input_tokens: 9, "
      "output_tokens: 1}}\n";
  return load_scenario_text(text, "x.yaml", ".", {}).instances.front().engine;
}

}  // namespace

TEST_CASE("a release between two known ones has the older one's rules") {
  struct Case {
    std::string backend, version, used;
    bool note;
  };
  const Case cases[] = {
      {"sglang", "0.5.6.post2", "0.5.5", false},
      {"sglang", "v0.5.9-cu130", "0.5.9", false},
      {"sglang", "0.4.6", "0.4", false},
      {"sglang", "0.3.1", "0.4", true},
      {"sglang", "0.5.0", "0.4", false},
      {"sglang", "0.6", "0.5.18", true},
      {"trtllm", "1.2.0rc6.post3", "1.2", false},
      {"trtllm", "0.10.0", "0.9", false},
      {"trtllm", "0.21", "0.17", false},
      {"trtllm", "1.3.0rc14", "1.3", false},
      {"trtllm", "0.8", "0.9", true},
      {"trtllm", "", "1.3", false},
  };
  for (const Case& c : cases) {
    CAPTURE(c.version);
    const ProfileChoice choice = engine_profile(c.backend, c.version);
    CHECK(choice.profile.version == c.used);
    CHECK(choice.note.empty() == !c.note);
    CHECK(choice.profile.backend == c.backend);
    CHECK(choice.profile.scheduler == c.backend);
  }
}

TEST_CASE("mem_fraction_static is what the reserved parts leave") {
  const EngineProfile late = engine_profile("sglang", "0.5.3").profile;
  struct Case {
    std::string why;
    Bytes card;
    int chunk, graphs, tp;
    double expect;
  };
  // The worked examples of serving-semantics 8.1; cards in MiB as their driver counts them.
  const Case cases[] = {
      {"H100: 512 + 12288 + 512 + 128 MiB", mib(81559), 8192, 256, 1, 0.835},
      {"H100 TP8: graphs to 512, 1 GiB for ranks", mib(81559), 8192, 512, 8, 0.818},
      {"H200 TP8", mib(143771), 8192, 512, 8, 0.897},
      {"B200 TP8: chunks of 16384", mib(183359), 16384, 512, 8, 0.852},
      {"10 GiB at least on a large card", mib(81559), 2048, 8, 1, 0.874},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(sglang_static_fraction(
              late, {.card = c.card, .chunk = c.chunk, .largest_graph = c.graphs, .tp = c.tp}) ==
          doctest::Approx(c.expect).epsilon(1e-9));
  }
  const EngineProfile early = engine_profile("sglang", "0.4").profile;
  CHECK(sglang_static_fraction(early, {.card = mib(81559), .tp = 8}) == 0.81);
  CHECK(sglang_static_fraction(early, {.card = mib(81559), .tp = 1}) == 0.88);
}

TEST_CASE("SGLang's limits are of all data-parallel ranks together") {
  const EngineProfile late = engine_profile("sglang", "0.5.3").profile;
  // 512 + 1.5 x 2048 + 2 x 256 + 1 GiB for eight GPUs + 3 x 256 x 8 for gathered batches: 11264.
  CHECK(sglang_static_fraction(
            late,
            {.card = mib(81559), .chunk = 1024, .largest_graph = 256, .tp = 8, .pp = 1, .dp = 8}) ==
        doctest::Approx(0.862).epsilon(1e-9));
  // Above 300, half as much again: 512 + 3072 + 1024 + 1024 + 4.5 x 512 x 8.
  CHECK(sglang_static_fraction(
            late,
            {.card = mib(81559), .chunk = 1024, .largest_graph = 512, .tp = 8, .pp = 1, .dp = 8}) ==
        doctest::Approx(0.705).epsilon(1e-9));
  const EngineSpec engine =
      engine_of("backend: sglang, max_running_requests: 512",
                "deployment: {instances: [{tensor_parallel_size: 2, data_parallel_size: 4}]}\n");
  CHECK(engine.max_num_seqs == 128);
  CHECK(engine.max_num_batched_tokens == 2048);  // of 8192 on a card of 80 GB
  CHECK(engine.sglang.schedule_conservativeness == doctest::Approx(0.3));
  const EngineSpec alone = engine_of("backend: sglang, max_running_requests: 512");
  CHECK(alone.max_num_seqs == 512);
  CHECK(alone.sglang.schedule_conservativeness == 1);
}

TEST_CASE("graph sizes are each engine's list") {
  const EngineProfile sglang = engine_profile("sglang", "0.5.9").profile;
  CHECK(sglang_graph_sizes(sglang, 512, 4096).size() == 52);
  CHECK(sglang_graph_sizes(sglang, 256, 4096).size() == 36);
  CHECK(sglang_graph_sizes(sglang, 256, 20) == std::vector<int>{1, 2, 4, 8, 12, 16, 20});
  CHECK(sglang_graph_sizes(sglang, 24, 4096) == std::vector<int>{1, 2, 4, 8, 12, 16, 24});
  CHECK(sglang_prompt_sizes(8192, false).back() == 8192);
  CHECK(sglang_prompt_sizes(8192, true).back() == 2048);
  CHECK(sglang_prompt_sizes(8192, false).size() == 58);
  CHECK(sglang_prompt_sizes(48, false) == std::vector<int>{4, 8, 12, 16, 20, 24, 28, 32, 48});
  CHECK(trtllm_graph_sizes(128, false).size() == 34);  // 1 to 32, 64, 128
  CHECK(trtllm_graph_sizes(128, true).size() == 19);   // 1, 2, 4, 8 to 128 by 8
  CHECK(trtllm_graph_sizes(300, true).back() == 300);
}

TEST_CASE("max_running_requests follows the KV tokens") {
  CHECK(sglang_max_running(1'000, 8192) == 500);
  CHECK(sglang_max_running(400'000, 32768) == 4096);
  CHECK(sglang_max_running(160'000, 32768) == 2500);
  CHECK(sglang_max_running(100'000, 131'072) == 2048);
}

TEST_CASE("SGLang's names set what vLLM's names set") {
  const EngineSpec own = engine_of(
      "backend: sglang, backend_version: '0.5.9', context_length: 4096, max_running_requests: 32, "
      "chunked_prefill_size: 4096, page_size: 16, mem_fraction_static: 0.8, "
      "disable_radix_cache: true, disable_overlap_schedule: true, disable_cuda_graph: true, "
      "schedule_policy: lpm, schedule_conservativeness: 0.3, max_total_tokens: 1600, "
      "scheduler_recv_interval: 30, moe_backend: triton");
  CHECK(own.sglang.scheduler_recv_interval == 30);
  CHECK(own.moe_backend == "triton");
  CHECK(own.max_model_len == 4096);
  CHECK(own.max_num_seqs == 32);
  CHECK(own.max_num_batched_tokens == 4096);
  CHECK(own.block_size == 16);
  CHECK(own.gpu_memory_utilization == 0.8);
  CHECK_FALSE(own.enable_prefix_caching);
  CHECK_FALSE(own.async_scheduling);
  CHECK_FALSE(own.profile.extra_step);
  CHECK(own.enforce_eager);
  CHECK(own.sglang.longest_prefix_first);
  CHECK(own.sglang.schedule_conservativeness == 0.3);
  CHECK(own.num_gpu_blocks_override == 101);  // 100 pages and the one never handed out
  const EngineSpec defaults = engine_of("backend: sglang, backend_version: '0.5.9'");
  CHECK(defaults.block_size == 1);
  CHECK(defaults.max_num_batched_tokens == 8192);
  CHECK(defaults.max_num_seqs_by_memory);
  CHECK(defaults.profile.extra_step);
  CHECK(defaults.cudagraph_capture_sizes.back() == 256);
  CHECK(defaults.prompt_capture_sizes.empty());
  CHECK(engine_of("backend: sglang, backend_version: '0.5.12'").prompt_capture_sizes.back() ==
        8192);
  const EngineSpec whole = engine_of("backend: sglang, chunked_prefill_size: -1");
  CHECK_FALSE(whole.enable_chunked_prefill);
  CHECK(whole.max_num_batched_tokens == 16384);
}

TEST_CASE("SGLang fuses the shared expert where its own rule allows") {
  struct Case {
    const char* why;
    std::string model, gpu, engine;
    bool fused;
  };
  const Case cases[] = {
      {"DeepSeek-V3 on Hopper", "deepseek-ai/DeepSeek-V3", "h200_sxm", "backend: sglang", true},
      {"GLM-4.5", "zai-org/GLM-4.5", "h200_sxm", "backend: sglang", true},
      {"asked not to", "deepseek-ai/DeepSeek-V3", "h200_sxm",
       "backend: sglang, disable_shared_experts_fusion: true", false},
      {"with expert parallelism", "deepseek-ai/DeepSeek-V3", "h200_sxm",
       "backend: sglang, enable_expert_parallel: true", false},
      {"TensorRT-LLM's kernels on Blackwell", "deepseek-ai/DeepSeek-V3", "b200_sxm",
       "backend: sglang", false},
      {"not those", "deepseek-ai/DeepSeek-V3", "b200_sxm", "backend: sglang, moe_backend: triton",
       true},
      {"384 experts", "moonshotai/Kimi-K2-Instruct", "b200_sxm",
       "backend: sglang, moe_backend: triton", false},
      {"asked to all the same", "moonshotai/Kimi-K2-Instruct", "b200_sxm",
       "backend: sglang, fuse_shared_experts: true", true},
      {"vLLM", "deepseek-ai/DeepSeek-V3", "h200_sxm", "backend: vllm", false},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const std::string text =
        "schema_version: 1\nname: x\nmodel: " + c.model + "\nsystem: {nodes: [{profile: " + c.gpu +
        ", gpus: 8}]}\nengine: {" + c.engine + ", " +
        (c.engine == "backend: vllm" ? "max_model_len" : "context_length") +
        ": 4096}\ndeployment: {instances: [{tensor_parallel_size: 8}]}\nworkload: {arrival: {kind: "
        "all_at_once}, synthetic: {num_prompts: 1, input_tokens: 9, output_tokens: 1}}\n";
    const InstanceSpec entry = load_scenario_text(text, "x.yaml", ".", {}).instances.front();
    CHECK(entry.engine.fuse_shared_expert == c.fused);
    CHECK(entry.parallel.fused_shared_expert == c.fused);
  }
}

TEST_CASE("TensorRT-LLM's policies go by its own capitals, too") {
  const auto uses_all = [](const char* policy) {
    return engine_of(std::string("backend: trtllm, capacity_scheduler_policy: ") + policy)
        .trtllm.max_utilization;
  };
  CHECK(uses_all("max_utilization"));
  CHECK(uses_all("MAX_UTILIZATION"));
  CHECK_FALSE(uses_all("guaranteed_no_evict"));
  CHECK_FALSE(uses_all("GUARANTEED_NO_EVICT"));
  CHECK_THROWS_AS(uses_all("Max_Utilization"), InputError);
}

TEST_CASE("TensorRT-LLM's names set what vLLM's names set") {
  const EngineSpec own = engine_of(
      "backend: trtllm, max_seq_len: 4096, max_batch_size: 64, max_num_tokens: 2048, "
      "tokens_per_block: 64, free_gpu_memory_fraction: 0.8, enable_block_reuse: false, "
      "disable_overlap_scheduler: true, capacity_scheduler_policy: max_utilization, "
      "enable_chunked_prefill: true, cuda_graph_padding: true, batch_wait_timeout_iters: 20, "
      "batch_wait_max_tokens_ratio: 0.9");
  CHECK(own.trtllm.batch_wait_timeout_iters == 20);
  CHECK(own.trtllm.batch_wait_max_tokens_ratio == 0.9);
  CHECK(own.max_model_len == 4096);
  CHECK(own.max_num_seqs == 64);
  CHECK(own.max_num_batched_tokens == 2048);
  CHECK(own.block_size == 64);
  CHECK(own.gpu_memory_utilization == 0.8);
  CHECK_FALSE(own.enable_prefix_caching);
  CHECK_FALSE(own.async_scheduling);
  CHECK(own.trtllm.max_utilization);
  CHECK(own.enable_chunked_prefill);
  CHECK(own.profile.pad_to_graph);
  CHECK(own.cudagraph_capture_sizes.back() == 64);
  const EngineSpec defaults = engine_of("backend: trtllm");
  CHECK(defaults.max_num_seqs == 2048);
  CHECK(defaults.max_num_batched_tokens == 8192);
  CHECK(defaults.block_size == 32);
  CHECK(defaults.gpu_memory_utilization == 0.9);
  CHECK_FALSE(defaults.enable_chunked_prefill);
  CHECK(defaults.profile.extra_step);
  const EngineSpec early = engine_of("backend: trtllm, backend_version: '0.9'");
  CHECK(early.enforce_eager);
  CHECK_FALSE(early.async_scheduling);
  CHECK_FALSE(early.profile.extra_step);
}
