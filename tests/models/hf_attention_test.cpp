#include <doctest/doctest.h>
#include <string>

#include "tests/models/models_support.h"

using namespace moesim;
using test::shipped;
using test::small_model;

namespace {

// F full, S sliding, C chunked, L linear.
std::string pattern(const ModelSpec& model) {
  std::string text;
  for (const LayerSpec& layer : model.layers) text += "FSCL"[static_cast<int>(layer.attention)];
  return text;
}

std::string repeated(const std::string& unit, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text += unit;
  return text;
}

const std::string kDense =
    R"("hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
  "intermediate_size": 128, "num_hidden_layers": 4)";

}  // namespace

TEST_CASE("shipped models mix kinds of attention as published") {
  struct Case {
    std::string name, expect;
    int window;
  };
  const Case cases[] = {
      {"Mixtral-8x7B-v0.1", repeated("F", 32), 0},
      {"gpt-oss-120b", repeated("SF", 18), 128},
      {"gpt-oss-20b", repeated("SF", 12), 128},
      {"Llama-4-Scout-17B-16E", repeated("CCCF", 12), 8192},
      {"Qwen3-Next-80B-A3B-Instruct", repeated("LLLF", 12), 0},
      {"AI21-Jamba-1.5-Mini", repeated("LLLLFLLL", 4), 0},
      {"Qwen2.5-7B", repeated("F", 28), 0},            // use_sliding_window is false
      {"Phi-3.5-MoE-instruct", repeated("F", 32), 0},  // the window is as long as the context
      {"DeepSeek-V3", repeated("F", 61), 0},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const ModelSpec model = shipped(c.name);
    CHECK(pattern(model) == c.expect);
    for (const LayerSpec& layer : model.layers) {
      const bool windowed =
          layer.attention == AttentionKind::kSliding || layer.attention == AttentionKind::kChunked;
      CHECK(layer.window == (windowed ? c.window : 0));
    }
  }
}

TEST_CASE("sliding windows without a list follow the rule of the architecture") {
  CHECK(pattern(small_model("mistral", kDense + R"(, "sliding_window": 4096)")) == "SSSS");
  CHECK(pattern(small_model("mistral", kDense + R"(, "sliding_window": null)")) == "FFFF");
  CHECK(pattern(small_model("qwen3", kDense + R"(, "sliding_window": 4096)")) == "FFFF");
  CHECK(
      pattern(small_model("qwen3", kDense + R"(, "sliding_window": 4096, "use_sliding_window": true,
    "max_window_layers": 2)")) == "FFSS");
  CHECK(pattern(small_model("gpt_oss", kDense + R"(, "sliding_window": 128, "num_local_experts": 4,
    "num_experts_per_tok": 2)")) == "SFSF");
}

TEST_CASE("Llama-4 reads which layers have no rotary embedding, those being full") {
  const std::string llama = kDense + R"(, "num_local_experts": 4, "num_experts_per_tok": 1,
    "interleave_moe_layer_step": 1, "attention_chunk_size": 8192)";
  CHECK(pattern(small_model("llama4_text", llama)) == "CCCF");
  CHECK(pattern(small_model("llama4_text", llama + R"(, "no_rope_layers": [0, 1, 1, 0])")) ==
        "FCCF");
  CHECK(pattern(small_model("llama4_text", llama + R"(, "no_rope_layer_interval": 2)")) == "CFCF");
}

TEST_CASE("MiMo's sliding layers have KV heads of their own") {
  const ModelSpec model =
      small_model("mimo_v2_flash", R"("num_hidden_layers": 3, "hidden_size": 4096,
    "num_attention_heads": 64, "num_key_value_heads": 4, "head_dim": 192, "v_head_dim": 128, "intermediate_size": 16384,
    "moe_intermediate_size": 2048, "n_routed_experts": 256, "num_experts_per_tok": 8, "moe_layer_freq": [0, 1, 1],
    "hybrid_layer_pattern": [0, 1, 1], "sliding_window": 128, "swa_num_key_value_heads": 8)");
  CHECK(pattern(model) == "FSS");
  CHECK(model.v_head_dim == 128);
  CHECK(model.attention_shape(model.layers[0]).kv_heads == 4);
  CHECK(model.attention_shape(model.layers[1]).kv_heads == 8);
  // (192 + 128) x 2 bytes x (4 + 8 + 8) heads
  CHECK(kv_bytes_per_token(model).value() == 12800);
}

TEST_CASE("Step-3.7 needs its list of layer types") {
  const std::string step =
      kDense + R"(, "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
    "n_shared_experts": 1, "first_k_dense_replace": 1, "sliding_window": 512)";
  CHECK_THROWS_AS(static_cast<void>(small_model("step3p7", step)), InputError);
  const ModelSpec model =
      small_model("step3p7", step + R"(, "layer_types": ["full_attention", "sliding_attention",
    "sliding_attention", "full_attention"])");
  CHECK(pattern(model) == "FSSF");
  CHECK(model.layers[1].shared_intermediate == 32);
}

TEST_CASE("linear-attention state and weights are those of the published layers") {
  const ModelSpec qwen = shipped("Qwen3-Next-80B-A3B-Instruct");
  // 32 value heads x 128 x 128, and 3 taps of 2*16*128 + 32*128 channels.
  CHECK(qwen.linear.state_elements == 524288 + 3 * 8192);
  CHECK(qwen.attention_gate);
  const ModelSpec jamba = shipped("AI21-Jamba-1.5-Mini");
  CHECK(jamba.linear.state_elements == 8192 * 16 + 8192 * 3);
  // in_proj, conv, x_proj, dt_proj, A, D, out_proj of 4096 x 8192
  CHECK(jamba.linear.mixer_weights ==
        67108864 + 40960 + 2359296 + 2105344 + 131072 + 8192 + 33554432);
}

TEST_CASE("MLA dimensions replace head_dim, and a null q_lora_rank projects directly") {
  const ModelSpec v3 = shipped("DeepSeek-V3");
  CHECK(v3.is_mla());
  CHECK(v3.mla.q_rank == 1536);
  CHECK(v3.head_dim == 192);
  CHECK(v3.v_head_dim == 128);
  CHECK(shipped("DeepSeek-V2-Lite").mla.q_rank == 0);
  const ModelSpec glm = shipped("GLM-5");
  CHECK(glm.head_dim == 256);
  CHECK(glm.mla.index_topk == 2048);
}

TEST_CASE("head_dim is hidden / heads unless the config or the architecture says otherwise") {
  CHECK(shipped("Mixtral-8x7B-v0.1").head_dim == 128);
  CHECK(shipped("gpt-oss-120b").head_dim == 64);             // hidden / heads would be 45
  CHECK(shipped("Mistral-Nemo-Base-2407").head_dim == 128);  // hidden / heads would be 160
  const std::string qwen = R"("hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 128, "num_hidden_layers": 4)";
  CHECK_THROWS_AS(static_cast<void>(small_model("qwen3", qwen)), InputError);
  CHECK(small_model("qwen2", qwen).head_dim == 16);
}
