#include "sim/validation/published_formats.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <string_view>

#include "models/hf_config.h"
#include "sim/validation/published_names.h"

namespace moesim {
namespace {

/// Number formats of the tables.
struct FormatName {
  std::string_view published;
  NumberFormat format;
};
constexpr std::array kFormats = {FormatName{"bf16", NumberFormat::kBf16},
                                 FormatName{"fp16", NumberFormat::kFp16},
                                 FormatName{"fp16/bf16", NumberFormat::kBf16},
                                 FormatName{"fp8", NumberFormat::kFp8},
                                 FormatName{"fp8-dynamic", NumberFormat::kFp8},
                                 FormatName{"fp8-block", NumberFormat::kFp8Block},
                                 FormatName{"fp8_block", NumberFormat::kFp8Block},
                                 FormatName{"int8_wo", NumberFormat::kInt8},
                                 FormatName{"int4_wo", NumberFormat::kGptqInt4},
                                 FormatName{"mxfp4", NumberFormat::kMxfp4},
                                 FormatName{"nvfp4", NumberFormat::kNvfp4}};

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

std::string store_weights(ModelSpec& model, const std::string& published,
                          std::vector<std::string>& assumed) {
  const std::string name = without_remark(published);
  const NumberFormat own = main_format(model);
  if (name.empty()) {
    assumed.push_back(to_text(own) + " weights");
    return "";
  }
  const auto* const found = std::ranges::find(kFormats, name, &FormatName::published);
  if (found == kFormats.end()) return fmt::format("weight format '{}' is not known", name);
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
  const std::string text = without_remark(published);
  const std::string name = text.substr(0, text.find(' '));  // "bf16 MLA latent"
  if (name.empty() || name == "auto") return "";
  for (const char* known : {"bf16", "fp16", "fp8"}) {
    if (name != known) continue;
    apply_precision(model, {.kv_cache = name});
    return "";
  }
  return fmt::format("KV format '{}' is not known", name);
}

}  // namespace moesim
