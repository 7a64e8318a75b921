#include "sim/validation/published_formats.h"

#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "models/hf_config.h"

using namespace moesim;

namespace {

using F = NumberFormat;

struct Stored {
  Precisions parts;
  std::string problem;
  std::vector<std::string> assumed;
};
Stored stored(const std::string& model, const std::string& weights) {
  ModelSpec spec = load_model(model, ".", {});
  Stored out;
  out.problem = store_weights(spec, weights, out.assumed);
  out.parts = spec.precisions;
  return out;
}

}  // namespace

TEST_CASE("a 16-bit checkpoint takes the format named") {
  CHECK(stored("Qwen3-32B", "nvfp4").parts.attention == F::kNvfp4);
  CHECK(stored("Qwen3-32B", "nvfp4").parts.lm_head == F::kBf16);
  CHECK(stored("Qwen3-32B", "int4_wo").parts.dense_ffn == F::kGptqInt4);
  CHECK(stored("Qwen3-32B", "fp16").parts.dense_ffn == F::kFp16);
  CHECK(stored("Qwen3-32B", "").assumed == std::vector<std::string>{"bf16 weights"});
  CHECK(stored("Qwen3-32B", "int3").problem == "weight format 'int3' is not known");
}

TEST_CASE("a quantised checkpoint keeps its layout, and what is narrower") {
  CHECK(stored("DeepSeek-V3", "fp8").parts.experts == F::kFp8Block);
  CHECK(stored("gpt-oss-120b", "nvfp4").parts.experts == F::kMxfp4);
  CHECK(stored("gpt-oss-120b", "fp8").parts.experts == F::kMxfp4);
  CHECK(stored("gpt-oss-120b", "fp8").assumed ==
        std::vector<std::string>{"mxfp4 weights, as published"});
  CHECK(stored("Kimi-K2.5", "int4_wo").parts.experts == F::kInt4Group32);
}

TEST_CASE("published again in NVFP4: latent attention stays in 16 bit, integers are replaced") {
  CHECK(stored("DeepSeek-V3", "nvfp4").parts.experts == F::kNvfp4);
  CHECK(stored("DeepSeek-V3", "nvfp4").parts.attention == F::kBf16);
  CHECK(stored("Kimi-K2.5", "nvfp4").parts.experts == F::kNvfp4);
  CHECK(stored("Kimi-K2.5", "nvfp4").parts.shared_experts == F::kBf16);
}

TEST_CASE("formats as tables, vLLM and scenarios name them, in any case") {
  struct Case {
    const char *published, *name;
  };
  const Case weights[] = {{"FP8", "fp8"},
                          {"BF16", "bf16"},
                          {"bfloat16", "bf16"},
                          {"fp8-block", "fp8_block"},
                          {"FP8_BLOCK", "fp8_block"},
                          {"int4", "gptq_int4"},
                          {"int4_wo", "gptq_int4"},
                          {"GPTQ", "gptq_int4"},
                          {"awq", "awq_int4"},
                          {"awq_int4", "awq_int4"},
                          {"int8", "int8"},
                          {"MXFP4 (experts)", "mxfp4"},
                          {"q4_k_m", "q4_k_m"},
                          {"Auto", ""},
                          {"auto (bf16)", ""},
                          {"", ""},
                          {"INT3", "int3"}};
  for (const Case& c : weights) {
    CAPTURE(c.published);
    CHECK(weight_format_of(c.published) == c.name);
  }
  const Case kv[] = {{"FP8", "fp8"},      {"fp8_e4m3", "fp8"}, {"bf16 MLA latent", "bf16"},
                     {"auto (bf16)", ""}, {"AUTO", ""},        {"", ""},
                     {"turbo3", "turbo3"}};
  for (const Case& c : kv) {
    CAPTURE(c.published);
    CHECK(kv_format_of(c.published) == c.name);
  }
}

TEST_CASE("what is not known is refused, and auto is the checkpoint's own") {
  CHECK(stored("Qwen3-32B", "AUTO").assumed == std::vector<std::string>{"bf16 weights"});
  CHECK(stored("Qwen3-32B", "AWQ").parts.dense_ffn == F::kAwqInt4);
  CHECK(stored("Qwen3-32B", "INT8").parts.dense_ffn == F::kInt8);
  ModelSpec model = load_model("Qwen3-32B", ".", {});
  CHECK(store_kv(model, "FP8_E4M3").empty());
  CHECK(model.precisions.kv_cache == F::kFp8);
  CHECK(store_kv(model, "Turbo3") == "KV format 'Turbo3' is not known");
}
