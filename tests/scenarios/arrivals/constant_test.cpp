#include <doctest/doctest.h>

#include "tests/scenarios/arrivals/arrivals_support.h"

namespace moesim {
namespace {

TEST_CASE("constant arrivals start at 0 and do not drift") {
  const auto times = times_of("constant", 3'000'001, {.policy = {}, .request_rate = 3});
  CHECK(times[0] == 0);
  CHECK(times[1] == 333'333'333);
  CHECK(times[3] == 1'000'000'000);
  CHECK(times[3'000'000] == 1'000'000'000'000'000);
}

}  // namespace
}  // namespace moesim
