#include <doctest/doctest.h>

#include "tests/models/placements/placements_support.h"

namespace moesim {
namespace {

TEST_CASE("round robin: expert e on rank e mod G") {
  // Ranks 0 and 1 have three: {0,4,8}, {1,5,9}, {2,6}, {3,7}.
  CHECK(slots_of("round_robin", {.layers = 1, .experts = 10, .ranks = 4}) ==
        std::vector<int>{0, 4, 8, 1, 5, 9, 2, 6, 3, 7});
}

TEST_CASE("round robin spreads a routing group over all ranks") {
  const auto slots = slots_of("round_robin", {.layers = 1, .experts = 8, .ranks = 4, .groups = 2});
  for (std::size_t rank = 0; rank < 4; ++rank) {
    CHECK(slots[2 * rank] / 4 == 0);      // one expert of group 0 ...
    CHECK(slots[2 * rank + 1] / 4 == 1);  // ... and one of group 1
  }
}

TEST_CASE("round robin goes on dealing redundant slots") {
  CHECK(slots_of("round_robin", {.layers = 1, .experts = 6, .ranks = 4, .redundant = 2}) ==
        std::vector<int>{0, 4, 1, 5, 2, 0, 3, 1});
}

}  // namespace
}  // namespace moesim
