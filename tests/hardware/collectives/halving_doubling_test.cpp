#include <doctest/doctest.h>

#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

TEST_CASE("halving and doubling: 2 log2 n hops, the bytes of a ring") {
  struct Case {
    const char* why;
    int ranks;
    std::int64_t bytes;
    double expect_us;
  };
  const Case cases[] = {
      {"one rank sends nothing", 1, 1'000'000, 0},
      {"two ranks: S/2 there, S/2 back", 2, 100'000'000, 10 + 6 * 2 + 1000},
      {"four: 1/2 + 1/4, there and back; 4 hops", 4, 100'000'000, 10 + 6 * 4 + 1500},
      {"no bytes: 6 hops for eight", 8, 0, 10 + 6},
  };
  const Topology topology(round_cluster({.node = {.gpus = 8}}));
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(time_us("halving_doubling", CollectiveKind::kAllReduce, c.bytes, topology, c.ranks) ==
          doctest::Approx(c.expect_us).epsilon(1e-9));
  }
}

TEST_CASE("the near partner gets the large half") {
  // Two nodes of two: 1/2 by NVLink, then 1/4 over the NICs; both twice. 10 GB/s decides the second
  // exchange.
  const Topology topology(round_cluster(
      {.count = 2, .preset = NetworkPreset::kRailOptimized, .node = {.gpus = 2, .nics = 2}}));
  CHECK(time_us("halving_doubling", CollectiveKind::kAllReduce, 100'000'000, topology) ==
        doctest::Approx(30 + 6 * (2 * 1 + 2 * 6) + 1000 + 5000));
}

TEST_CASE("halving and doubling is for powers of two") {
  const Topology topology(round_cluster({.node = {.gpus = 8}}));
  const std::vector<int> six = first_gpus(6);
  CHECK_FALSE(algorithm("halving_doubling")
                  ->supports({CollectiveKind::kAllReduce, Bytes(1), six}, topology));
}

}  // namespace
}  // namespace moesim
