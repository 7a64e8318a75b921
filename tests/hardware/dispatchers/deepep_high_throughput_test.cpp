#include <doctest/doctest.h>

#include "tests/hardware/dispatch_support.h"
#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

/// 10 kB a token there (12 bytes for each of two experts are index and weight) and 20 kB back.
void round_tokens(DispatchSetup& setup) {
  setup.top_k = 2;
  setup.dispatch_token_bytes = 9976;
  setup.combine_token_bytes = 20000;
}

// Rank 1 gets 300 tokens of four ranks, a quarter its own: 225 x 10 kB at 100 GB/s is 22.5 us.
TEST_CASE("high throughput: a token goes to a rank once, however many experts it has there") {
  DispatchWorld world(round_cluster(), 4);
  round_tokens(world.setup);
  const std::vector<double> held(4, 100), copies = {200, 300, 200, 100}, slots(4, 1e6),
                                          node = {400};
  const DispatchCost cost = world.make("deepep_high_throughput")->cost({held, copies, slots, node});
  CHECK(cost.dispatch_ns == doctest::Approx(26e3 + 22.5e3 / 0.87));
  CHECK(cost.combine_ns == doctest::Approx(49e3 + 45e3 / 0.87));
  CHECK(cost.dispatch_bytes_intra == doctest::Approx(0.75 * 800 * 10e3));
  CHECK(cost.dispatch_bytes_inter == 0);
  CHECK(cost.busiest_rank == 1);
}

// Two nodes of four. An eighth of the 600 tokens for node 0 comes from each rank of node 1: 75 x 10
// kB over a NIC of 10 GB/s. Then a quarter of each rank's 400 is there already, 300 are forwarded.
TEST_CASE("high throughput: over the network once per node, then NVLink") {
  DispatchWorld world(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}), 8);
  round_tokens(world.setup);
  const std::vector<double> held(8, 100), slots(8, 0), node = {600, 500};
  std::vector<double> copies(8, 400);
  const auto backend = world.make("deepep_high_throughput");
  DispatchCost cost = backend->cost({held, copies, slots, node});
  CHECK(cost.dispatch_ns == doctest::Approx(57e3 + 75e3 / 0.92));
  CHECK(cost.combine_ns == doctest::Approx(84e3 + 150e3 / 0.92));
  CHECK(cost.dispatch_bytes_inter == doctest::Approx((300 + 250) * 10e3));
  CHECK(cost.dispatch_bytes_intra == doctest::Approx(8 * 300 * 10e3));
  // Rank 3 gets 1200, of which 900 are forwarded to it: 90 us of NVLink, more than the network.
  copies[3] = 1200;
  cost = backend->cost({held, copies, slots, node});
  CHECK(cost.dispatch_ns == doctest::Approx(57e3 + 90e3 / 0.87));
  CHECK(cost.busiest_rank == 3);
}

// One rank holds everything: all tokens for the other node leave by its NIC and arrive at its twin,
// which forwards all but its own.
TEST_CASE("high throughput: tokens arrive at the GPU of their own local index") {
  DispatchWorld world(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}), 8);
  round_tokens(world.setup);
  std::vector<double> held(8, 0), copies(8, 0), slots(8, 0);
  const std::vector<double> node = {0, 100};
  held[2] = 100;
  copies[6] = 100;  // the twin itself: nothing to forward
  const auto backend = world.make("deepep_high_throughput");
  DispatchCost cost = backend->cost({held, copies, slots, node});
  CHECK(cost.dispatch_bytes_inter == doctest::Approx(100 * 10e3));
  CHECK(cost.dispatch_bytes_intra == 0);
  CHECK(cost.dispatch_ns == doctest::Approx(57e3 + 100e3 / 0.92));
  copies = {0, 0, 0, 0, 0, 100, 0, 0};
  cost = backend->cost({held, copies, slots, node});
  CHECK(cost.dispatch_bytes_intra == doctest::Approx(100 * 10e3));
}

// A node of four and one of two, whose ranks 4 and 5 stand in for local indices 2 and 3: what rank
// 2 sends for rank 4 has arrived when it is over the network.
TEST_CASE("high throughput: in a smaller node a rank stands in for several local indices") {
  DispatchWorld world(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}), 6);
  round_tokens(world.setup);
  const std::vector<double> held = {0, 0, 100, 0, 0, 0}, copies = {0, 0, 0, 0, 100, 0}, slots(6, 0),
                            node = {0, 100};
  const DispatchCost cost = world.make("deepep_high_throughput")->cost({held, copies, slots, node});
  CHECK(cost.dispatch_bytes_inter == doctest::Approx(100 * 10e3));
  CHECK(cost.dispatch_bytes_intra == 0);
  CHECK(cost.combine_bytes_intra == 0);
}

TEST_CASE("high throughput holds 20 SMs, and its starts grow with the nodes") {
  DispatchWorld two(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}), 8);
  DispatchWorld eight(round_cluster({.count = 8, .preset = NetworkPreset::kRailOptimized}), 32);
  CHECK(two.make("deepep_high_throughput")->sms() == 20);
  const auto start = [](const DispatchWorld& world) {
    return world.make("deepep_high_throughput")->cost(uniform_traffic(world, 0).view()).dispatch_ns;
  };
  CHECK(start(two) == doctest::Approx(57e3));
  CHECK(start(eight) == doctest::Approx(2 * 57e3));
}

}  // namespace
}  // namespace moesim
