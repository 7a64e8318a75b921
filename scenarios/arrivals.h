#pragma once

#include <cstdint>
#include <vector>

#include "sim/base/random.h"

namespace moesim {

struct ArrivalSpec;

/// When requests are sent. Registered: poisson, gamma, constant, closed_loop, all_at_once.
class Arrivals {
 public:
  virtual ~Arrivals() = default;
  /// `count` non-decreasing times in nanoseconds, the first at or after 0. closed_loop returns
  /// zeros.
  [[nodiscard]] virtual std::vector<std::int64_t> times(std::int64_t count, const ArrivalSpec& spec,
                                                        Rng& rng) const = 0;
};

}  // namespace moesim
