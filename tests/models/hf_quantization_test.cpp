#include <doctest/doctest.h>
#include <string>

#include "tests/models/models_support.h"

using namespace moesim;
using test::shipped;
using test::small_model;

namespace {

using F = NumberFormat;

ModelSpec quantised(const std::string& section) {
  return small_model("qwen2_moe",
                     R"("num_hidden_layers": 4, "hidden_size": 64, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 128, "moe_intermediate_size": 32, "num_experts": 8,
    "num_experts_per_tok": 2, "shared_expert_intermediate_size": 64, "mlp_only_layers": [0],
    "quantization_config": )" +
                         section);
}

}  // namespace

TEST_CASE("every quantisation method gives its storage format") {
  struct Case {
    std::string why, section;
    F attention, dense, shared, experts, kv_cache;
  };
  const Case cases[] = {
      {"fp8 per tensor", R"({"quant_method": "fp8"})", F::kFp8, F::kFp8, F::kFp8, F::kFp8,
       F::kBf16},
      {"fp8 in blocks", R"({"quant_method": "fp8", "weight_block_size": [128, 128]})", F::kFp8Block,
       F::kFp8Block, F::kFp8Block, F::kFp8Block, F::kBf16},
      {"AWQ", R"({"quant_method": "awq", "bits": 4, "group_size": 128})", F::kAwqInt4, F::kAwqInt4,
       F::kAwqInt4, F::kAwqInt4, F::kBf16},
      {"compressed-tensors int8 by channel",
       R"({"quant_method": "compressed-tensors", "config_groups": {"group_0":
       {"weights": {"num_bits": 8, "type": "int", "strategy": "channel"}}}})",
       F::kInt8, F::kInt8, F::kInt8, F::kInt8, F::kBf16},
      {"GPTQ with 8 bits", R"({"quant_method": "gptq", "bits": 8, "group_size": -1})", F::kInt8,
       F::kInt8, F::kInt8, F::kInt8, F::kBf16},
      {"MXFP4: experts only", R"({"quant_method": "mxfp4"})", F::kBf16, F::kBf16, F::kBf16,
       F::kMxfp4, F::kBf16},
      {"ModelOpt with fp8 KV",
       R"({"quant_method": "modelopt", "quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"})",
       F::kNvfp4, F::kNvfp4, F::kNvfp4, F::kNvfp4, F::kFp8},
      {"compressed-tensors int4, all but the experts kept by patterns",
       R"({"quant_method": "compressed-tensors", "ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*",
       "re:.*mlp\\.(gate|up|down)_proj.*"], "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int",
       "strategy": "group", "group_size": 128}}}})",
       F::kBf16, F::kBf16, F::kBf16, F::kGptqInt4, F::kBf16},
      {"compressed-tensors fp8 with scaled KV",
       R"({"quant_method": "compressed-tensors", "kv_cache_scheme": {"num_bits": 8}, "config_groups": {"group_0":
       {"weights": {"num_bits": 8, "type": "float", "strategy": "channel"}}}})",
       F::kFp8, F::kFp8, F::kFp8, F::kFp8, F::kFp8},
      {"attention kept layer by layer",
       R"({"quant_method": "fp8", "ignored_layers": ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj",
       "model.layers.2.self_attn.q_proj", "model.layers.3.self_attn.q_proj"]})",
       F::kBf16, F::kFp8, F::kFp8, F::kFp8, F::kBf16},
      {"attention of one layer kept is not the rule",
       R"({"quant_method": "fp8", "ignored_layers": ["model.layers.0.self_attn.q_proj"]})", F::kFp8,
       F::kFp8, F::kFp8, F::kFp8, F::kBf16},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const Precisions formats = quantised(c.section).precisions;
    CHECK(formats.attention == c.attention);
    CHECK(formats.dense_ffn == c.dense);
    CHECK(formats.shared_experts == c.shared);
    CHECK(formats.experts == c.experts);
    CHECK(formats.kv_cache == c.kv_cache);
    CHECK(formats.embedding == F::kBf16);
    CHECK(formats.lm_head == F::kBf16);
    CHECK(formats.activation == F::kBf16);
  }
}

TEST_CASE("shipped models keep their published formats") {
  CHECK(shipped("DeepSeek-V3").precisions.attention == F::kFp8Block);
  CHECK(shipped("Kimi-K2-Instruct").precisions.experts == F::kFp8Block);
  CHECK(shipped("Kimi-K2.5").precisions.experts == F::kInt4Group32);
  CHECK(shipped("Kimi-K2.5").precisions.attention == F::kBf16);
  CHECK(shipped("Kimi-K2.5").precisions.shared_experts == F::kBf16);
  CHECK(shipped("Kimi-K2.5").precisions.dense_ffn == F::kBf16);
  CHECK(shipped("MiniMax-M2.5").precisions.experts == F::kFp8Block);
  CHECK(shipped("gpt-oss-120b").precisions.experts == F::kMxfp4);
  CHECK(shipped("gpt-oss-120b").precisions.attention == F::kBf16);
  CHECK(shipped("Llama-2-7b-hf").precisions.activation == F::kFp16);
  CHECK(shipped("switch-base-8").precisions.experts ==
        F::kBf16);  // fp32 checkpoints are served in 16 bit
}
