#include "sim/validation/published_formats.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <string_view>

#include "models/hf_config.h"
#include "sim/base/utf8.h"
#include "sim/validation/published_names.h"

namespace moesim {
namespace {

/// Number formats of the tables: scenario.md's names, vLLM's and those of publications. Four-bit
/// integers of unknown making are stored as GPTQ's, which AWQ's equal in size.
struct FormatName {
  std::string_view published;
  NumberFormat format;
};
constexpr std::array kFormats = {FormatName{"bf16", NumberFormat::kBf16},
                                 FormatName{"bfloat16", NumberFormat::kBf16},
                                 FormatName{"fp16", NumberFormat::kFp16},
                                 FormatName{"float16", NumberFormat::kFp16},
                                 FormatName{"fp16/bf16", NumberFormat::kBf16},
                                 FormatName{"fp8", NumberFormat::kFp8},
                                 FormatName{"fp8_e4m3", NumberFormat::kFp8},
                                 FormatName{"fp8-dynamic", NumberFormat::kFp8},
                                 FormatName{"fp8-block", NumberFormat::kFp8Block},
                                 FormatName{"fp8_block", NumberFormat::kFp8Block},
                                 FormatName{"int8", NumberFormat::kInt8},
                                 FormatName{"int8_wo", NumberFormat::kInt8},
                                 FormatName{"int4", NumberFormat::kGptqInt4},
                                 FormatName{"int4_wo", NumberFormat::kGptqInt4},
                                 FormatName{"gptq", NumberFormat::kGptqInt4},
                                 FormatName{"gptq_int4", NumberFormat::kGptqInt4},
                                 FormatName{"awq", NumberFormat::kAwqInt4},
                                 FormatName{"awq_int4", NumberFormat::kAwqInt4},
                                 FormatName{"q4_k_m", NumberFormat::kQ4KM},
                                 FormatName{"mxfp4", NumberFormat::kMxfp4},
                                 FormatName{"nvfp4", NumberFormat::kNvfp4}};

/// The same of KV entries: what scenario.md has for `precision.kv_cache`, and vLLM's names.
struct KvName {
  std::string_view published;
  const char* name;
};
constexpr std::array kKvFormats = {KvName{"bf16", "bf16"},   KvName{"bfloat16", "bf16"},
                                   KvName{"fp16", "fp16"},   KvName{"float16", "fp16"},
                                   KvName{"fp8", "fp8"},     KvName{"fp8_e4m3", "fp8"},
                                   KvName{"fp8_e5m2", "fp8"}};

/// In lower case and without a remark; empty for "auto", too.
std::string stated_name(const std::string& published) {
  const std::string name = lower_case(without_remark(published));
  return name == "auto" ? "" : name;
}

/// Published fp8 checkpoints that quantise the feed-forward layers only: "The Llama 3 Herd of
/// Models" (2024), 6.2. It spares the first and last layer, too, which we do not: 1 % of its bytes.
constexpr std::array<std::string_view, 1> kFeedForwardOnly = {"meta-llama/Llama-3.1-405B"};

/// Of most of the weights.
NumberFormat main_format(const ModelSpec& model) {
  return model.is_moe() ? model.precisions.experts : model.precisions.dense_ffn;
}

bool is_four_bit_integer(NumberFormat format) {
  return format == NumberFormat::kAwqInt4 || format == NumberFormat::kGptqInt4 ||
         format == NumberFormat::kInt4Group32;
}

/// A checkpoint of integers published again in another 4-bit format: the same parts of it.
void replace_integers(Precisions& parts, NumberFormat format) {
  for (NumberFormat* part :
       {&parts.attention, &parts.dense_ffn, &parts.shared_experts, &parts.experts}) {
    if (is_four_bit_integer(*part)) *part = format;
  }
}

}  // namespace

std::string weight_format_of(const std::string& published) {
  const std::string name = stated_name(published);
  const auto* const found = std::ranges::find(kFormats, name, &FormatName::published);
  return found == kFormats.end() ? name : to_text(found->format);
}

std::string kv_format_of(const std::string& published) {
  const std::string text = stated_name(published);
  const std::string name = text.substr(0, text.find(' '));  // "bf16 MLA latent"
  const auto* const found = std::ranges::find(kKvFormats, name, &KvName::published);
  if (found != kKvFormats.end()) return found->name;
  return name == "auto" ? "" : name;
}

std::string store_weights(ModelSpec& model, const std::string& published,
                          std::vector<std::string>& assumed) {
  const std::string name = stated_name(published);
  const NumberFormat own = main_format(model);
  if (name.empty()) {
    assumed.push_back(to_text(own) + " weights");
    return "";
  }
  const auto* const found = std::ranges::find(kFormats, name, &FormatName::published);
  if (found == kFormats.end())
    return fmt::format("weight format '{}' is not known", without_remark(published));
  const int bits = payload_bits(found->format);
  if (bits != 16 && bits >= payload_bits(own)) {
    if (bits > payload_bits(own)) assumed.push_back(to_text(own) + " weights, as published");
    if (is_four_bit_integer(own) && bits == 4 && !is_four_bit_integer(found->format))
      replace_integers(model.precisions, found->format);
    return "";
  }
  const bool feed_forward_only =
      bits == 8 && std::ranges::find(kFeedForwardOnly, model.id) != kFeedForwardOnly.end();
  if (feed_forward_only) {
    model.precisions.dense_ffn = found->format;
  } else {
    apply_precision(model, {.weights = to_text(found->format)});
  }
  // NVIDIA's ModelOpt checkpoints leave latent attention in 16 bit: `exclude_modules` in the
  // hf_quant_config.json of DeepSeek-V3-0324-NVFP4.
  if (found->format == NumberFormat::kNvfp4 && model.is_mla())
    model.precisions.attention = model.precisions.activation;
  return "";
}

std::string store_kv(ModelSpec& model, const std::string& published) {
  const std::string name = kv_format_of(published);
  if (name.empty()) return "";
  if (std::ranges::find(kKvFormats, name, &KvName::published) == kKvFormats.end())
    return fmt::format("KV format '{}' is not known", without_remark(published));
  apply_precision(model, {.kv_cache = name});
  return "";
}

}  // namespace moesim
