#include <doctest/doctest.h>

#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

// Two nodes of four: NVLink moves 3/4 S per GPU at 100 GB/s, then each NIC S/2 at 10 GB/s;
// hops 3.56 x 1 us inside and 3.32 x 6 us along a rail.
TEST_CASE("hierarchical all-to-all: NVLink first, rails second") {
  const Topology topology(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}));
  CHECK(time_us("hierarchical_all_to_all", CollectiveKind::kAllToAll, 0, topology) ==
        doctest::Approx(30 + 3.56 + 3.32 * 6));
  CHECK(time_us("hierarchical_all_to_all", CollectiveKind::kAllToAll, 100'000'000, topology) ==
        doctest::Approx(30 + 6 * (3.56 + 3.32 * 6) + 750 + 5000));
}

TEST_CASE("it spares the spine: oversubscription does not slow rails down") {
  const auto over = [](double oversubscription) {
    const Topology topology(round_cluster({.count = 4,
                                           .preset = NetworkPreset::kRailOptimized,
                                           .oversubscription = oversubscription}));
    return time_us("hierarchical_all_to_all", CollectiveKind::kAllToAll, 100'000'000, topology);
  };
  CHECK(over(8) == doctest::Approx(over(1)));
}

TEST_CASE("it needs NVLink nodes with equally many ranks") {
  const auto supported = [](const Topology& topology, const std::vector<int>& gpus) {
    return algorithm("hierarchical_all_to_all")
        ->supports({CollectiveKind::kAllToAll, Bytes(1), gpus}, topology);
  };
  const Topology one(round_cluster());
  const Topology two(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}));
  const Topology pcie(round_cluster(
      {.count = 2, .preset = NetworkPreset::kRailOptimized, .node = {.nvlink = false}}));
  CHECK(supported(two, first_gpus(8)));
  CHECK_FALSE(supported(two, first_gpus(7)));
  CHECK_FALSE(supported(two, {0, 4}));
  CHECK_FALSE(supported(one, first_gpus(4)));
  CHECK_FALSE(supported(pcie, first_gpus(8)));
}

}  // namespace
}  // namespace moesim
