#include <doctest/doctest.h>

#include "tests/models/placements/placements_support.h"

namespace moesim {
namespace {

TEST_CASE("linear: consecutive experts, the remainder on the first ranks") {
  const PlacementInput input{.layers = 1, .experts = 10, .ranks = 4};
  const ExpertPlacement placement = make_placement({.name = "linear"})->place(input);
  CHECK(placement.first_slot == std::vector<int>{0, 3, 6, 8, 10});
  CHECK(slots_of("linear", input) == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
}

TEST_CASE("linear: redundant slots copy the first experts, at the end") {
  CHECK(slots_of("linear", {.layers = 2, .experts = 6, .ranks = 4, .redundant = 2}, 1) ==
        std::vector<int>{0, 1, 2, 3, 4, 5, 0, 1});
  CHECK(slots_of("linear", {.layers = 1, .experts = 2, .ranks = 5, .redundant = 3}) ==
        std::vector<int>{0, 1, 0, 1, 0});
}

}  // namespace
}  // namespace moesim
