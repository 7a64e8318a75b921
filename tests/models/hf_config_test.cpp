#include "models/hf_config.h"

#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "sim/base/diagnostic.h"

using namespace moesim;

namespace {

// A small valid config, one key per line, so that a key's line is known: architectures 2,
// model_type 3, layers 4 ...
const std::vector<std::string> kMixtral = {
    R"("architectures": ["MixtralForCausalLM"])",
    R"("model_type": "mixtral")",
    R"("num_hidden_layers": 4)",
    R"("hidden_size": 256)",
    R"("num_attention_heads": 8)",
    R"("num_key_value_heads": 2)",
    R"("vocab_size": 1000)",
    R"("max_position_embeddings": 4096)",
    R"("intermediate_size": 512)",
    R"("num_local_experts": 8)",
    R"("num_experts_per_tok": 2)",
    R"("torch_dtype": "bfloat16")",
};

const std::vector<std::string> kDeepSeek = {
    R"("architectures": ["DeepseekV3ForCausalLM"])",
    R"("model_type": "deepseek_v3")",
    R"("num_hidden_layers": 4)",
    R"("hidden_size": 256)",
    R"("num_attention_heads": 8)",
    R"("vocab_size": 1000)",
    R"("max_position_embeddings": 4096)",
    R"("intermediate_size": 512)",
    R"("moe_intermediate_size": 128)",
    R"("n_routed_experts": 16)",
    R"("num_experts_per_tok": 2)",
    R"("n_shared_experts": 1)",
    R"("first_k_dense_replace": 1)",
    R"("kv_lora_rank": 64)",
    R"("qk_nope_head_dim": 32)",
    R"("qk_rope_head_dim": 16)",
    R"("v_head_dim": 32)",
    R"("torch_dtype": "bfloat16")",
};

// `lines` with the line that has `key` replaced (or removed, if `replacement` is empty) or
// `replacement` appended.
std::string edited(std::vector<std::string> lines, const std::string& key,
                   const std::string& replacement) {
  bool found = false;
  for (auto it = lines.begin(); it != lines.end(); ++it) {
    if (it->rfind('"' + key + '"', 0) != 0) continue;
    if (replacement.empty()) {
      lines.erase(it);
    } else {
      *it = replacement;
    }
    found = true;
    break;
  }
  if (!found) lines.push_back(replacement);
  std::string text = "{\n";
  for (std::size_t i = 0; i < lines.size(); ++i)
    text += "  " + lines[i] + (i + 1 < lines.size() ? ",\n" : "\n");
  return text + "}\n";
}

std::vector<Diagnostic> mistakes(const std::string& text) {
  try {
    static_cast<void>(read_hf_config(text, "config.json", "test/model"));
  } catch (const InputError& error) {
    return error.diagnostics();
  }
  return {};
}

}  // namespace

TEST_CASE("a small config reads without mistakes") {
  const ModelSpec model =
      read_hf_config(edited(kMixtral, "x", R"("x": 1)"), "config.json", "test/model");
  CHECK(model.id == "test/model");
  CHECK(model.family == "gqa_moe");
  CHECK(model.head_dim == 32);
  CHECK(model.num_moe_layers() == 4);
  CHECK(mistakes(edited(kDeepSeek, "q_lora_rank", R"("q_lora_rank": null)")).empty());
}

