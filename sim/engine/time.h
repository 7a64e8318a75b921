#pragma once

#include <cmath>
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
  return ns < 1 ? 1 : static_cast<SimTime>(std::llround(ns));
}

}  // namespace moesim
