#include "sim/report/difference_interval.h"

#include <doctest/doctest.h>
#include <string>
#include <vector>

using namespace moesim;
using doctest::Approx;

TEST_CASE("an interval of two kinds of chance is that of their sum") {
  // Resamples 9, 10, 11 around 10; replicas -2 and +2 around it: sums 7, 8, 9, 11, 12, 13, where
  // two replicas stand at 0.6745 deviations and P90 is at 1.2816: 1.9 times as far.
  const double far = 2 * 1.2815515655446004 / 0.6744897501960817;
  const auto interval = interval_of({10, {9, 10, 11}, {8, 12}});
  REQUIRE(interval);
  CHECK(interval->p10 == Approx(10 - far - 0.5));  // halfway between the first two of six
  CHECK(interval->p90 == Approx(10 + far + 0.5));
  CHECK(interval->significant);
}

TEST_CASE("one kind of chance alone, or none") {
  const auto requests = interval_of({10, {8, 10, 12}, {}});
  CHECK(requests->p10 == Approx(8.4));
  CHECK(requests->p90 == Approx(11.6));
  const auto same = interval_of({0, {}, {0, 0, 0, 0}});
  CHECK(same->p10 == 0);
  CHECK(same->p90 == 0);
  CHECK_FALSE(same->significant);
  CHECK_FALSE(interval_of({10, {}, {}}));
}

TEST_CASE("fewer replicas never look more certain") {
  struct Case {
    std::string why;
    std::vector<double> replicas;
    bool significant;
  };
  const Case cases[] = {
      {"two replicas on one side of 0, at 0.67 deviations of 1.5", {0.5, 1.5}, false},
      {"two replicas close together", {0.9, 1.1}, true},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(interval_of({1, {}, c.replicas})->significant == c.significant);
  }
}
