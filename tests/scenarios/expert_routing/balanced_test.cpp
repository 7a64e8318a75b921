#include <doctest/doctest.h>

#include "tests/scenarios/expert_routing/expert_routing_support.h"

using namespace moesim;

TEST_CASE("balanced: any run of rows loads all experts alike to one token") {
  const RoutingShape shape{3, 12, 5, 0, 0};
  const auto routing = kind_of("{kind: balanced}");
  CHECK(routing->consecutive_rows());
  const RoutingTable table = routing->table(shape, {2, 0, 50}, 1, 0);
  for (int layer = 0; layer < 3; ++layer) {
    for (std::uint64_t first = 0; first < 90; first += 7) {
      std::vector<int> counts(12, 0);
      for (std::uint64_t row = first; row < first + 10; ++row) {
        for (int rank = 0; rank < 5; ++rank)
          ++counts[static_cast<std::size_t>(table.expert(row, layer, rank))];
        CHECK(*std::ranges::max_element(counts) - *std::ranges::min_element(counts) <= 1);
      }
    }
  }
}

TEST_CASE("balanced: layers and seeds differ in the order of the experts") {
  const RoutingShape shape{2, 64, 8, 0, 0};
  const RoutingTable table = kind_of("{kind: balanced}")->table(shape, {1, 0, 8}, 1, 0);
  bool differ = false;
  for (int rank = 0; rank < 8; ++rank)
    differ = differ || table.expert(0, 0, rank) != table.expert(0, 1, rank);
  CHECK(differ);
}
