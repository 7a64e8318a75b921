#pragma once

#include <string>
#include <vector>

#include "models/model.h"

namespace moesim {

/// Stores the weights of `model` as a measurement table names them ("fp8", "nvfp4", "mxfp4
/// (experts)", "int4_wo", ...); nothing stated is the checkpoint's own format, and `assumed` says
/// which. Returns why that is impossible, in a sentence, or nothing.
///
/// A checkpoint that is quantised already keeps its own layout (which parts, which blocks) where it
/// is as narrow as the format named, or narrower.
[[nodiscard]] std::string store_weights(ModelSpec& model, const std::string& published,
                                        std::vector<std::string>& assumed);

/// The same for KV entries: "auto", "bf16", "fp16", "fp8"; nothing stated is the checkpoint's own.
[[nodiscard]] std::string store_kv(ModelSpec& model, const std::string& published);

}  // namespace moesim
