#pragma once

#include <atomic>
#include <vector>

#include "sim/validation/accuracy.h"
#include "sim/validation/serving_rows.h"

namespace moesim {

/// Predicts operating points and adds what they measured to `out.rows`, in order; rows that cannot
/// be predicted go to `out.unsupported` with the reason. Rows of one configuration are simulated
/// once; `jobs` simulations at a time change no result. Rows whose simulation had not begun when
/// `stop` was set are counted in `out.unreached` only.
void compare_serving(const std::vector<ServingRow>& rows, int jobs, Validation& out,
                     const std::atomic<bool>* stop = nullptr);

}  // namespace moesim
