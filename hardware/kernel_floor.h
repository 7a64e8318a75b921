#pragma once

#include <string>

#include "hardware/kernel_shape.h"
#include "sim/base/units.h"

namespace moesim {

/// How much faster than a datasheet a kernel may be before something is wrong: clocks above the
/// nominal boost and rounded figures make 5 % (calibration.md 10, rules 7 and 9).
inline constexpr double kDatasheetMargin = 1.05;

/// The least time a call can take by the datasheet: the larger of its multiplications at the peak
/// rate, its weights or cached keys from memory less what L2 can have kept of them, and its message
/// over the links. 0 for an operator that is not known. `op` and `shape` as in samples and
/// profiles.
[[nodiscard]] Seconds least_time(const std::string& op, const KernelShape& shape,
                                 const DeviceCeilings& device);

}  // namespace moesim
