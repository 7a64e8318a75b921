#pragma once

#include <cmath>
#include <cstdint>

namespace moesim {

/// Requests arrive within 10^9 s (31 years) of the start: 64 bits of nanoseconds hold nine times as
/// much, and a run ends after its last request.
inline constexpr std::int64_t kLastArrivalNs = 1'000'000'000'000'000'000;

/// Whole nanoseconds; one more than kLastArrivalNs for all that is later.
[[nodiscard]] inline std::int64_t arrival_ns(double seconds) {
  const double ns = seconds * 1e9;
  return ns <= static_cast<double>(kLastArrivalNs) ? std::llround(ns) : kLastArrivalNs + 1;
}

}  // namespace moesim
