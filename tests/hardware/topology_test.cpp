#include "hardware/topology.h"

#include <algorithm>
#include <doctest/doctest.h>

#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

/// "gpu0 > nvswitch > gpu1", node prefixes kept.
std::string route(const Topology& topology, int from, int to) {
  std::string text;
  for (const int link : topology.path(from, to)) {
    const Link& hop = topology.links()[static_cast<std::size_t>(link)];
    const auto name = [&](int vertex) {
      return topology.vertices()[static_cast<std::size_t>(vertex)].name;
    };
    if (text.empty()) text = name(hop.from);
    text += " > " + name(hop.to);
  }
  return text;
}

struct Hop {
  const char* why;
  ClusterOptions cluster;
  int from, to;
  const char* route;
  double gbps;
  double latency_us;
};

const NodeOptions kPcie8{.nvlink = false, .gpus = 8, .nics = 2};
const NodeOptions kTwoNics{.gpus = 4, .nics = 2};

TEST_CASE("paths, bottlenecks and latencies of the presets") {
  const Hop cases[] = {
      {"a GPU reaches itself for nothing", {}, 2, 2, "", 0, 0},
      {"NVSwitch star", {}, 0, 3, "node0.gpu0 > node0.nvswitch > node0.gpu3", 100, 1},
      {"one PCIe switch", {.node = kPcie8}, 0, 3, "node0.gpu0 > node0.pcie0 > node0.gpu3", 100, 1},
      {"over the host bridge",
       {.node = kPcie8},
       3,
       4,
       "node0.gpu3 > node0.pcie0 > node0.host > node0.pcie1 > node0.gpu4",
       100,
       2},
      {"same rail: one leaf",
       {.count = 2, .preset = NetworkPreset::kRailOptimized},
       1,
       5,
       "node0.gpu1 > node0.pcie1 > node0.nic1 > leaf1 > node1.nic1 > node1.pcie1 > node1.gpu1",
       10,
       6},
      {"other rail: over the spine",
       {.count = 2, .preset = NetworkPreset::kRailOptimized},
       1,
       6,
       "node0.gpu1 > node0.pcie1 > node0.nic1 > leaf1 > spine0 > leaf2 > node1.nic2 > "
       "node1.pcie2 > node1.gpu2",
       10,
       10},
      {"two GPUs share a NIC",
       {.count = 2, .preset = NetworkPreset::kRailOptimized, .node = kTwoNics},
       3,
       6,
       "node0.gpu3 > node0.pcie1 > node0.nic1 > leaf1 > node1.nic1 > node1.pcie1 > node1.gpu2",
       10,
       6},
      {"they still use NVLink between them",
       {.count = 2, .preset = NetworkPreset::kRailOptimized, .node = kTwoNics},
       0,
       1,
       "node0.gpu0 > node0.nvswitch > node0.gpu1",
       100,
       1},
      {"one leaf",
       {.count = 4, .preset = NetworkPreset::kLeafSpine},
       0,
       4,
       "node0.gpu0 > node0.pcie0 > node0.nic0 > leaf0 > node1.nic0 > node1.pcie0 > node1.gpu0",
       10,
       6},
      {"two leaves",
       {.count = 4, .preset = NetworkPreset::kLeafSpine},
       0,
       8,
       "node0.gpu0 > node0.pcie0 > node0.nic0 > leaf0 > spine0 > leaf1 > node2.nic0 > "
       "node2.pcie0 > node2.gpu0",
       10,
       10},
      {"PCIe node to PCIe node",
       {.count = 2, .preset = NetworkPreset::kLeafSpine, .node = kPcie8},
       7,
       8,
       "node0.gpu7 > node0.pcie1 > node0.nic1 > leaf0 > spine0 > leaf1 > node1.nic0 > "
       "node1.pcie0 > node1.gpu0",
       10,
       10},
  };
  for (const Hop& c : cases) {
    CAPTURE(c.why);
    const Topology topology(round_cluster(c.cluster));
    CHECK(route(topology, c.from, c.to) == c.route);
    CHECK(topology.latency(c.from, c.to).value() == doctest::Approx(c.latency_us * 1e-6));
    if (c.gbps > 0) {
      CHECK(topology.bottleneck(c.from, c.to).value() == doctest::Approx(c.gbps * 1e9));
    }
  }
}

TEST_CASE("a fat tree with more leaves than a pod holds goes over the core") {
  // 264 nodes of 4 NICs: 33 leaves, the last one in a pod of its own.
  const Topology topology(round_cluster({.count = 264, .preset = NetworkPreset::kFatTree}));
  CHECK(route(topology, 0, 4 * 263) ==
        "node0.gpu0 > node0.pcie0 > node0.nic0 > leaf0 > spine0 > core0 > spine1 > leaf32 > "
        "node263.nic0 > node263.pcie0 > node263.gpu0");
  CHECK(route(topology, 0, 4 * 100).find("core0") == std::string::npos);
}

