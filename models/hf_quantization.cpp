// Storage formats from torch_dtype, quantization_config or hf_quant_config.json.

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <set>

#include "models/architecture.h"

namespace moesim {

namespace {

const std::vector<std::string> kMethods = {
    "awq", "gptq", "fp8", "fbgemm_fp8", "compressed-tensors", "mxfp4", "modelopt"};
constexpr Range kBits{.min = 2, .max = 16};
constexpr Range kGroup{.min = -1, .max = 65536};

NumberFormat read_dtype(ConfigKeys& keys) {
  if (!keys.has({"torch_dtype", "dtype"})) {
    keys.missing({"torch_dtype", "dtype"}, "");
    return NumberFormat::kBf16;
  }
  const std::string dtype = keys.text_or({"torch_dtype", "dtype"}, "");
  // Serving engines load a float32 checkpoint in 16 bit.
  if (dtype == "bfloat16" || dtype == "float32") return NumberFormat::kBf16;
  if (dtype == "float16") return NumberFormat::kFp16;
  keys.fail(keys.present({"torch_dtype", "dtype"}),
            fmt::format("unknown number format '{}'", dtype), "known: bfloat16, float16, float32");
  return NumberFormat::kBf16;
}

// Integer formats are modelled with groups of 128 (or one scale per channel for 8 bit);
// compressed-tensors with groups of 32, too.
NumberFormat integer_format(ConfigKeys& keys, const std::string& section, int bits, int group,
                            NumberFormat four_bit) {
  if (bits == 8) {
    if (group > 0) {
      // Scales and zeros of groups are 2.3 % of the weights, and activations stay 16 bit.
      keys.fail(section, fmt::format("int8 weights in groups of {} are not modelled", group),
                "one scale per channel is (group_size -1)");
    }
    return NumberFormat::kInt8;
  }
  if (bits != 4) {
    keys.fail(section, fmt::format("{}-bit weights are not modelled", bits), "4 and 8 bits are");
  } else if (group != 128) {
    keys.fail(section, fmt::format("int4 weights in groups of {} are not modelled", group),
              "groups of 128 are");
  }
  return four_bit;
}

NumberFormat compressed_tensors(ConfigKeys& keys) {
  const nlohmann::json* groups = keys.find("quantization_config.config_groups");
  if (groups == nullptr || !groups->is_object() || groups->empty()) {
    keys.missing({"quantization_config.config_groups"},
                 "compressed-tensors describes its weights there");
    return NumberFormat::kFp8;
  }
  const std::string path =
      "quantization_config.config_groups." + groups->begin().key() + ".weights.";
  const int bits = keys.integer({(path + "num_bits").c_str()}, kBits);
  const std::string type = keys.text_or({(path + "type").c_str()}, "int");
  const std::string strategy = keys.text_or({(path + "strategy").c_str()}, "channel");
  // Only a strategy of groups has a size of them.
  const int usual = bits == 8 && strategy != "group" ? -1 : 128;
  const int group = keys.integer_or({(path + "group_size").c_str()}, usual, kGroup);
  if (type == "float" && bits == 8)
    return strategy == "block" ? NumberFormat::kFp8Block : NumberFormat::kFp8;
  if (type == "float" && bits == 4)
    return group == 32 ? NumberFormat::kMxfp4 : NumberFormat::kNvfp4;
  const bool symmetric = keys.boolean_or({(path + "symmetric").c_str()}, true);
  if (bits == 4 && group == 32 && symmetric) return NumberFormat::kInt4Group32;
  return integer_format(keys, path + "num_bits", bits, group, NumberFormat::kGptqInt4);
}

NumberFormat modelopt(ConfigKeys& keys, const std::string& algorithm, const char* key) {
  if (algorithm == "FP8") return NumberFormat::kFp8;
  if (algorithm == "FP8_PB_WO" || algorithm == "FP8_PB") return NumberFormat::kFp8Block;
  if (algorithm == "NVFP4") return NumberFormat::kNvfp4;
  if (algorithm == "MXFP4") return NumberFormat::kMxfp4;
  if (algorithm == "W4A16_AWQ" || algorithm == "W4A8_AWQ") return NumberFormat::kAwqInt4;
  if (algorithm == "INT8" || algorithm == "W8A8_SQ_PER_CHANNEL") return NumberFormat::kInt8;
  keys.fail(
      key, fmt::format("unknown algorithm '{}'", algorithm),
      nearest_name_hint(algorithm, {"FP8", "FP8_PB_WO", "NVFP4", "MXFP4", "W4A16_AWQ", "INT8"}));
  return NumberFormat::kFp8;
}

NumberFormat fp8(ConfigKeys& keys) {
  constexpr const char* kBlock = "quantization_config.weight_block_size";
  if (!keys.has({kBlock})) return NumberFormat::kFp8;
  const std::vector<int> block = keys.integers({kBlock}, {.min = 1, .max = 65536});
  if (block != std::vector<int>{128, 128} && !block.empty()) {
    keys.fail(kBlock, "only blocks of 128 x 128 are modelled", "write [128, 128]");
  }
  return NumberFormat::kFp8Block;
}

NumberFormat weight_format(ConfigKeys& keys) {
  constexpr const char* kMethod = "quantization_config.quant_method";
  if (keys.has({"quantization_config.quant_algo"})) {
    return modelopt(keys, keys.text_or({"quantization_config.quant_algo"}, ""),
                    "quantization_config.quant_algo");
  }
  const std::string method = keys.text_or({kMethod}, "");
  constexpr const char* kBitsKey = "quantization_config.bits";
  constexpr const char* kGroupKey = "quantization_config.group_size";
  if (method == "awq" || method == "gptq") {
    const int bits = keys.integer({kBitsKey, "quantization_config.w_bit"}, kBits);
    const int group = keys.integer_or({kGroupKey, "quantization_config.q_group_size"}, 128, kGroup);
    return integer_format(keys, kBitsKey, bits, group,
                          method == "awq" ? NumberFormat::kAwqInt4 : NumberFormat::kGptqInt4);
  }
  if (method == "fp8") return fp8(keys);
  if (method == "fbgemm_fp8") return NumberFormat::kFp8;
  if (method == "mxfp4") return NumberFormat::kMxfp4;
  if (method == "compressed-tensors") return compressed_tensors(keys);
  if (method.empty() || method == "modelopt") {
    keys.missing({method.empty() ? kMethod : "quantization_config.quant_algo"}, "");
  } else {
    keys.fail(kMethod, fmt::format("unknown method '{}'", method),
              nearest_name_hint(method, kMethods));
  }
  return NumberFormat::kFp8;
}

// Modules the config keeps in 16 bit, by the words their names contain.
struct Kept {
  bool attention = false, dense_ffn = false, shared_experts = false, experts = false;
};

// Layers whose modules of one kind are named. A part counts as kept if that is most of the layers:
// configs list the first and last layer, or every layer by number, or a pattern for all.
class NamedLayers {
 public:
  void add(const std::string& module) {
    const std::size_t digit = module.find_first_of("0123456789");
    if (digit == std::string::npos) {
      all_ = true;
    } else {
      numbers_.insert(module.substr(digit, module.find_first_not_of("0123456789", digit) - digit));
    }
  }
  [[nodiscard]] bool most_of(std::size_t layers) const {
    return all_ || 2 * numbers_.size() > layers;
  }

