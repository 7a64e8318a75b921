#pragma once

#include <cmath>
#include <vector>

#include "scenarios/arrivals.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {

/// Mean gap in seconds and coefficient of variation of the gaps, the first counted from 0.
struct Gaps {
  double mean_s = 0, cv = 0;
};
inline Gaps gaps_of(const std::vector<std::int64_t>& times) {
  double sum = 0, squares = 0;
  std::int64_t last = 0;
  for (const std::int64_t time : times) {
    const double gap = static_cast<double>(time - last) / 1e9;
    last = time;
    sum += gap;
    squares += gap * gap;
  }
  const auto n = static_cast<double>(times.size());
  const double mean = sum / n;
  return {mean, std::sqrt(squares / n - mean * mean) / mean};
}

inline std::vector<std::int64_t> times_of(const char* kind, std::int64_t count,
                                          const ArrivalSpec& spec) {
  Rng rng(11, "arrivals");
  return make<Arrivals>(kind)->times(count, spec, rng);
}

}  // namespace moesim
