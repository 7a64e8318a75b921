// How far drawn steps are from counted ones, as a run reports it of itself.
#include <cmath>
#include <doctest/doctest.h>

#include "sim/steptime/moe_model.h"

using namespace moesim;

TEST_CASE("draws without bias show none, however noisy both sides are") {
  // Drawn and exact each 1 or 9, all pairs alike: the mean of single ratios would be 178 % high.
  SampledError::Sum sum;
  for (const double drawn : {1.0, 9.0}) {
    for (const double exact : {1.0, 9.0}) sum.add(drawn, exact);
  }
  CHECK(sum.mean() == doctest::Approx(0));
  // Differences -8, 0, 0, 8: root of 128 over 4 x 3, over a mean of 5.
  CHECK(sum.error(4) == doctest::Approx(std::sqrt(128.0 / 12) / 5));
}

TEST_CASE("a bias is told as it is, without error where all steps agree on it") {
  SampledError::Sum sum, more;
  sum.add(11, 10);
  sum.add(22, 20);
  more.add(33, 30);
  sum.add(more);
  CHECK(sum.mean() == doctest::Approx(0.1));
  CHECK(sum.error(3) == doctest::Approx(0).epsilon(1e-6));
  CHECK(SampledError::Sum().mean() == 0);
  CHECK(SampledError::Sum().error(5) == 0);
}
