#include <doctest/doctest.h>
#include <numeric>
#include <string>
#include <vector>

#include "tests/models/models_support.h"

using namespace moesim;
using test::shipped;
using test::small_model;

namespace {

// "D" for a dense layer, "M" for one with experts.
std::string pattern(const ModelSpec& model) {
  std::string text;
  for (const LayerSpec& layer : model.layers) text += layer.moe ? 'M' : 'D';
  return text;
}

const std::string kBody =
    R"("hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
  "intermediate_size": 128, )";

}  // namespace

TEST_CASE("which layers have experts follows each family's rule") {
  struct Case {
    std::string why, model_type, extra, expect;
  };
  const std::string qwen =
      R"("moe_intermediate_size": 32, "num_experts": 8, "num_experts_per_tok": 2)";
  const std::string deepseek =
      R"("kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16,
    "moe_intermediate_size": 32, "n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 1)";
  const Case cases[] = {
      {"no experts", "qwen3", R"("num_hidden_layers": 3)", "DDD"},
      {"every layer", "mixtral",
       R"("num_hidden_layers": 3, "num_local_experts": 4, "num_experts_per_tok": 2)", "MMM"},
      {"Qwen counts from 1", "qwen3_moe",
       qwen + R"(, "num_hidden_layers": 4, "decoder_sparse_step": 2)", "DMDM"},
      {"Qwen lists exceptions", "qwen3_moe",
       qwen + R"(, "num_hidden_layers": 4, "mlp_only_layers": [0, 3])", "DMMD"},
      {"DeepSeek starts dense", "deepseek_v2",
       deepseek + R"(, "num_hidden_layers": 4, "first_k_dense_replace": 1)", "DMMM"},
      {"DeepSeek with a step counts from 0", "deepseek_v2",
       deepseek + R"(, "num_hidden_layers": 6, "first_k_dense_replace": 1, "moe_layer_freq": 2)",
       "DDMDMD"},
      {"MiMo lists 0 and 1", "mimo_v2_flash",
       qwen +
           R"(, "num_hidden_layers": 4, "moe_layer_freq": [0, 1, 1, 0], "hybrid_layer_pattern": [0, 1, 1, 0],
       "sliding_window": 128)",
       "DMMD"},
      {"Llama-4 Maverick: the second of each pair", "llama4_text",
       R"("num_hidden_layers": 4, "num_local_experts": 4, "num_experts_per_tok": 1, "interleave_moe_layer_step": 2,
       "intermediate_size_mlp": 256, "attention_chunk_size": 8192)",
       "DMDM"},
      {"ERNIE from start to end", "ernie4_5_moe",
       R"("num_hidden_layers": 5, "moe_num_experts": 8, "moe_k": 2, "moe_intermediate_size": 32,
       "moe_num_shared_experts": 2, "moe_layer_start_index": 1, "moe_layer_end_index": 3)",
       "DMMMD"},
      {"ERNIE with -1 for the last layer and an interval", "ernie4_5_moe",
       R"("num_hidden_layers": 6, "moe_num_experts": 8, "moe_k": 2, "moe_intermediate_size": 32,
       "moe_num_shared_experts": 0, "moe_layer_start_index": 2, "moe_layer_end_index": -1, "moe_layer_interval": 2)",
       "DDDMDM"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(pattern(small_model(c.model_type, kBody + c.extra)) == c.expect);
  }
}

TEST_CASE("shipped models have the published number of MoE layers") {
  struct Case {
    std::string name;
    int layers, moe;
  };
  const Case cases[] = {
      {"DeepSeek-V3", 61, 58},
      {"DeepSeek-V2-Lite", 27, 26},
      {"Kimi-K2-Instruct", 61, 60},
      {"GLM-4.5-Air", 46, 45},
      {"GLM-4.5", 92, 89},
      {"Llama-4-Scout-17B-16E", 48, 48},
      {"Llama-4-Maverick-17B-128E", 48, 24},
      {"ERNIE-4.5-21B-A3B-PT", 28, 27},
      {"ERNIE-4.5-300B-A47B-PT", 54, 51},
      {"AI21-Jamba-1.5-Mini", 32, 16},
      {"switch-base-8", 24, 12},
      {"Llama-3.1-8B", 32, 0},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const ModelSpec model = shipped(c.name);
    CHECK(model.num_layers() == c.layers);
    CHECK(model.num_moe_layers() == c.moe);
  }
}

