#include <doctest/doctest.h>

#include "tests/hardware/dispatch_support.h"
#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

TEST_CASE("nixl_ep costs what deepep_low_latency does") {
  DispatchWorld world(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}), 8);
  const LayerTraffic traffic = uniform_traffic(world, 100);
  const DispatchCost own = world.make("nixl_ep")->cost(traffic.view());
  const DispatchCost donor = world.make("deepep_low_latency")->cost(traffic.view());
  CHECK(own.dispatch_ns == donor.dispatch_ns);
  CHECK(own.combine_ns == donor.combine_ns);
  CHECK(own.dispatch_bytes_inter == donor.dispatch_bytes_inter);
  CHECK(world.make("nixl_ep")->source().donor);
  CHECK(world.make("nixl_ep")->source().spread > 0.2);
}

}  // namespace
}  // namespace moesim
