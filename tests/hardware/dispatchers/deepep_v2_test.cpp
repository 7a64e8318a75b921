#include <doctest/doctest.h>

#include "tests/hardware/dispatch_support.h"
#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

TEST_CASE("deepep_v2 costs what deepep_high_throughput does") {
  DispatchWorld world(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}), 8);
  const LayerTraffic traffic = uniform_traffic(world, 100);
  const DispatchCost own = world.make("deepep_v2")->cost(traffic.view());
  const DispatchCost donor = world.make("deepep_high_throughput")->cost(traffic.view());
  CHECK(own.dispatch_ns == donor.dispatch_ns);
  CHECK(own.combine_ns == donor.combine_ns);
  CHECK(own.dispatch_bytes_inter == donor.dispatch_bytes_inter);
  CHECK(world.make("deepep_v2")->source().donor);
  CHECK(world.make("deepep_v2")->source().spread > 0.2);
}

TEST_CASE("deepep_v2 needs fewer SMs than the kernels before it") {
  DispatchWorld world(round_cluster(), 4);
  CHECK(world.make("deepep_v2")->sms() == 12);
}

}  // namespace
}  // namespace moesim
