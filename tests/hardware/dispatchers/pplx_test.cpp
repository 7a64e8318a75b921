#include <doctest/doctest.h>

#include "tests/hardware/dispatch_support.h"
#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

// Each rank gets 400 messages, half from the other: 200 x 10 kB at 100 GB/s are 20 us, there at 48
// % and, twice as large, back at 65 %.
TEST_CASE("pplx: a message per (token, expert), slower than the links by what was published") {
  DispatchWorld world(round_cluster(), 2);
  world.setup.dispatch_token_bytes = 9984;
  world.setup.combine_token_bytes = 20000;
  const std::vector<double> held = {50, 50}, slots = {400, 400}, none = {0, 0}, node = {100};
  const DispatchCost cost = world.make("pplx")->cost({held, none, slots, node});
  CHECK(cost.dispatch_ns == doctest::Approx(42e3 + 20e3 / 0.48));
  CHECK(cost.combine_ns == doctest::Approx(42e3 + 40e3 / 0.65));
}

TEST_CASE("pplx: within a node and between nodes it starts differently") {
  DispatchWorld world(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}), 8);
  const DispatchCost cost = world.make("pplx")->cost(uniform_traffic(world, 0).view());
  CHECK(cost.dispatch_ns == doctest::Approx(116e3));
  CHECK(cost.combine_ns == doctest::Approx(60e3));
}

}  // namespace
}  // namespace moesim
