#include <doctest/doctest.h>

#include "tests/scenarios/arrivals/arrivals_support.h"

namespace moesim {
namespace {

TEST_CASE("closed-loop requests have no time of their own and use no random numbers") {
  Rng rng(1, "arrivals");
  Rng same(1, "arrivals");
  const auto times =
      make<Arrivals>("closed_loop")->times(4, {.policy = {}, .max_concurrency = 2}, rng);
  CHECK(times == std::vector<std::int64_t>(4, 0));
  CHECK(rng.next() == same.next());
}

}  // namespace
}  // namespace moesim
