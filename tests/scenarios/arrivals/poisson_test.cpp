#include <algorithm>
#include <doctest/doctest.h>
#include <limits>

#include "tests/scenarios/arrivals/arrivals_support.h"

namespace moesim {
namespace {

TEST_CASE("Poisson gaps have mean 1/rate and variation 1") {
  const Gaps gaps = gaps_of(times_of("poisson", 200'000, {.policy = {}, .request_rate = 4}));
  CHECK(gaps.mean_s == doctest::Approx(0.25).epsilon(0.01));
  CHECK(gaps.cv == doctest::Approx(1).epsilon(0.01));
}

TEST_CASE("counts of a Poisson process vary as much as their mean") {
  const auto times = times_of("poisson", 100'000, {.policy = {}, .request_rate = 10});
  std::vector<double> counts(9000, 0);
  for (const std::int64_t time : times) {
    const auto window = static_cast<std::size_t>(time / 1'000'000'000);
    if (window < counts.size()) ++counts[window];
  }
  double sum = 0, squares = 0;
  for (const double count : counts) {
    sum += count;
    squares += count * count;
  }
  const double mean = sum / 9000;
  CHECK((squares / 9000 - mean * mean) / mean == doctest::Approx(1).epsilon(0.05));
}

TEST_CASE("an infinite rate sends all at 0") {
  const auto times = times_of(
      "poisson", 5, {.policy = {}, .request_rate = std::numeric_limits<double>::infinity()});
  CHECK(times == std::vector<std::int64_t>(5, 0));
}

}  // namespace
}  // namespace moesim