TEST_CASE("each mistake is reported at its line and key, with a hint") {
  struct Case {
    const std::vector<std::string>& base;
    const char* key;          // the line to change
    const char* replacement;  // empty: removed
    int line;                 // where the mistake is; 0 = not in the file
    const char* reported;     // the key in the message
    const char* problem;      // part of it
    const char* hint;         // part of it
  };
  const Case cases[] = {
      // Missing keys have no line.
      {kMixtral, "model_type", "", 0, "model_type", "missing key", "architecture"},
      {kMixtral, "num_hidden_layers", "", 0, "num_hidden_layers", "missing key", "n_layers"},
      {kMixtral, "hidden_size", "", 0, "hidden_size", "missing key", "d_model"},
      {kMixtral, "vocab_size", "", 0, "vocab_size", "missing key", "published"},
      {kMixtral, "num_attention_heads", "", 0, "num_attention_heads", "missing key", "n_heads"},
      {kMixtral, "num_key_value_heads", "", 0, "num_key_value_heads", "missing key",
       "attn_config.kv_n_heads"},
      {kMixtral, "max_position_embeddings", "", 0, "max_position_embeddings", "missing key",
       "max_seq_len"},
      {kMixtral, "intermediate_size", "", 0, "moe_intermediate_size", "missing key",
       "intermediate_size"},
      {kMixtral, "num_local_experts", "", 0, "n_routed_experts", "missing key",
       "num_local_experts"},
      {kMixtral, "num_experts_per_tok", "", 0, "num_experts_per_tok", "missing key", "moe_topk"},
      {kMixtral, "torch_dtype", "", 0, "torch_dtype", "missing key", "dtype"},
      {kDeepSeek, "kv_lora_rank", "", 0, "kv_lora_rank", "missing key", "published"},
      {kDeepSeek, "qk_rope_head_dim", "", 0, "qk_rope_head_dim", "missing key", "published"},
      {kDeepSeek, "n_shared_experts", "", 0, "n_shared_experts", "missing key",
       "num_shared_expert"},
      {kDeepSeek, "first_k_dense_replace", "", 0, "first_k_dense_replace", "missing key",
       "published"},
      {kDeepSeek, "moe_intermediate_size", "", 0, "moe_intermediate_size", "missing key",
       "expert_ffn"},
      // Names nobody knows.
      {kMixtral, "model_type", R"("model_type": "mixtrall")", 3, "model_type",
       "unknown model_type 'mixtrall'", "mixtral"},
      {kMixtral, "architectures", R"("architectures": ["FooForCausalLM"])", 2, "architectures",
       "unknown architecture 'FooForCausalLM'", "known families: "},
      {kMixtral, "model_type", R"("model_type": "deepseek_v4")", 3, "model_type",
       "unknown model_type 'deepseek_v4'", "known: "},
      {kMixtral, "torch_dtype", R"("torch_dtype": "float12")", 13, "torch_dtype", "float12",
       "bfloat16"},
      {kDeepSeek, "scoring_func", R"("scoring_func": "tanh")", 20, "scoring_func", "tanh",
       "sigmoid"},
      // Malformed numbers.
      {kMixtral, "hidden_size", R"("hidden_size": -256)", 5, "hidden_size", "-256 is outside",
       "published"},
      {kMixtral, "hidden_size", R"("hidden_size": 256.5)", 5, "hidden_size", "not a whole number",
       "whole"},
      {kMixtral, "hidden_size", R"("hidden_size": 1e30)", 5, "hidden_size", "1e+30 is outside",
       "published"},
      {kMixtral, "hidden_size", R"("hidden_size": "256")", 5, "hidden_size", "not a number",
       "quotes"},
      {kMixtral, "hidden_size", R"("hidden_size": true)", 5, "hidden_size", "true is not a number",
       "quotes"},
      {kMixtral, "hidden_size", R"("hidden_size": [256])", 5, "hidden_size",
       "a list is not a number", "quotes"},
      {kMixtral, "hidden_size", R"("hidden_size": {})", 5, "hidden_size",
       "a mapping is not a number", "quotes"},
      {kMixtral, "hidden_size", R"("hidden_size": 18446744073709551615)", 5, "hidden_size",
       "outside", "published"},
      {kMixtral, "num_hidden_layers", R"("num_hidden_layers": 0)", 4, "num_hidden_layers",
       "outside 1 to", "published"},
      {kMixtral, "num_hidden_layers", R"("num_hidden_layers": 100000)", 4, "num_hidden_layers",
       "outside", "published"},
      {kMixtral, "num_local_experts", R"("num_local_experts": 1000000)", 11, "num_local_experts",
       "outside", "published"},
      {kMixtral, "tie_word_embeddings", R"("tie_word_embeddings": 1)", 14, "tie_word_embeddings",
       "neither true nor", "quotes"},
      {kMixtral, "model_type", R"("model_type": 7)", 3, "model_type", "7 is not a text", "quotes"},
      {kMixtral, "architectures", R"("architectures": "MixtralForCausalLM")", 2, "architectures",
       "not a list", "list of texts"},
      // Numbers that contradict each other.
      {kMixtral, "num_experts_per_tok", R"("num_experts_per_tok": 9)", 12, "num_experts_per_tok",
       "9 experts per token of 8", "cannot visit"},
      {kMixtral, "num_key_value_heads", R"("num_key_value_heads": 3)", 7, "num_key_value_heads",
       "8 query heads do not divide over 3", "multiple"},
      {kMixtral, "num_attention_heads", R"("num_attention_heads": 6)", 0, "head_dim", "missing key",
       "256"},
      {kDeepSeek, "n_group", R"("n_group": 3)", 20, "n_group", "16 experts do not divide into 3",
       "same number"},
      {kDeepSeek, "topk_group", R"("topk_group": 2)", 20, "topk_group", "2 of 1 groups", "n_group"},
      // Lists.
      {kMixtral, "layer_types", R"("layer_types": ["full_attention"])", 14, "layer_types",
       "1 values for 4 layers", "one per layer"},
      {kMixtral, "layer_types",
       R"("layer_types": ["full_attention", "full_attention", "full_attention", "fast_attention"])",
       14, "layer_types", "unknown layer type 'fast_attention'", "full_attention"},
      {kDeepSeek, "moe_layer_freq", R"("moe_layer_freq": 0)", 20, "moe_layer_freq",
       "0 is outside 1", "published"},
      // Quantisation.
      {kMixtral, "quantization_config", R"("quantization_config": 8)", 14, "quantization_config",
       "not a mapping", "published"},
      {kMixtral, "quantization_config", R"("quantization_config": {"quant_method": "awk"})", 14,
       "quantization_config.quant_method", "unknown method 'awk'", "awq"},
      {kMixtral, "quantization_config", R"("quantization_config": {"bits": 4})", 0,
       "quantization_config.quant_method", "missing key", "published"},
      {kMixtral, "quantization_config",
       R"("quantization_config": {"quant_method": "gptq", "bits": 3})", 14,
       "quantization_config.bits", "3-bit weights", "4 and 8"},
      {kMixtral, "quantization_config",
       R"("quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 32})", 14,
       "quantization_config.bits", "groups of 32", "128"},
      {kMixtral, "quantization_config",
       R"("quantization_config": {"quant_method": "gptq", "bits": 8, "group_size": 128})", 14,
       "quantization_config.bits", "int8 weights in groups of 128", "per channel"},
      {kMixtral, "quantization_config",
       R"("quantization_config": {"quant_method": "fp8", "weight_block_size": [64, 64]})", 14,
       "quantization_config.weight_block_size", "128 x 128", "[128, 128]"},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.key));
    CAPTURE(std::string(c.replacement));
    const std::vector<Diagnostic> found = mistakes(edited(c.base, c.key, c.replacement));
    REQUIRE(found.size() == 1);
    CHECK(found[0].where.file == "config.json");
    CHECK(found[0].where.line == c.line);
    CHECK(found[0].key == c.reported);
    CHECK_MESSAGE(found[0].problem.find(c.problem) != std::string::npos, found[0].problem);
    CHECK_MESSAGE(found[0].hint.find(c.hint) != std::string::npos, found[0].hint);
  }
}

