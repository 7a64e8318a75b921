#include "scenarios/routing_counts.h"

#include <doctest/doctest.h>
#include <vector>

#include "sim/base/random.h"

namespace moesim {
namespace {

TEST_CASE("counts of rows are the tokens of each expert, whatever the widths") {
  for (const int experts : {16, 300}) {
    for (const int top_k : {1, 2, 3, 4, 6, 8}) {
      CAPTURE(experts);
      CAPTURE(top_k);
      RoutingTable table({.layers = 3, .experts = experts, .top_k = top_k}, 20);
      Rng rng(1, "counts");
      for (std::uint64_t row = 0; row < 20; ++row) {
        for (int layer = 0; layer < 3; ++layer) {
          const auto begin = static_cast<int>(rng.below(static_cast<std::uint32_t>(experts)));
          for (int rank = 0; rank < top_k; ++rank)
            table.set(row, layer, rank, (begin + rank) % experts);
        }
      }
      const std::vector<std::uint64_t> rows = {3, 19, 0, 3, 7, 8, 9, 10, 3};
      const auto cells = static_cast<std::size_t>(3 * experts);
      std::vector<std::uint16_t> narrow(cells, 5), expected(cells, 5);
      std::vector<std::uint32_t> wide(cells, 5), run(cells, 0), run_expected(cells, 0);
      const auto count = [&](std::uint64_t row, auto& into) {
        for (int layer = 0; layer < 3; ++layer) {
          for (int rank = 0; rank < top_k; ++rank)
            ++into[static_cast<std::size_t>(layer * experts + table.expert(row, layer, rank))];
        }
      };
      for (const std::uint64_t row : rows) count(row, expected);
      for (std::uint64_t row = 2; row < 20; ++row) count(row, run_expected);
      count_rows(table, rows, std::span(narrow));
      count_rows(table, rows, std::span(wide));
      count_run(table, 2, 18, run);
      CHECK(narrow == expected);
      CHECK(std::equal(wide.begin(), wide.end(), expected.begin()));
      CHECK(run == run_expected);
    }
  }
}

}  // namespace
}  // namespace moesim