TEST_CASE(
    "Llama-4 takes its dense width from intermediate_size_mlp and one implicit shared expert") {
  const ModelSpec model = shipped("Llama-4-Maverick-17B-128E");
  CHECK(model.layers[0].dense_intermediate == 16384);
  CHECK(model.layers[0].shared_intermediate == 0);
  CHECK(model.layers[1].dense_intermediate == 0);
  CHECK(model.layers[1].expert_intermediate == 8192);
  CHECK(model.layers[1].shared_intermediate == 8192);
}

TEST_CASE("shared experts: a width, a number of experts, or none") {
  CHECK(shipped("Qwen2-57B-A14B").layers[0].shared_intermediate == 20480);
  CHECK(shipped("DeepSeek-V2").layers[5].shared_intermediate == 2 * 1536);
  CHECK(shipped("ERNIE-4.5-21B-A3B-PT").layers[5].shared_intermediate == 2 * 1536);
  CHECK(shipped("ERNIE-4.5-300B-A47B-PT").layers[5].shared_intermediate == 0);
  CHECK(shipped("Mixtral-8x7B-v0.1").layers[0].shared_intermediate == 0);
}

TEST_CASE("Hunyuan's per-layer lists are read layer by layer") {
  const std::string extra =
      kBody + R"("num_hidden_layers": 3, "num_experts": 8, "moe_intermediate_size": [32, 48, 64],
    "moe_topk": [1, 2, 3], "num_shared_expert": [1, 0, 2])";
  const ModelSpec model = small_model("hunyuan_v1_moe", extra);
  CHECK(model.layers[1].expert_intermediate == 48);
  CHECK(model.layers[2].top_k == 3);
  CHECK(model.layers[0].shared_intermediate == 32);
  CHECK(model.layers[1].shared_intermediate == 0);
  CHECK(model.layers[2].shared_intermediate == 128);
}

TEST_CASE("Gemma-4 has a dense branch beside the experts and wider heads on full layers") {
  const ModelSpec model = small_model("gemma4_text", R"("num_hidden_layers": 2, "hidden_size": 2816,
    "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 256, "intermediate_size": 2112,
    "moe_intermediate_size": 704, "num_experts": 128, "top_k_experts": 8, "sliding_window": 1024,
    "layer_types": ["sliding_attention", "full_attention"], "global_head_dim": 512, "num_global_key_value_heads": 2)");
  CHECK(model.tied_embeddings);
  for (const LayerSpec& layer : model.layers) {
    CHECK(layer.moe);
    CHECK(layer.dense_intermediate == 2112);
    CHECK(layer.expert_intermediate == 704);
    CHECK(layer.top_k == 8);
  }
  CHECK(model.attention_shape(model.layers[0]).head_dim == 256);
  CHECK(model.attention_shape(model.layers[1]).head_dim == 512);
  CHECK(model.attention_shape(model.layers[1]).kv_heads == 2);
}

TEST_CASE("Switch has an encoder and a decoder with cross-attention, every second layer sparse") {
  const ModelSpec model = shipped("switch-base-8");
  CHECK(model.family == "switch_encdec");
  CHECK(model.expert_matrices == 2);
  CHECK(model.expert_capacity == 64);
  CHECK(model.encoder_layers == 12);
  CHECK(pattern(model) == "DMDMDMDMDMDMDMDMDMDMDMDM");
  CHECK(model.layers[0].encoder);
  CHECK_FALSE(model.layers[0].cross_attention);
  CHECK_FALSE(model.layers[12].encoder);
  CHECK(model.layers[12].cross_attention);
}

TEST_CASE("routers: groups, scoring, bias, renormalisation") {
  const RouterSpec v3 = shipped("DeepSeek-V3").router;
  CHECK(v3.groups == 8);
  CHECK(v3.topk_groups == 4);
  CHECK(v3.sigmoid);
  CHECK(v3.bias);
  const RouterSpec v2 = shipped("DeepSeek-V2").router;
  CHECK(v2.groups == 8);
  CHECK(v2.topk_groups == 3);
  CHECK_FALSE(v2.sigmoid);
  CHECK_FALSE(v2.bias);
  CHECK_FALSE(shipped("OLMoE-1B-7B-0924").router.renormalize);
  CHECK(shipped("Qwen3-30B-A3B").router.renormalize);
  CHECK(shipped("MiniMax-M2.5").router.sigmoid);
}
