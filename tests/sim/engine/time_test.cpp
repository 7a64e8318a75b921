#include "sim/engine/time.h"

#include <cmath>
#include <doctest/doctest.h>

#include "sim/base/random.h"

using namespace moesim;

TEST_CASE("seconds round to the nearest nanosecond, halves away from zero") {
  CHECK(to_sim_time(Seconds(0)) == 0);
  CHECK(to_sim_time(Seconds(-1)) == 0);
  CHECK(to_sim_time(Seconds(1e-15)) == 1);  // what takes time takes some
  CHECK(to_sim_time(Seconds(1.0)) == 1'000'000'000);
  Rng rng(1, "to_sim_time");
  for (int i = 0; i < 100'000; ++i) {
    // From nanoseconds to centuries; every other one lies on a half.
    double ns = std::ldexp(1 + rng.uniform(), static_cast<int>(rng.below(60)));
    if (i % 2 == 0) ns = std::floor(ns) + 0.5;
    const double seconds = ns / 1e9;
    CHECK(to_sim_time(Seconds(seconds)) == std::llround(seconds * 1e9));
  }
}
