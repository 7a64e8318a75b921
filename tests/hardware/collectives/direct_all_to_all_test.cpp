#include <doctest/doctest.h>

#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

TEST_CASE("direct all-to-all sends (n-1)/n of the buffer from every GPU") {
  struct Case {
    const char* why;
    int ranks;
    std::int64_t bytes;
    double expect_us;
  };
  const Case cases[] = {
      {"one rank keeps its rows", 1, 1'000'000, 0},
      {"no bytes: 3.2 + 0.12 x 3 hops of 1 us", 4, 0, 10 + 3.56},
      {"Simple: 75 MB at 100 GB/s", 4, 100'000'000, 10 + 6 * 3.56 + 750},
      {"two ranks exchange half", 2, 100'000'000, 10 + 6 * 3.32 + 500},
  };
  const Topology topology(round_cluster());
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(time_us("direct_all_to_all", CollectiveKind::kAllToAll, c.bytes, topology, c.ranks) ==
          doctest::Approx(c.expect_us).epsilon(1e-9));
  }
}

// Two nodes of four, each GPU with its NIC: 4 remote peers x S/8 = S/2 per NIC at 10 GB/s. The
// longest hop goes over the spine: 0.5 + 0.5 + 2 + 2 + 2 + 2 + 0.5 + 0.5 = 10 us.
TEST_CASE("direct all-to-all between nodes is bound by the NICs") {
  const Topology topology(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}));
  CHECK(time_us("direct_all_to_all", CollectiveKind::kAllToAll, 100'000'000, topology) ==
        doctest::Approx(30 + 6 * (3.2 + 0.12 * 7) * 10 + 5000));
}

TEST_CASE("oversubscribed leaves slow an all-to-all down in proportion") {
  const auto bytes_us = [](double oversubscription) {
    const Topology topology(round_cluster(
        {.count = 4, .preset = NetworkPreset::kLeafSpine, .oversubscription = oversubscription}));
    return time_us("direct_all_to_all", CollectiveKind::kAllToAll, 2'000'000'000, topology) -
           time_us("direct_all_to_all", CollectiveKind::kAllToAll, 1'000'000'000, topology);
  };
  // Two leaves of two nodes. NIC: 12 remote peers x S/16 = 0.75 S at 10 GB/s. Up-link: 8 x 8 pairs
  // x S/16 = 4 S at 80 GB/s / oversubscription: the NIC still decides at 1, the up-link from 1.5.
  CHECK(bytes_us(1) == doctest::Approx(75'000));
  CHECK(bytes_us(2) == doctest::Approx(100'000));
  CHECK(bytes_us(4) == doctest::Approx(200'000));
}

}  // namespace
}  // namespace moesim
