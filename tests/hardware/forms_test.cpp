#include "hardware/forms.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>

namespace moesim {

TEST_CASE("the round maximum is the p-norm, of two values and of three in any order") {
  // 3^2 + 4^2 = 5^2; 3^3 + 4^3 + 5^3 = 6^3; 2 * 2^4 = 32.
  CHECK(soft_max(3, 4, 2) == doctest::Approx(5));
  CHECK(soft_max(2, 2, 4) == doctest::Approx(std::pow(32, 0.25)));
  CHECK(soft_max(0, 7, 4) == 7);
  CHECK(soft_max(0, 0, 4) == 0);
  CHECK(soft_max(0, 0, 0, 3) == 0);
  double three[] = {3, 4, 5};
  do {
    CHECK(soft_max(three[0], three[1], three[2], 3) == doctest::Approx(6));
  } while (std::next_permutation(std::begin(three), std::end(three)));
}

TEST_CASE("the round maximum of three is that of two twice, and of power 4 the general one") {
  for (const double p : {1.05, 2.0, 3.7, 8.0}) {
    CAPTURE(p);
    CHECK(soft_max(1e-5, 3e-5, 2e-6, p) ==
          doctest::Approx(soft_max(soft_max(1e-5, 3e-5, p), 2e-6, p)).epsilon(1e-14));
  }
  CHECK(soft_max(1.7, 2.9, 4) ==
        doctest::Approx(std::pow(std::pow(1.7, 4) + std::pow(2.9, 4), 0.25)).epsilon(1e-14));
}

}  // namespace moesim