 private:
  bool all_ = false;
  std::set<std::string> numbers_;
};

Kept kept_modules(ConfigKeys& keys, std::size_t layers) {
  NamedLayers attention, dense_ffn, shared_experts, experts;
  for (const char* key :
       {"quantization_config.modules_to_not_convert", "quantization_config.ignore",
        "quantization_config.ignored_layers", "quantization_config.exclude_modules"}) {
    for (const std::string& name : keys.texts({key})) {
      const auto names = [&name](const char* word) { return name.find(word) != std::string::npos; };
      if (names("attn")) attention.add(name);
      if (names("shared_expert")) shared_experts.add(name);
      if (names("mlp.(") || names("mlp\\.(") || names("mlp.gate_proj")) dense_ffn.add(name);
      if (names(".experts")) experts.add(name);
    }
  }
  return Kept{.attention = attention.most_of(layers),
              .dense_ffn = dense_ffn.most_of(layers),
              .shared_experts = shared_experts.most_of(layers),
              .experts = experts.most_of(layers)};
}

NumberFormat kv_format(ConfigKeys& keys, NumberFormat activation) {
  const std::string algorithm = keys.text_or({"quantization_config.kv_cache_quant_algo"}, "");
  return algorithm == "FP8" || keys.has({"quantization_config.kv_cache_scheme"})
             ? NumberFormat::kFp8
             : activation;
}

}  // namespace

void read_precisions(ConfigKeys& keys, const Architecture&, ModelSpec& model) {
  Precisions& formats = model.precisions;
  const NumberFormat plain = read_dtype(keys);
  formats.activation = plain;
  formats.embedding = formats.lm_head = formats.kv_cache = plain;
  formats.attention = formats.dense_ffn = formats.shared_experts = formats.experts = plain;
  const nlohmann::json* section = keys.find("quantization_config");
  if (section == nullptr) return;
  if (!section->is_object()) {
    keys.fail("quantization_config", "is not a mapping",
              "copy it from the published config.json, or remove it");
    return;
  }
  const NumberFormat format = weight_format(keys);
  const Kept kept = kept_modules(keys, model.layers.size());
  if (!kept.experts) formats.experts = format;
  formats.kv_cache = kv_format(keys, plain);
  if (keys.text_or({"quantization_config.quant_method"}, "") == "mxfp4")
    return;  // gpt-oss: experts only
  if (!kept.attention) formats.attention = format;
  if (!kept.dense_ffn) formats.dense_ffn = format;
  if (!kept.shared_experts) formats.shared_experts = format;
}

}  // namespace moesim
