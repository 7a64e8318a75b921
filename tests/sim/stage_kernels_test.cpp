#include "sim/stage_kernels.h"

#include <doctest/doctest.h>
#include <string>

using namespace moesim;

TEST_CASE("which all-reduces normalise too: by engine, release, card, model and ranks") {
  struct Case {
    const char* why;
    std::string backend, version, model;
    int sm, tp;
    double bytes;
  };
  constexpr double kMiB = 1048576;
  const Case cases[] = {
      {"vLLM: not by default", "vllm", "0.19", "qwen3_moe", 100, 4, 0},
      {"TensorRT-LLM on Hopper", "trtllm", "1.2", "gpt_oss", 90, 4, 2 * kMiB},
      {"any model of later releases", "trtllm", "1.1", "llama", 90, 2, 64 * kMiB},
      {"in 1.0 those with experts", "trtllm", "1.0", "llama", 90, 2, 0},
      {"of which this is one", "trtllm", "1.0", "qwen3_moe", 90, 2, 64 * kMiB},
      {"not the compiled engines", "trtllm", "0.17", "llama", 90, 2, 0},
      {"Blackwell", "trtllm", "1.2", "gpt_oss", 100, 4, 32 * kMiB},
      {"eight ranks", "trtllm", "1.2", "gpt_oss", 100, 8, 1 * kMiB},
      {"no table for three ranks", "trtllm", "1.2", "gpt_oss", 100, 3, 0},
      {"nor for sixteen", "trtllm", "1.2", "gpt_oss", 100, 16, 0},
      {"not on consumer cards", "trtllm", "1.2", "gpt_oss", 120, 2, 0},
      {"nor on Ampere", "trtllm", "1.2", "gpt_oss", 80, 2, 0},
      {"nothing to sum", "trtllm", "1.2", "gpt_oss", 100, 1, 0},
      {"SGLang, a model it lists", "sglang", "0.5.5", "deepseek_v3", 100, 8, 1 * kMiB},
      {"one it does not", "sglang", "0.5.5", "qwen3_5_moe_text", 100, 8, 0},
      {"taken back on Blackwell", "sglang", "0.5.9", "deepseek_v3", 100, 8, 0},
      {"but not on Hopper", "sglang", "0.5.9", "deepseek_v3", 90, 8, 0.5 * kMiB},
      {"the other way round", "sglang", "0.5.12", "deepseek_v3", 90, 8, 0},
      {"before", "sglang", "0.5.3", "deepseek_v3", 90, 8, 0},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    ModelSpec model;
    model.model_type = c.model;
    const EngineProfile profile = engine_profile(c.backend, c.version).profile;
    CHECK(fused_norm_bytes(profile, model, c.sm, Parallel{.tp = c.tp}) == c.bytes);
  }
}
