#include <cmath>
#include <doctest/doctest.h>

#include "tests/scenarios/expert_routing/expert_routing_support.h"

using namespace moesim;

TEST_CASE("dirichlet: the spread of shares is that of the distribution") {
  // Var p = (1/E)(1 - 1/E) / (E c + 1), so CV^2 = (E - 1) / (E c + 1); counts of T tokens add
  // (1 - p) / (T p) = (E - K) / (K T).
  for (const double c : {0.6, 1.7}) {
    const auto routing = kind_of("{kind: dirichlet, concentration: " + std::to_string(c) + "}");
    const RoutingTable table = routing->table({200, 64, 4, 0, 0}, {8, 0, 256}, 3, 0);
    double squares = 0;
    for (int layer = 0; layer < 200; ++layer) squares += std::pow(cv(counts_of(table, layer)), 2);
    const double expected = std::sqrt(63 / (64 * c + 1) + 60.0 / (4 * 2048));
    CHECK(std::sqrt(squares / 200) == doctest::Approx(expected).epsilon(0.05));
  }
}

TEST_CASE("dirichlet: the least concentration leaves enough experts to choose") {
  const auto routing = kind_of("{kind: dirichlet, concentration: 0.01}");
  CHECK(routing->table({20, 16, 4, 0, 0}, {2, 0, 50}, 3, 0).rows() == 100);
}
