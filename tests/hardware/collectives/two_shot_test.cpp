#include <doctest/doctest.h>

#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

TEST_CASE("two-shot pays the latency twice and moves what a ring moves") {
  struct Case {
    const char* why;
    int ranks;
    std::int64_t bytes;
    double expect_us;
  };
  const Case cases[] = {
      {"one rank has the sum", 1, 1'000'000, 0},
      {"no bytes: 2 a1", 4, 0, 8},
      {"two ranks: half a buffer twice", 2, 1'000'000, 8 + 10},
      {"four ranks: 3/2 of the buffer", 4, 1'000'000, 8 + 15},
  };
  const Topology topology(round_cluster());
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(time_us("two_shot", CollectiveKind::kAllReduce, c.bytes, topology, c.ranks) ==
          doctest::Approx(c.expect_us).epsilon(1e-9));
  }
}

TEST_CASE("two-shot needs NVLink for more than two ranks") {
  const Topology pcie(round_cluster({.node = {.nvlink = false}}));
  const std::vector<int> gpus = first_gpus(4);
  CHECK_FALSE(algorithm("two_shot")->supports({CollectiveKind::kAllReduce, Bytes(1), gpus}, pcie));
}

}  // namespace
}  // namespace moesim
