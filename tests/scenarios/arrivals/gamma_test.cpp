#include <doctest/doctest.h>

#include "tests/scenarios/arrivals/arrivals_support.h"

namespace moesim {
namespace {

TEST_CASE("gamma gaps have mean 1/rate and variation 1/sqrt(burstiness)") {
  for (const double burstiness : {0.25, 1.0, 4.0}) {
    CAPTURE(burstiness);
    const Gaps gaps = gaps_of(
        times_of("gamma", 200'000, {.policy = {}, .request_rate = 2, .burstiness = burstiness}));
    CHECK(gaps.mean_s == doctest::Approx(0.5).epsilon(0.015));
    CHECK(gaps.cv == doctest::Approx(1 / std::sqrt(burstiness)).epsilon(0.015));
  }
}

}  // namespace
}  // namespace moesim
