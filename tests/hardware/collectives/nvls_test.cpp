#include <doctest/doctest.h>

#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

// Eight GPUs: 14 hops at the Simple protocol's 6 us, 9/8 of the buffer at 100 GB/s.
TEST_CASE("the switch sums: little more than the buffer crosses a link") {
  const Topology topology(round_cluster({.node = {.gpus = 8, .sm_version = 90}}));
  CHECK(time_us("nvls", CollectiveKind::kAllReduce, 0, topology) == doctest::Approx(10 + 84));
  CHECK(time_us("nvls", CollectiveKind::kAllReduce, 100'000'000, topology) ==
        doctest::Approx(94 + 1125));
}

TEST_CASE("NVLS needs Hopper, NVSwitch and more than four ranks") {
  const auto supported = [](const NodeOptions& node, int ranks) {
    const Topology topology(round_cluster({.node = node}));
    const std::vector<int> gpus = first_gpus(ranks);
    return algorithm("nvls")->supports({CollectiveKind::kAllReduce, Bytes(1), gpus}, topology);
  };
  CHECK(supported({.gpus = 8, .sm_version = 90}, 8));
  CHECK_FALSE(supported({.gpus = 8, .sm_version = 90}, 4));
  CHECK_FALSE(supported({.gpus = 8, .sm_version = 80}, 8));
  CHECK_FALSE(supported({.nvlink = false, .gpus = 8, .sm_version = 90}, 8));
}

}  // namespace
}  // namespace moesim
