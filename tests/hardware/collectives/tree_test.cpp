#include <doctest/doctest.h>

#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

TEST_CASE("tree inside a node is a chain, there and back") {
  const Topology topology(round_cluster());
  // 3 hops up, 3 down; every link in the middle carries S twice (up and down), both trees together.
  CHECK(time_us("tree", CollectiveKind::kAllReduce, 0, topology) == doctest::Approx(10 + 6));
  CHECK(time_us("tree", CollectiveKind::kAllReduce, 100'000'000, topology) ==
        doctest::Approx(10 + 36 + 2000));
  CHECK(time_us("tree", CollectiveKind::kAllReduce, 1'000, topology, 1) == 0.0);
}

struct Case {
  const char* why;
  int nodes;
  int depth;  // network hops from the deepest node to the root
};

TEST_CASE("tree is as deep as a binary tree over the nodes") {
  const Case cases[] = {
      {"two nodes: one above the other", 2, 1},
      {"three: 1 and 2 below the root's child", 3, 2},
      {"four: 1 and 3 below 2 below 0", 4, 2},
      {"five: as four, and the fifth below the root", 5, 3},
      {"eight: 1,3 < 2 < 4 < 0", 8, 3},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const Topology topology(round_cluster({.count = c.nodes,
                                           .preset = NetworkPreset::kRailOptimized,
                                           .node = {.gpus = 1, .nics = 1}}));
    // One GPU a node: a network hop is 0.5 + 0.5 + 2 + 2 + 0.5 + 0.5 us.
    CHECK(time_us("tree", CollectiveKind::kAllReduce, 0, topology) ==
          doctest::Approx(30 + 2 * 6 * c.depth));
  }
}

TEST_CASE("tree lets no node send or receive more than twice the bytes") {
  for (const int nodes : {2, 3, 4, 5, 6, 7, 8, 16}) {
    CAPTURE(nodes);
    const Topology topology(round_cluster(
        {.count = nodes, .preset = NetworkPreset::kRailOptimized, .node = {.gpus = 1, .nics = 1}}));
    const std::vector<int> gpus = first_gpus(nodes);
    const CollectiveCost cost =
        algorithm("tree")->cost({CollectiveKind::kAllReduce, Bytes(1'000'000), gpus}, topology);
    CHECK(cost.busiest_link.value() <= 2'000'000);
    CHECK(cost.busiest_link.value() >= 1'000'000);
  }
}

TEST_CASE("tree beats the ring for small messages over many nodes") {
  const Topology topology(round_cluster({.count = 16, .preset = NetworkPreset::kRailOptimized}));
  CHECK(time_us("tree", CollectiveKind::kAllReduce, 4096, topology) <
        0.5 * time_us("ring", CollectiveKind::kAllReduce, 4096, topology));
}

}  // namespace
}  // namespace moesim
