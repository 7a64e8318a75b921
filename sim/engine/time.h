#pragma once

#include <cstdint>
#include <limits>

#include "sim/base/units.h"

namespace moesim {

/// Simulated time in whole nanoseconds since the start of the run.
using SimTime = std::int64_t;
inline constexpr SimTime kNever = std::numeric_limits<SimTime>::max();

/// The one place where Seconds are rounded: to nearest, at least 1 ns for anything above zero.
[[nodiscard]] inline SimTime to_sim_time(Seconds time) {
  const double ns = time.value() * 1e9;
  if (ns <= 0) return 0;
  if (ns < 1) return 1;
  // As std::llround, without the call: what is cut off is exact.
  const auto whole = static_cast<SimTime>(ns);
  return whole + (ns - static_cast<double>(whole) >= 0.5 ? 1 : 0);
}

}  // namespace moesim