TEST_CASE("bisection of each preset") {
  struct Case {
    const char* why;
    ClusterOptions cluster;
    double gbps;
  };
  const Case cases[] = {
      {"one NVLink node: two GPUs send", {}, 200},
      {"one PCIe node: one bridge port", {.node = kPcie8}, 100},
      {"one switch: two GPUs send", {.node = {.nvlink = false}}, 200},
      {"rails: 1 node x 4 NICs", {.count = 2, .preset = NetworkPreset::kRailOptimized}, 40},
      {"4 nodes: 2 x 4 NICs", {.count = 4, .preset = NetworkPreset::kRailOptimized}, 80},
      {"leaf and spine, full", {.count = 4, .preset = NetworkPreset::kLeafSpine}, 80},
      {"oversubscription 2 halves it",
       {.count = 4, .preset = NetworkPreset::kLeafSpine, .oversubscription = 2},
       40},
      {"fat tree alike",
       {.count = 4, .preset = NetworkPreset::kFatTree, .oversubscription = 2},
       40},
      {"rails stay whole: leaf i joins NIC i of all nodes",
       {.count = 4, .preset = NetworkPreset::kRailOptimized, .oversubscription = 2},
       80},
      {"16 nodes: 8 x 4 NICs", {.count = 16, .preset = NetworkPreset::kLeafSpine}, 320},
      {"16 nodes, oversubscription 4",
       {.count = 16, .preset = NetworkPreset::kLeafSpine, .oversubscription = 4},
       80},
      {"odd: the smaller half", {.count = 3, .preset = NetworkPreset::kRailOptimized}, 40},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const Topology topology(round_cluster(c.cluster));
    CHECK(topology.bisection().value() == doctest::Approx(c.gbps * 1e9).epsilon(1e-6));
  }
}

TEST_CASE("who shares a node, and by what") {
  const Topology topology(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}));
  CHECK(topology.gpus() == 8);
  CHECK(topology.node_of(3) == 0);
  CHECK(topology.node_of(4) == 1);
  const std::vector<int> inside{0, 1, 3}, across{3, 4}, none;
  CHECK(topology.nvlink_connected(inside));
  CHECK_FALSE(topology.nvlink_connected(across));
  CHECK(topology.nvlink_connected(none));
  CHECK(topology.node_count(inside) == 1);
  CHECK(topology.node_count(across) == 2);
  const Topology pcie(round_cluster({.node = {.nvlink = false}}));
  CHECK_FALSE(pcie.nvlink_connected(inside));
}

TEST_CASE("a mixed cluster takes the slowest node's latencies and the oldest GPU") {
  ClusterSpec cluster = round_cluster({.preset = NetworkPreset::kRailOptimized});
  SystemSpec slow = round_system({.sm_version = 90});
  slow.collectives.nccl = Seconds(17e-6);
  cluster.nodes.push_back({slow, 1, 2});
  const Topology topology(cluster);
  CHECK(topology.gpus() == 6);
  const std::vector<int> fast{0, 1}, both{1, 4};
  CHECK(topology.latencies(fast).nccl.value() == doctest::Approx(10e-6));
  CHECK(topology.latencies(both).nccl.value() == doctest::Approx(17e-6));
  CHECK(topology.sm_version(both) == 80);
  CHECK(topology.p2p_latency(4).value() == doctest::Approx(5e-6));
}

TEST_CASE("of two cables the wider is taken, of two ways the shorter") {
  ClusterSpec cluster = round_cluster(
      {.count = 2, .preset = NetworkPreset::kExplicit, .node = {.gpus = 1, .nics = 1}});
  LinkSpec slow = cluster.network.link, wide = cluster.network.link;
  slow.bandwidth = BytesPerSecond(1e9);
  wide.bandwidth = BytesPerSecond(40e9);
  cluster.network.vertices = {{"leaf0"}, {"leaf1"}, {"detour"}};
  cluster.network.edges = {{"node0", "leaf0", wide},  {"node1", "leaf1", wide},
                           {"leaf0", "leaf1", slow},  {"leaf0", "leaf1", cluster.network.link},
                           {"leaf0", "detour", wide}, {"detour", "leaf1", wide}};
  const Topology topology(cluster);
  CHECK(route(topology, 0, 1) ==
        "node0.gpu0 > node0.pcie0 > node0.nic0 > leaf0 > leaf1 > node1.nic0 > node1.pcie0 > "
        "node1.gpu0");
  CHECK(topology.bottleneck(0, 1).value() == doctest::Approx(10e9));
}

TEST_CASE("the topology survives the cluster it was made from, and a move") {
  auto cluster = std::make_unique<ClusterSpec>(
      round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}));
  Topology first(*cluster);
  cluster.reset();
  const double before = first.latency(0, 7).value();
  const Topology second(std::move(first));
  CHECK(second.latency(0, 7).value() == before);
  const std::vector<int> all = first_gpus(8);
  CHECK(second.latencies(all).nccl.value() == doctest::Approx(10e-6));
}

}  // namespace
}  // namespace moesim
