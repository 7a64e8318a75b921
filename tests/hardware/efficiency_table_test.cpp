#include "hardware/efficiency_table.h"

#include <cmath>
#include <doctest/doctest.h>

namespace moesim {
namespace {

EfficiencyTable plane() {
  EfficiencyTable table;
  table.axes = {{0, 0, 1, 3}, {1, 10, 2, 2}};
  // value = x + (y - 10) / 2 at the knots
  table.values = {0, 1, 1, 2, 2, 3};
  table.near = {9, 9, 9, 9, 9, 0};
  return table;
}

}  // namespace

TEST_CASE("an efficiency table is multilinear between its knots") {
  const EfficiencyTable table = plane();
  for (const double x : {0.0, 0.25, 1.0, 1.5, 2.0}) {
    for (const double y : {10.0, 10.5, 12.0}) {
      const auto answer = table.at({x, y});
      CHECK(answer.log_factor == doctest::Approx(x + (y - 10) / 2));
      CHECK(answer.inside);
    }
  }
}

TEST_CASE("beyond its knots a table fades to no correction") {
  const EfficiencyTable table = plane();
  const double edge = table.at({2, 10}).log_factor;
  double last = edge;
  for (const double x : {2.5, 4.0, 8.0, 30.0}) {
    const auto answer = table.at({x, 10});
    CHECK_FALSE(answer.inside);
    CHECK(std::abs(answer.log_factor) < std::abs(last));
    last = answer.log_factor;
  }
  CHECK(std::abs(last) < 0.001);
}

TEST_CASE("support falls where knots had no data") {
  const EfficiencyTable table = plane();
  CHECK(table.at({0, 10}).support == doctest::Approx(1));
  CHECK(table.at({2, 12}).support == doctest::Approx(0));
  CHECK(table.at({2, 11}).support == doctest::Approx(0.5));
}

TEST_CASE("corner weights sum to one, also with axes of a single knot") {
  EfficiencyTable table;
  table.axes = {{0, 0, 1, 1}, {1, 0, 1, 4}, {2, 0, 1, 3}, {3, 0, 1, 2}};
  std::array<EfficiencyTable::Corner, 16> corner;
  for (const double x : {-1.0, 0.3, 1.7, 9.0}) {
    double distance = 0;
    const int count = table.corners({x, x, x, x}, corner, distance);
    double sum = 0;
    for (int i = 0; i < count; ++i) {
      const auto& c = corner[static_cast<std::size_t>(i)];
      sum += c.weight;
      CHECK(c.knot >= 0);
      CHECK(static_cast<std::size_t>(c.knot) < table.size());
    }
    CHECK(sum == doctest::Approx(1));
  }
}

}  // namespace moesim