TEST_CASE("files that are no config are refused at the place of the mistake") {
  struct Case {
    const char* why;
    std::string text;
    int line, column;
    const char* problem;
  };
  const Case cases[] = {
      {"nothing", "", 1, 1, "not valid JSON"},
      {"a comma too many", "{\n  \"a\": 1,\n}", 3, 1, "not valid JSON"},
      {"a list", "[1, 2]", 1, 1, "not a mapping"},
      {"a number beyond any double", "{\"hidden_size\": 1e999}", 0, 0, "too large"},
      {"broken UTF-8", "{\"a\": \"\xff\"}", 1, 8, "not valid JSON"},
      {"the same key twice", "{\n\"a\": 1,\n\"a\": 2}", 3, 1, "'a' is given twice"},
      {"endless nesting", std::string(100000, '[') + std::string(100000, ']'), 1, 1,
       "nested too deeply"},
      {"a text model that is none", "{\n\"text_config\": 1}", 2, 2, "text_config is not a mapping"},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    const std::vector<Diagnostic> found = mistakes(c.text);
    REQUIRE(found.size() == 1);
    CHECK(found[0].where.line == c.line);
    CHECK(found[0].where.column == c.column);
    CHECK_MESSAGE(found[0].problem.find(c.problem) != std::string::npos, found[0].problem);
    CHECK_FALSE(found[0].hint.empty());
  }
}

