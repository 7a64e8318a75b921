#include <doctest/doctest.h>

#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

TEST_CASE("one-shot reads n-1 buffers") {
  struct Case {
    const char* why;
    int ranks;
    std::int64_t bytes;
    double expect_us;
  };
  const Case cases[] = {
      {"one rank has the sum", 1, 1'000'000, 0},
      {"no bytes: a1", 4, 0, 4},
      {"two ranks: one buffer of 1 MB", 2, 1'000'000, 4 + 10},
      {"four ranks: three buffers", 4, 1'000'000, 4 + 30},
  };
  const Topology topology(round_cluster());
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(time_us("one_shot", CollectiveKind::kAllReduce, c.bytes, topology, c.ranks) ==
          doctest::Approx(c.expect_us).epsilon(1e-9));
  }
}

TEST_CASE("one-shot needs peer access: NVLink, or two ranks, in one node") {
  const auto one_shot = algorithm("one_shot");
  const auto supported = [&](const Topology& topology, int ranks, CollectiveKind kind) {
    const std::vector<int> gpus = first_gpus(ranks);
    return one_shot->supports({kind, Bytes(1), gpus}, topology);
  };
  const Topology nvlink(round_cluster({.node = {.gpus = 16}}));
  const Topology pcie(round_cluster({.node = {.nvlink = false, .gpus = 8}}));
  const Topology two(round_cluster(
      {.count = 2, .preset = NetworkPreset::kRailOptimized, .node = {.gpus = 1, .nics = 1}}));
  CHECK(supported(nvlink, 8, CollectiveKind::kAllReduce));
  CHECK_FALSE(supported(nvlink, 16, CollectiveKind::kAllReduce));
  CHECK_FALSE(supported(nvlink, 8, CollectiveKind::kAllGather));
  CHECK(supported(pcie, 2, CollectiveKind::kAllReduce));
  CHECK_FALSE(supported(pcie, 4, CollectiveKind::kAllReduce));
  const Topology geforce(round_cluster({.node = {.nvlink = false, .peer_access = false}}));
  CHECK_FALSE(supported(geforce, 2, CollectiveKind::kAllReduce));
  CHECK_FALSE(supported(two, 2, CollectiveKind::kAllReduce));
}

}  // namespace
}  // namespace moesim
