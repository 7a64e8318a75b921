#pragma once

#include <vector>

#include "sim/validation/accuracy.h"
#include "sim/validation/serving_rows.h"

namespace moesim {

/// Predicts operating points and adds what they measured to `out.rows`, in order; rows that cannot
/// be predicted go to `out.unsupported` with the reason. Rows of one configuration are simulated
/// once; `jobs` simulations at a time change no result.
void compare_serving(const std::vector<ServingRow>& rows, int jobs, Validation& out);

}  // namespace moesim
