// Number formats and kernels of the experts that an engine does not have on a card.

#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

/// Lines: 3 model, 4 precision, 5 system, 6 engine.
struct Setting {
  std::string model = "Qwen/Qwen3-30B-A3B";
  std::string precision = "{}";
  std::string system = "h100_sxm";
  std::string engine = "{backend: vllm}";
  std::string layout = "tensor_parallel_size: 2";
};

std::string scenario(const Setting& setting) {
  return "schema_version: 1\nname: x\nmodel: " + setting.model +
         "\nprecision: " + setting.precision + "\nsystem: {nodes: [{profile: " + setting.system +
         ", gpus: 8}]}\nengine: " + setting.engine + "\ndeployment: {instances: [{" +
         setting.layout +
         "}]}\n"
         "workload: {arrival: {kind: all_at_once}, synthetic: {num_prompts: 1, input_tokens: 9, "
         "output_tokens: 1}}\n";
}

std::string weights(const char* format) {
  return std::string("{weights: ") + format + "}";
}

struct Case {
  const char* why;
  Setting setting;
  std::vector<Expected> expected;
};

void check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    CHECK(compare(mistakes_of(scenario(c.setting)), c.expected) == "");
  }
}

}  // namespace

TEST_CASE("formats that TensorRT-LLM has no kernels for on a card") {
  const char *dense = "meta-llama/Llama-3.1-8B", *trtllm = "{backend: trtllm}";
  check({
      {"Ampere has no fp8",
       {.precision = weights("fp8"), .system = "a100_sxm", .engine = trtllm},
       {{4, "precision.weights", "does not run fp8 weights on a100_sxm", "backend: vllm"}}},
      {"nor in blocks",
       {.precision = weights("fp8_block"), .system = "a100_sxm", .engine = trtllm},
       {{4, "precision.weights", "need a card with fp8 (Ada or later)", "another format"}}},
      {"Ada has", {.precision = weights("fp8"), .system = "l40s", .engine = trtllm}, {}},
      {"a dense model is no better off",
       {.model = dense, .precision = weights("fp8"), .system = "a100_sxm", .engine = trtllm},
       {{4, "precision.weights", "fp8 weights on a100_sxm", ""}}},
      {"experts alone",
       {.precision = "{experts: nvfp4}", .engine = trtllm},
       {{4, "precision.experts", "nvfp4 weights on h100_sxm", ""}}},
      {"vLLM's name for it",
       {.system = "h200_sxm", .engine = "{backend: trtllm, quantization: nvfp4}"},
       {{6, "engine.quantization", "nvfp4 weights on h200_sxm: they need a card with fp4", ""}}},
      {"as published",
       {.model = "deepseek-ai/DeepSeek-V3", .system = "a100_sxm", .engine = trtllm},
       {{3, "model", "fp8_block weights on a100_sxm", ""}}},
      {"fp4 is Blackwell's",
       {.precision = weights("nvfp4"), .system = "b200_sxm", .engine = trtllm},
       {}},
      {"MXFP4 begins with Hopper",
       {.model = "openai/gpt-oss-120b", .system = "a100_sxm", .engine = trtllm},
       {{3, "model", "mxfp4 weights on a100_sxm: they need Hopper", ""}}},
      {"on Hopper it runs", {.model = "openai/gpt-oss-120b", .engine = trtllm}, {}},
      {"no GGUF",
       {.precision = weights("q4_k_m"), .engine = trtllm},
       {{4, "precision.weights", "reads no GGUF", "awq_int4"}}},
      {"INT4 everywhere",
       {.precision = weights("awq_int4"), .system = "a100_sxm", .engine = trtllm},
       {}},
  });
}

TEST_CASE("vLLM unpacks what a card cannot multiply, SGLang's fp4 from 0.5.18 on") {
  check({
      {"vLLM: fp8 on Ampere", {.precision = weights("fp8"), .system = "a100_sxm"}, {}},
      {"vLLM: fp4 on Hopper", {.precision = weights("nvfp4")}, {}},
      {"SGLang: fp8 on Ampere",
       {.precision = weights("fp8"), .system = "a100_sxm", .engine = "{backend: sglang}"},
       {}},
      {"SGLang: fp4 on Hopper, before",
       {.precision = weights("nvfp4"), .engine = "{backend: sglang, backend_version: '0.5.12'}"},
       {{4, "precision.weights", "SGLang 0.5.12 does not run nvfp4 weights on h100_sxm", ""}}},
      {"SGLang: fp4 on Hopper, since",
       {.precision = weights("nvfp4"), .engine = "{backend: sglang, backend_version: '0.5.18'}"},
       {}},
      {"SGLang: fp4 on Blackwell, before",
       {.precision = weights("nvfp4"),
        .system = "b200_sxm",
        .engine = "{backend: sglang, backend_version: '0.5.12'}"},
       {}},
  });
}

