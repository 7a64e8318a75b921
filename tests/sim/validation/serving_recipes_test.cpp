#include "sim/validation/serving_recipes.h"

#include <doctest/doctest.h>
#include <string>

#include "sim/validation/scenario_keys.h"
#include "tests/sim/validation/serving_support.h"

using namespace moesim;

TEST_CASE("launch scripts changed with releases") {
  ServingRow row = scripted_row("vLLM", "0.17.0", "MiniMax-M2.5", "B200-SXM-180GB", "fp8");
  row.isl = 8192;
  CHECK(value_of(plan_of(row), "engine.max_num_batched_tokens") == "8192");
  CHECK(value_of(plan_of(row), "engine.moe_backend") == "triton");
  CHECK(plan_of(row).kv_dtype.empty());
  row.version = "0.19.0";
  CHECK(value_of(plan_of(row), "engine.max_num_batched_tokens") == "16384");
  CHECK(value_of(plan_of(row), "engine.moe_backend") == "auto");
  CHECK(plan_of(row).kv_dtype == "fp8");
  row.version = "nightly-5b8c30d6";  // no number, so nobody knows
  CHECK(plan_of(row).kv_dtype.empty());
  row.engine = "TensorRT-LLM";
  row.model = "DeepSeek-R1-0528";
  row.version = "1.2.0";
  row.attention_dp = 4;
  row.tp = 4;
  row.gpus = 4;
  CHECK(value_of(plan_of(row), "engine.attention_dp_config").find("timeout_iters: 60") !=
        std::string::npos);
  row.attention_dp = 1;
  CHECK(value_of(plan_of(row), "engine.attention_dp_config").empty());
}

TEST_CASE("a harness's published settings hold where the row says nothing else") {
  ServingRow row = scripted_row("vLLM", "0.15.1", "Mixtral-8x7B", "H100-SXM-80GB", "bf16");
  ServingPlan plan = plan_of(row);
  CHECK(value_of(plan, "workload.synthetic.input_tokens") == "{uniform: [800, 1000]}");
  CHECK(value_of(plan, "engine.max_num_seqs") == "8");
  CHECK(value_of(plan, "engine.max_num_batched_tokens") == "8192");
  CHECK(assumes(plan, "launched as the harness's other models"));
  row.max_batch = 64;
  row.memory_fraction = 0.8;
  plan = plan_of(row);
  CHECK(value_of(plan, "engine.max_num_seqs") == "64");
  CHECK(value_of(plan, "engine.gpu_memory_utilization") == "0.8");
  row.engine = "SGLang";
  row.version = "0.5.5";
  plan = plan_of(row);
  CHECK(value_of(plan, "engine.backend") == "sglang");
  CHECK(value_of(plan, "engine.mem_fraction_static") == "0.8");
  CHECK(value_of(plan, "engine.chunked_prefill_size") == "32768");
  CHECK(value_of(plan, "engine.max_running_requests") == "64");
  CHECK(value_of(plan, "engine.max_num_seqs").empty());
  row.engine = "TensorRT-LLM (some backend)";
  row.version = "1.1.0";
  row.model = "gpt-oss-120b";
  row.weight_dtype = "mxfp4 (experts)";
  row.memory_fraction.reset();
  plan = plan_of(row);
  CHECK(value_of(plan, "engine.backend") == "trtllm");
  CHECK(value_of(plan, "engine.free_gpu_memory_fraction") == "0.85");
  CHECK(plan.kv_dtype == "fp8");
  row.kv_dtype = "bf16";
  CHECK(plan_of(row).kv_dtype == "bf16");
}

TEST_CASE("launch scripts go by what names mean, not by how they are spelled") {
  ServingRow row = scripted_row("SGLang", "0.5.9", "DeepSeek-R1-0528", "B200-SXM-180GB", "nvfp4");
  const std::string published = plan_of(row).key();
  void (*const spellings[])(ServingRow&) = {
      [](ServingRow& r) { r.gpu = "b200_sxm"; },
      [](ServingRow& r) { r.gpu = "NVIDIA B200"; },
      [](ServingRow& r) { r.model = "deepseek-ai/DeepSeek-R1"; },
      [](ServingRow& r) { r.version = "v0.5.9"; },
      [](ServingRow& r) { r.engine = "sglang"; },
      [](ServingRow& r) { r.len_dist = "uniform in 80-100 % of nominal"; }};
  for (const auto spell : spellings) {
    ServingRow other = row;
    spell(other);
    CHECK(plan_of(other).key() == published);
  }
  const auto settings = [](const ServingRow& r) {
    std::string text;
    const ServingPlan plan = plan_of(r);
    for (const Override& key : plan.keys.list()) text += key.path + "=" + key.value + "\n";
    return text + plan.kv_dtype;
  };
  ServingRow other = row;
  other.weight_dtype = "NVFP4";
  CHECK(settings(other) == settings(row));
  other.weight_dtype = "";
  other.model = "DeepSeek-R1-0528-NVFP4";
  CHECK(settings(other) == settings(row));
  other.kv_dtype = "Auto";  // as if it said nothing: the script's fp8
  CHECK(settings(other) == settings(row));
  row.engine = "TensorRT-LLM";
  row.version = "1.1";
  row.weight_dtype = "fp8";
  other = row;
  other.version = "v1.1.0rc2";
  other.weight_dtype = "FP8";
  CHECK(value_of(plan_of(row), "engine.moe_backend") == "deepgemm");
  CHECK(value_of(plan_of(other), "engine.moe_backend") == "deepgemm");
  other.version = "v1.2.0rc6.post3";
  CHECK(plan_of(other).problem.starts_with("image 1.2.0rc6.post3 was launched"));
  // NVIDIA's benchmark recipes since 1.0.
  row.len_dist = "fixed";
  row.source = "trtllm_docs";
  row.version = "v1.0";
  CHECK(value_of(plan_of(row), "engine.enable_chunked_prefill") == "true");
  row.version = "0.17";
  CHECK(value_of(plan_of(row), "engine.enable_chunked_prefill").empty());
}

