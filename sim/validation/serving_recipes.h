#pragma once

#include <string>
#include <vector>

#include "sim/validation/scenario_keys.h"
#include "sim/validation/serving_rows.h"

namespace moesim {

/// A row in our names: settings go by these, not by its spelling.
struct RecipeTarget {
  std::string backend;       ///< "vllm", "sglang" or "trtllm"
  std::string release;       ///< stated or by date; "" for the newest
  std::string model;         ///< a shipped id
  std::string system;        ///< "b200_sxm"
  std::string weight_dtype;  ///< as published
  int concurrency = 0;       ///< 0 if not limited
};

/// Sets what the rows of a benchmark do not say one by one but its published launch scripts do, by
/// harness, engine and model: batch limits, memory fractions, KV formats. Call before the row's own
/// cells are set, which win. What a recipe says of one card or model only, and is taken to hold for
/// the row, goes to `assumed`, and so does that scripts are of later releases than the row's.
///
/// Returns the KV format of the recipe, empty if it has none.
[[nodiscard]] std::string apply_recipe(const ServingRow& row, const RecipeTarget& target,
                                       ScenarioKeys& keys, std::vector<std::string>& assumed);

}  // namespace moesim