TEST_CASE("kernels of the experts that a format or a card rules out") {
  const auto named = [](const char* backend) {
    return std::string("{moe_backend: ") + backend + "}";
  };
  check({
      {"Marlin has nothing to unpack",
       {.engine = named("marlin")},
       {{6, "engine.moe_backend", "those of the experts are bf16", "leave it out"}}},
      {"Marlin unpacks experts alone",
       {.precision = "{experts: gptq_int4}", .engine = named("marlin")},
       {}},
      {"Marlin unpacks fp8", {.precision = weights("fp8"), .engine = named("marlin")}, {}},
      {"DeepGEMM multiplies no bf16",
       {.engine = named("deepgemm")},
       {{6, "engine.moe_backend", "the experts are bf16", "fp8_block"}}},
      {"DeepGEMM has no scales per tensor",
       {.precision = weights("fp8"), .engine = named("deepgemm")},
       {{6, "engine.moe_backend", "blocks of 128x128, and the experts are fp8", "fp8_block"}}},
      {"DeepGEMM's own", {.precision = weights("fp8_block"), .engine = named("deepgemm")}, {}},
      {"DeepGEMM begins with Hopper",
       {.precision = weights("fp8_block"), .system = "a100_sxm", .engine = named("deepgemm")},
       {{6, "engine.moe_backend", "needs Hopper or a later card, and this is a100_sxm", "triton"}}},
      {"generated kernels are Blackwell's",
       {.engine = "{backend: trtllm, moe_backend: trtllm_gen}"},
       {{6, "engine.moe_backend", "this is h100_sxm", "use cutlass"}}},
      {"and not the workstation's",
       {.precision = weights("nvfp4"), .system = "rtx_pro_6000", .engine = named("trtllm_gen")},
       {{6, "engine.moe_backend", "this is rtx_pro_6000", "cutlass"}}},
      {"B200 has them",
       {.precision = weights("nvfp4"), .system = "b200_sxm", .engine = named("trtllm_gen")},
       {}},
      {"a dense model has no experts",
       {.model = "meta-llama/Llama-3.1-8B", .engine = named("triton")},
       {{6, "engine.moe_backend", "no effect on a dense model", "leave it out"}}},
      {"auto rules nothing out", {.engine = named("auto")}, {}},
  });
}

TEST_CASE("prompts of ranks wait for each other only where there are ranks") {
  const std::string two_ranks = "tensor_parallel_size: 1, data_parallel_size: 2";
  const std::string on = "attention_dp_config: {enable_balance: true, timeout_iters: 60}";
  check({
      {"two ranks", {.engine = "{backend: trtllm, " + on + "}", .layout = two_ranks}, {}},
      {"one rank",
       {.engine = "{backend: trtllm, " + on + "}"},
       {{6, "engine.attention_dp_config", "no effect without data-parallel ranks", "leave it"}}},
      {"an engine that has no such thing",
       {.engine = "{" + on + "}", .layout = two_ranks},
       {{6, "engine.attention_dp_config", "is a key of trtllm", "leave it out"}}},
      {"limits of nothing",
       {.engine = "{backend: trtllm, attention_dp_config: {timeout_iters: 60}}",
        .layout = two_ranks},
       {{6, "engine.attention_dp_config", "without enable_balance", "turn it on"}}},
      {"a name of nothing, and a negative count",
       {.engine = "{backend: trtllm, attention_dp_config: {enable_balance: true, wait: 1, "
                  "timeout_iters: -1}}",
        .layout = two_ranks},
       {{6, "engine.attention_dp_config.timeout_iters", "", ""},
        {6, "engine.attention_dp_config.wait", "unknown key", ""}}},
  });
}

TEST_CASE("TensorRT-LLM's waiting for company needs a share and a limit") {
  check({
      {"a share without a limit",
       {.engine = "{backend: trtllm, batch_wait_max_tokens_ratio: 0.5}"},
       {{6, "engine.batch_wait_max_tokens_ratio", "without batch_wait_timeout_iters",
         "write both"}}},
      {"a limit without a share",
       {.engine = "{backend: trtllm, batch_wait_timeout_iters: 9}"},
       {{6, "engine.batch_wait_timeout_iters", "without batch_wait_max_tokens_ratio",
         "write both"}}},
      {"a limit of nothing",
       {.engine = "{backend: trtllm, batch_wait_timeout_iters: 0, "
                  "batch_wait_max_tokens_ratio: 0.5}"},
       {{6, "engine.batch_wait_max_tokens_ratio", "without batch_wait_timeout_iters", ""}}},
      {"both",
       {.engine = "{backend: trtllm, batch_wait_timeout_iters: 9, "
                  "batch_wait_max_tokens_ratio: 0.5}"},
       {}},
      {"both at their defaults",
       {.engine = "{backend: trtllm, batch_wait_timeout_iters: 0, batch_wait_max_tokens_ratio: 0}"},
       {}},
  });
}

}  // namespace moesim
