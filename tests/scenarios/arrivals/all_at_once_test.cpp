#include <algorithm>
#include <doctest/doctest.h>

#include "tests/scenarios/arrivals/arrivals_support.h"

namespace moesim {
namespace {

TEST_CASE("all at once is time 0 for everyone") {
  CHECK(times_of("all_at_once", 3, {}) == std::vector<std::int64_t>(3, 0));
}

TEST_CASE("every kind of arrival gives as many times as asked, in order, from 0 on") {
  for (const std::string& kind : Registry<Arrivals>::names()) {
    CAPTURE(kind);
    const auto times =
        times_of(kind.c_str(), 1000, {.policy = {}, .request_rate = 5, .max_concurrency = 2});
    CHECK(times.size() == 1000);
    CHECK(times.front() >= 0);
    CHECK(std::ranges::is_sorted(times));
    CHECK(times_of(kind.c_str(), 0, {.policy = {}, .request_rate = 5}).empty());
  }
}

}  // namespace
}  // namespace moesim
