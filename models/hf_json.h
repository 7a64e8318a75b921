#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace moesim {

/// A config.json as one mapping: parsed strictly (no key twice, no absurd nesting), the text
/// model's section merged over the top level, hf_quant_config.json beside `file` taken for
/// quantization_config. Throws InputError. Private to models.
[[nodiscard]] nlohmann::json read_merged_config(const std::string& text, const std::string& file);

}  // namespace moesim
