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
