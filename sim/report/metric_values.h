#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sim/report/result.h"

namespace moesim {

/// Numbers of a result by name.
using MetricValues = std::vector<std::pair<std::string, double>>;

/// Headline numbers of a result, in a fixed order, by the names of `summary` and of `MetricDelta`:
/// those that step times move and that it has.
[[nodiscard]] MetricValues headlines(const RunResult& result);

}  // namespace moesim