TEST_CASE("one pass reports all mistakes") {
  std::vector<std::string> lines = kMixtral;
  lines[2] = R"("num_hidden_layers": -4)";
  lines[6] = R"("vocab_size": "many")";
  lines[11] = R"("torch_dtype": "float12")";
  const std::vector<Diagnostic> found = mistakes(edited(lines, "hidden_size", ""));
  CHECK(found.size() == 4);
}

TEST_CASE("keys of the text model win over the top level, and their lines are reported") {
  const std::string text =
      "{\n\"model_type\": \"llama4\",\n\"hidden_size\": 1,\n\"torch_dtype\": "
      "\"bfloat16\",\n\"text_config\": "
      "{\n\"model_type\": \"llama\",\n\"hidden_size\": -5,\n\"num_hidden_layers\": 2, "
      "\"num_attention_heads\": 4,\n"
      "\"vocab_size\": 10, \"max_position_embeddings\": 100, \"intermediate_size\": 8}}";
  const std::vector<Diagnostic> found = mistakes(text);
  REQUIRE(found.size() == 1);
  CHECK(found[0].key == "hidden_size");
  CHECK(found[0].where.line == 7);
}

TEST_CASE("a DBRX file with the class default for its width is refused") {
  const std::string text =
      R"({"model_type": "dbrx", "n_layers": 40, "d_model": 6144, "n_heads": 48, "vocab_size": 100352,
    "max_seq_len": 32768, "torch_dtype": "bfloat16", "attn_config": {"kv_n_heads": 8},
    "ffn_config": {"ffn_hidden_size": 3584, "moe_num_experts": 16, "moe_top_k": 4}})";
  const std::vector<Diagnostic> found = mistakes(text);
  REQUIRE(found.size() == 1);
  CHECK(found[0].key == "ffn_config.ffn_hidden_size");
  CHECK(found[0].where.line == 3);
  CHECK(found[0].hint.find("10752") != std::string::npos);
}

TEST_CASE(
    "precision overrides change the linear layers and leave router, norms and embedding in 16 "
    "bit") {
  ModelSpec model = load_model("Mixtral-8x7B-v0.1", ".", {});
  apply_precision(model, {.weights = "awq_int4", .experts = "mxfp4", .kv_cache = "fp8"});
  CHECK(model.precisions.attention == NumberFormat::kAwqInt4);
  CHECK(model.precisions.experts == NumberFormat::kMxfp4);
  CHECK(model.precisions.kv_cache == NumberFormat::kFp8);
  CHECK(model.precisions.embedding == NumberFormat::kBf16);
  CHECK(model.precisions.lm_head == NumberFormat::kBf16);
  apply_precision(model, {.weights = "q4_k_m", .experts = "auto", .kv_cache = "auto"});
  // A GGUF file quantises the tables as well.
  CHECK(model.precisions.embedding == NumberFormat::kQ4KM);
  apply_precision(model, {.weights = "fp16", .experts = "auto", .kv_cache = "auto"});
  CHECK(model.precisions.activation == NumberFormat::kFp16);
  CHECK(model.precisions.kv_cache == NumberFormat::kFp8);
  CHECK(model.precisions.experts == NumberFormat::kFp16);
}
