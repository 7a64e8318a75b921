#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "models/model.h"
#include "sim/base/diagnostic.h"

namespace moesim {

/// Reads a Hugging Face config.json (merging text_config / llm_config / language_config first, and
/// hf_quant_config.json beside it if there is one) by the tables of glossary 5. Unknown
/// `architectures` or `model_type`, a missing key or an implausible number are InputErrors naming
/// the key; nothing is guessed.
[[nodiscard]] ModelSpec read_hf_config(const std::string& json, const std::string& file_name,
                                       const std::string& id);

/// A model by shipped id ("mistralai/Mixtral-8x7B-v0.1", or its last part, case-insensitive), by
/// the path of a config.json or of its folder. `where` is the place of the name, for the error
/// message.
[[nodiscard]] ModelSpec load_model(const std::string& name,
                                   const std::filesystem::path& relative_to, const Where& where);

/// Ids of all shipped models, sorted.
[[nodiscard]] std::vector<std::string> shipped_models();

/// What `moesim import hf_config` writes: only the keys we need, pretty-printed, with the id and
/// source.
[[nodiscard]] std::string minimal_config(const std::string& json, const std::string& file_name,
                                         const std::string& id);

/// Applies scenario `precision`: "auto" keeps the config's. `weights` overrides all linear layers
/// (router, norms, embedding and LM head stay 16 bit, except GGUF which quantises them too),
/// `experts` the routed experts, `kv_cache` the KV.
struct PrecisionOverrides {
  std::string weights = "auto";
  std::string experts = "auto";
  std::string kv_cache = "auto";
};
void apply_precision(ModelSpec& model, const PrecisionOverrides& overrides);

}  // namespace moesim
