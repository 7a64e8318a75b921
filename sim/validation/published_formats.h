#pragma once

#include <string>
#include <vector>

#include "models/model.h"

namespace moesim {

/// A weight format of a measurement table ("FP8", "mxfp4 (experts)", "int4_wo", "awq", ...) as
/// scenarios call it (scenario.md `precision`): "fp8", "mxfp4", "gptq_int4", "awq_int4". Empty for
/// nothing stated and for "auto"; what is not known stays, in lower case.
[[nodiscard]] std::string weight_format_of(const std::string& published);

/// Stores the weights of `model` as a measurement table names them; nothing stated, or "auto", is
/// the checkpoint's own format, and `assumed` says which. Returns why that is impossible, in a
/// sentence, or nothing.
///
/// A checkpoint that is quantised already keeps its own layout (which parts, which blocks) where it
/// is as narrow as the format named, or narrower.
[[nodiscard]] std::string store_weights(ModelSpec& model, const std::string& published,
                                        std::vector<std::string>& assumed);

/// "bf16", "fp16" or "fp8" of KV entries as a table names them ("FP8", "fp8_e4m3"); empty for
/// nothing stated and for "auto"; what is not known stays, in lower case.
[[nodiscard]] std::string kv_format_of(const std::string& published);

/// The same for KV entries; nothing stated is the checkpoint's own.
[[nodiscard]] std::string store_kv(ModelSpec& model, const std::string& published);

}  // namespace moesim
