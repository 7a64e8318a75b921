#include "sim/report/difference_interval.h"

#include <boost/math/distributions/normal.hpp>
#include <doctest/doctest.h>
#include <string>
#include <vector>

using namespace moesim;
using doctest::Approx;

TEST_CASE("an interval of two kinds of chance is that of their sum") {
  // Resamples 9, 10, 11 around 10; replicas -2 and +2 around it: sums 7, 8, 9, 11, 12, 13, where
  // two replicas stand at 0.6745 deviations, so that P90 of the line between them is at 0.8 of
  // that, and should be at 1.2816: 2.4 times as far.
  const double far = 2 * 1.2815515655446004 / (0.8 * 0.6744897501960817);
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

TEST_CASE("replicas at the quantiles of a normal distribution give its interval, however many") {
  const boost::math::normal_distribution<double> normal;
  for (const int count : {2, 5, 8, 16, 20, 100}) {
    CAPTURE(count);
    std::vector<double> replicas;
    for (int i = 0; i < count; ++i)
      replicas.push_back(3 + boost::math::quantile(normal, (i + 0.5) / count));
    const auto interval = interval_of({3, {}, replicas});
    REQUIRE(interval);
    CHECK(interval->p10 == Approx(3 - 1.28155));
    CHECK(interval->p90 == Approx(3 + 1.28155));
    CHECK(interval->significant);  // 3 deviations from nothing
  }
}
