#pragma once

#include <string>
#include <vector>

#include "calibrate/fit/curve_fit.h"
#include "hardware/dtypes.h"

namespace moesim {

/// How curves of an operator are fitted; null form if the operator is unknown.
[[nodiscard]] CurvePlan plan_for(const std::string& op, const std::string& kernel,
                                 const std::string& dtype);

/// Operators that have a form, by name.
[[nodiscard]] std::vector<std::string> fitted_operators();
/// Sizes of KernelShape that must be above 0 in a call of `op`: its form divides by them or takes
/// their logarithms. Empty if the operator is unknown.
[[nodiscard]] std::vector<const char*> sizes_needed(const std::string& op);

}  // namespace moesim
