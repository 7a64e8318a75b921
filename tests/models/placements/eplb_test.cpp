#include <doctest/doctest.h>

#include "tests/models/placements/placements_support.h"

namespace moesim {
namespace {

TEST_CASE("eplb starts linear: nothing is known of loads") {
  const PlacementInput input{.layers = 1, .experts = 6, .ranks = 4, .redundant = 2};
  CHECK(slots_of("eplb", input) == slots_of("linear", input));
}

TEST_CASE("eplb copies what is hot and balances each layer by its own load") {
  // Layer 0: slots 0 1 2 3 0 0 carry 3 2 1 1 3 3; heaviest first over 3 ranks: 0 | 0 | 0, then 1 to
  // rank 0 (tie), 2 to rank 1, 3 to rank 2. Layer 1 has expert 3 hot instead.
  const std::vector<double> loads = {9, 2, 1, 1, 1, 1, 2, 9};
  const PlacementInput input{.layers = 2, .experts = 4, .ranks = 3, .redundant = 2, .loads = loads};
  CHECK(slots_of("eplb", input, 0) == std::vector<int>{0, 1, 0, 2, 0, 3});
  CHECK(slots_of("eplb", input, 1) == std::vector<int>{3, 2, 3, 0, 3, 1});
}

TEST_CASE("eplb leaves slots that do not divide over the ranks where linear puts them") {
  const std::vector<double> loads = {5, 1, 1};
  const PlacementInput input{.layers = 1, .experts = 3, .ranks = 2, .loads = loads};
  CHECK(slots_of("eplb", input) == std::vector<int>{0, 1, 2});
}

}  // namespace
}  // namespace moesim
