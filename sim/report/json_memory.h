#pragma once

#include <nlohmann/json_fwd.hpp>

#include "sim/report/result.h"

// Private to the JSON report.

namespace moesim {

/// `memory` of the report (glossary 7); beside it `instances[]`, the same for each kind of instance
/// where there are several.
[[nodiscard]] nlohmann::ordered_json memory_json(const MemorySection& memory);

}  // namespace moesim