TEST_CASE("launch scripts of any release give plans that load") {
  struct Launch {
    const char *engine, *model, *gpu, *dtype;
  };
  const Launch launches[] = {{"vLLM", "gpt-oss-120b", "B200-SXM-180GB", "mxfp4"},
                             {"vLLM", "gpt-oss-120b", "H100-SXM-80GB", "mxfp4"},
                             {"vLLM", "Llama-3.1-70B", "B200-SXM-180GB", "fp8"},
                             {"vLLM", "MiniMax-M2.5", "B200-SXM-180GB", "fp8"},
                             {"vLLM", "MiniMax-M2.5", "H100-SXM-80GB", "fp8"},
                             {"vLLM", "Kimi-K2.5", "B200-SXM-180GB", "int4"},
                             {"SGLang", "DeepSeek-R1-0528", "B200-SXM-180GB", "fp8"},
                             {"SGLang", "Qwen3.5-397B-A17B", "B200-SXM-180GB", "nvfp4"},
                             {"SGLang", "GLM-5", "H200-SXM-141GB", "fp8"},
                             {"TensorRT-LLM", "gpt-oss-120b", "B200-SXM-180GB", "mxfp4"},
                             {"TensorRT-LLM", "DeepSeek-R1-0528", "B200-SXM-180GB", "fp8"},
                             {"TensorRT-LLM", "Llama-3.1-70B", "H200-SXM-141GB", "fp8"}};
  const char* const releases[] = {"0.1.0",     "~0.3.3",   "0.4.0",  "v0.5.3", "0.8.1.post1",
                                  "0.9.0",     "0.11",     "0.17.0", "0.21",   "1.0",
                                  "v1.1.0rc2", "1.3.0rc1", "2.0.0",  "",       "nightly-5b8c30d6"};
  for (const Launch& launch : launches) {
    for (const char* release : releases) {
      CAPTURE(std::string(launch.engine));
      CAPTURE(std::string(launch.model));
      CAPTURE(std::string(release));
      ServingRow row = scripted_row(launch.engine, release, launch.model, launch.gpu, launch.dtype);
      row.gpus = row.tp = 4;
      row.isl = 8192;
      row.osl = 1024;
      const ServingPlan plan = plan_of(row);
      REQUIRE(plan.problem.empty());
      CHECK(load_with(plan.keys, plan.model).problem == "");
    }
  }
}

TEST_CASE("releases older than the launch scripts have the engine's defaults, and it is said") {
  struct Case {
    const char *engine, *version;
    bool launched;
  };
  const Case cases[] = {{"TensorRT-LLM", "0.17", false}, {"TensorRT-LLM", "1.0", true},
                        {"vLLM", "0.8.5", false},        {"vLLM", "0.9.0", true},
                        {"SGLang", "0.4", true},         {"TensorRT-LLM", "", true}};
  for (const Case& c : cases) {
    CAPTURE(c.engine);
    CAPTURE(c.version);
    const ServingRow row =
        scripted_row(c.engine, c.version, "Llama-3.1-70B", "H100-SXM-80GB", "bf16");
    CHECK(assumes(plan_of(row), "the engine's defaults: launch scripts are of later releases") !=
          c.launched);
  }
}

TEST_CASE("launch scripts go by card, format and concurrency") {
  ServingRow row = scripted_row("SGLang", "0.5.9", "DeepSeek-R1-0528", "B200-SXM-180GB", "nvfp4");
  ServingPlan plan = plan_of(row);
  CHECK(value_of(plan, "engine.scheduler_recv_interval") == "10");
  CHECK(value_of(plan, "engine.chunked_prefill_size") == "16384");
  CHECK(plan.kv_dtype == "fp8");
  row.concurrency = 16;
  CHECK(value_of(plan_of(row), "engine.scheduler_recv_interval") == "30");
  row.gpu = "H200-SXM-141GB";
  row.weight_dtype = "fp8-block";
  plan = plan_of(row);
  CHECK(value_of(plan, "engine.scheduler_recv_interval").empty());
  CHECK(value_of(plan, "engine.chunked_prefill_size") == "32768");
  CHECK(plan.kv_dtype.empty());

  row.engine = "TensorRT-LLM";
  row.version = "1.2.0rc6";
  row.gpu = "B200-SXM-180GB";
  row.isl = row.osl = 1024;
  row.concurrency = 64;
  plan = plan_of(row);
  CHECK(value_of(plan, "engine.moe_backend") == "trtllm_gen");
  CHECK(value_of(plan, "engine.batch_wait_timeout_iters") == "40");
  CHECK(value_of(plan, "engine.max_num_tokens") == "8192");
  CHECK(value_of(plan, "engine.cuda_graph_padding") == "true");
  row.concurrency = 256;
  plan = plan_of(row);
  CHECK(value_of(plan, "engine.moe_backend") == "deepgemm");
  CHECK(value_of(plan, "engine.batch_wait_timeout_iters").empty());
  row.version = "1.1.0rc2";
  row.concurrency = 8;
  row.isl = 8192;
  plan = plan_of(row);
  CHECK(value_of(plan, "engine.moe_backend") == "deepgemm");
  CHECK(value_of(plan, "engine.max_num_tokens") == "8320");  // 8 + 8192 + 64, up to whole 64s
}
