#pragma once

#include <nlohmann/json_fwd.hpp>

#include "sim/report/result.h"

// Private to the JSON report.

namespace moesim {

/// `moe` of the report (glossary 7).
[[nodiscard]] nlohmann::ordered_json moe_json(const MoeSection& moe);
/// The nearest number of at most six significant digits, null if it is not finite.
[[nodiscard]] nlohmann::ordered_json json_value(double value);

}  // namespace moesim
