#include <doctest/doctest.h>

#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

// Protocols (link_loads.h): LL h 1, b 0.07; LL128 h 1.45, b 0.57; Simple h 6, b 1. Round world: 10
// us a call, 1 us a hop, 100 GB/s.
TEST_CASE("ring costs what the formula says inside a node") {
  struct Case {
    const char* why;
    CollectiveKind kind;
    int ranks;
    std::int64_t bytes;
    double expect_us;
  };
  const Case cases[] = {
      {"one rank sends nothing", CollectiveKind::kAllReduce, 1, 1'000'000, 0.0},
      {"no bytes: the call and 6 hops", CollectiveKind::kAllReduce, 4, 0, 10 + 6},
      {"LL: 1.5 x 1 kB at 7 GB/s", CollectiveKind::kAllReduce, 4, 1'000, 16 + 0.2142857142857},
      {"LL128: 1.5 MB at 57 GB/s", CollectiveKind::kAllReduce, 4, 1'000'000,
       10 + 8.7 + 26.31578947368},
      {"Simple: 150 MB at 100 GB/s", CollectiveKind::kAllReduce, 4, 100'000'000, 10 + 36 + 1500},
      {"two ranks: the buffer once", CollectiveKind::kAllReduce, 2, 100'000'000, 10 + 12 + 1000},
      {"all-gather: half the hops and bytes", CollectiveKind::kAllGather, 4, 100'000'000,
       10 + 18 + 750},
      {"reduce-scatter as all-gather", CollectiveKind::kReduceScatter, 4, 100'000'000,
       10 + 18 + 750},
      {"broadcast: every link carries all", CollectiveKind::kBroadcast, 4, 100'000'000,
       10 + 18 + 1000},
  };
  const Topology topology(round_cluster());
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(time_us("ring", c.kind, c.bytes, topology, c.ranks) ==
          doctest::Approx(c.expect_us).epsilon(1e-9));
  }
}

// Two nodes of four GPUs and NICs: four circles of S/4, each over its own NIC pair.
//   around = 2 nodes x (4 NVLink hops of 1 us + 1 network hop of 0.5 + 0.5 + 2 + 2 + 0.5 + 0.5 us)
//   = 20 us hops = 2 x 7/8 x 20 = 35 us; NIC share 2 x 7/8 / 4 = 0.4375 at 10 GB/s
TEST_CASE("ring across nodes uses every NIC") {
  const Topology topology(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}));
  CHECK(time_us("ring", CollectiveKind::kAllReduce, 0, topology) == doctest::Approx(10 + 20 + 35));
  CHECK(time_us("ring", CollectiveKind::kAllReduce, 100'000'000, topology) ==
        doctest::Approx(30 + 6 * 35 + 4375));
}

TEST_CASE("ring over GPUs that share a NIC waits for it") {
  const Topology own(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}));
  const Topology shared(round_cluster(
      {.count = 2, .preset = NetworkPreset::kRailOptimized, .node = {.gpus = 4, .nics = 1}}));
  const auto bytes_us = [](const Topology& topology) {
    return time_us("ring", CollectiveKind::kAllReduce, 1'000'000'000, topology) -
           time_us("ring", CollectiveKind::kAllReduce, 900'000'000, topology);
  };
  CHECK(bytes_us(shared) == doctest::Approx(4 * bytes_us(own)));
}

// Two switches of four cards; the circle crosses the host bridge once each way, so PCIe is the
// limit everywhere.
TEST_CASE("ring over PCIe runs at the speed of one slot") {
  const Topology topology(round_cluster({.node = {.nvlink = false, .gpus = 8}}));
  // 6 hops of 1 us inside the switches, 2 of 2 us over the bridge; 2 x 7/8 of the way around,
  // Simple: x 6.
  CHECK(time_us("ring", CollectiveKind::kAllReduce, 100'000'000, topology) ==
        doctest::Approx(10 + 6 * 1.75 * 10 + 1750));
}

}  // namespace
}  // namespace moesim
