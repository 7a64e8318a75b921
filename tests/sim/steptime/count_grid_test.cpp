#include "sim/steptime/count_grid.h"

#include <doctest/doctest.h>
#include <limits>
#include <vector>

using namespace moesim;

TEST_CASE("every count lies between two of the grid, whose numbers follow each other") {
  const std::vector<CountGrid> grids = {{4, 2}, {6, 3}, {3, 3}};
  for (const CountGrid& grid : grids) {
    CountGrid::Neighbours before = grid.at(1);
    CHECK(before.low == 1);
    CHECK(before.slot == 1);
    for (int count = 2; count < 5000; ++count) {
      const CountGrid::Neighbours near = grid.at(count);
      CAPTURE(count);
      CHECK(near.low <= count);
      CHECK(count <= near.high);
      CHECK(near.low + near.part(count) * (near.high - near.low) == doctest::Approx(count));
      // The next interval begins where this one ends.
      if (near.low != before.low) {
        CHECK(near.slot == before.slot + 1);
        if (before.high > before.low) CHECK(near.low == before.high);
      }
      // Small counts are exact, larger ones within a step of an octave.
      if (count <= 1 << grid.exact_bits) CHECK(near.low == count);
      const int within_octave = (near.high - near.low) << grid.octave_bits;
      CHECK(within_octave <= near.low);
      before = near;
    }
    const int most = std::numeric_limits<int>::max();
    CHECK(grid.at(most).slot < grid.slots());
    CHECK(grid.at(most).high == most);
    CHECK(grid.at(most).low < most);
  }
}
