#pragma once

#include <filesystem>
#include <string>

namespace moesim {

/// What a folder of vLLM layer profiles was measured on: PROFILE/meta.yaml and PROFILE/tpN/.
/// Sizes are those of the whole model; a table in tpN shows one rank of N.
struct LayerProfile {
  std::string system;   ///< "rtx_pro_6000"
  std::string version;  ///< of vLLM
  double tp = 1;
  double tp_first = 1;  ///< layers whose shape tp does not change were measured at this degree
                        ///< alone and copied to the others
  double heads = 0, kv_heads = 0, head_dim = 0;
  double hidden = 0, inter = 0, vocab = 0;
  double repeats = 1;  ///< of every batch
};

/// The profile a table belongs to, read from its folder. Throws InputError if meta.yaml is missing,
/// lacks a size or names a card or a model that is not known here.
[[nodiscard]] LayerProfile layer_profile_of(const std::filesystem::path& table);

}  // namespace moesim
