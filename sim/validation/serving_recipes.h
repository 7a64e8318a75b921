#pragma once

#include <string>
#include <vector>

#include "sim/validation/scenario_keys.h"
#include "sim/validation/serving_rows.h"

namespace moesim {

/// Sets what the rows of a benchmark do not say one by one but its published launch scripts do, by
/// harness, engine and model: batch limits, memory fractions, KV formats. Call before the row's own
/// cells are set, which win. What a recipe says of one card or model only, and is taken to hold for
/// the row, goes to `assumed`.
///
/// `backend` is "vllm", "sglang" or "trtllm"; `model` a shipped id; `concurrency` 0 if not limited.
/// Returns the KV format of the recipe, empty if it has none.
[[nodiscard]] std::string apply_recipe(const ServingRow& row, const std::string& backend,
                                       const std::string& model, int concurrency,
                                       ScenarioKeys& keys, std::vector<std::string>& assumed);

}  // namespace moesim
