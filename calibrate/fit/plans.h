#pragma once

#include <string>

#include "calibrate/fit/curve_fit.h"
#include "hardware/dtypes.h"

namespace moesim {

/// How curves of an operator are fitted; null form if the operator is unknown.
[[nodiscard]] CurvePlan plan_for(const std::string& op, const std::string& kernel,
                                 const std::string& dtype);

}  // namespace moesim
