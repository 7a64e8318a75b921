#include "hardware/network.h"

#include <algorithm>
#include <doctest/doctest.h>

#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

long count(const Network& network, VertexKind kind) {
  return std::count_if(network.vertices.begin(), network.vertices.end(),
                       [&](const Vertex& vertex) { return vertex.kind == kind; });
}

TEST_CASE("each preset has the devices it says") {
  struct Case {
    const char* why;
    ClusterOptions cluster;
    long gpus, nvswitches, pcie, nics, leaves, spines;
  };
  const NodeOptions pcie8{.nvlink = false, .gpus = 8, .nics = 2};
  const Case cases[] = {
      {"a single node needs no network", {}, 4, 1, 0, 0, 0, 0},
      {"PCIe cards: two switches of four", {.node = pcie8}, 8, 0, 2, 0, 0, 0},
      {"one leaf a rail",
       {.count = 3, .preset = NetworkPreset::kRailOptimized},
       12,
       3,
       12,
       12,
       4,
       1},
      {"at least two leaves", {.count = 2, .preset = NetworkPreset::kLeafSpine}, 8, 2, 8, 8, 2, 1},
      {"32 NICs a leaf: 96 NICs on 3",
       {.count = 24, .preset = NetworkPreset::kLeafSpine},
       96,
       24,
       96,
       96,
       3,
       1},
      {"one node cannot fill two leaves", {.preset = NetworkPreset::kLeafSpine}, 4, 1, 4, 4, 1, 1},
      {"a small fat tree is leaf and spine",
       {.count = 4, .preset = NetworkPreset::kFatTree},
       16,
       4,
       16,
       16,
       2,
       1},
      {"two pods and a core",
       {.count = 264, .preset = NetworkPreset::kFatTree},
       1056,
       264,
       1056,
       1056,
       33,
       3},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const ClusterSpec cluster = round_cluster(c.cluster);
    const Network network = expand(cluster);
    CHECK(count(network, VertexKind::kGpu) == c.gpus);
    CHECK(count(network, VertexKind::kNvSwitch) == c.nvswitches);
    CHECK(count(network, VertexKind::kPcieSwitch) == c.pcie);
    CHECK(count(network, VertexKind::kNic) == c.nics);
    CHECK(count(network, VertexKind::kLeaf) == c.leaves);
    CHECK(count(network, VertexKind::kSpine) == c.spines);
  }
}

TEST_CASE("nics_per_node overrides the system, and inter_bw stands in for a missing link type") {
  ClusterSpec cluster = round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized});
  cluster.network.nics_per_node = 1;
  cluster.network.link = LinkSpec();
  cluster.nodes[0].system.node.inter_bw = BytesPerSecond(7e9);
  const Network network = expand(cluster);
  CHECK(count(network, VertexKind::kNic) == 2);
  CHECK(std::any_of(network.links.begin(), network.links.end(),
                    [](const Link& link) { return link.bandwidth.value() == 7e9; }));
}

TEST_CASE("efficiency lowers what a cable carries") {
  ClusterSpec cluster = round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized});
  cluster.network.link.efficiency = 0.5;
  cluster.nodes[0].system.node.intra_efficiency = 0.25;
  cluster.nodes[0].system.node.pcie_efficiency = 0.8;
  const Network network = expand(cluster);
  const auto kind = [&](int vertex) {
    return network.vertices[static_cast<std::size_t>(vertex)].kind;
  };
  for (const Link& link : network.links) {
    if (kind(link.to) == VertexKind::kNvSwitch) CHECK(link.bandwidth.value() == 25e9);
    if (kind(link.from) == VertexKind::kPcieSwitch) CHECK(link.bandwidth.value() == 40e9);
    if (kind(link.from) == VertexKind::kNic && kind(link.to) == VertexKind::kLeaf) {
      CHECK(link.bandwidth.value() == 5e9);
    }
  }
}

ClusterSpec explicit_cluster() {
  ClusterSpec cluster = round_cluster(
      {.count = 2, .preset = NetworkPreset::kExplicit, .node = {.gpus = 2, .nics = 2}});
  cluster.network.vertices = {{"leaf0"}, {"spine0"}, {"box"}};
  cluster.network.edges = {{"node0", "leaf0", cluster.network.link},
                           {"node1.nic0", "leaf0", cluster.network.link},
                           {"node1.nic1", "leaf0", cluster.network.link}};
  return cluster;
}

TEST_CASE("in an explicit graph a node stands for all its NICs, and names tell the kind") {
  const ClusterSpec cluster = explicit_cluster();
  const Network network = expand(cluster);
  CHECK(count(network, VertexKind::kLeaf) == 1);
  CHECK(count(network, VertexKind::kSpine) == 1);
  CHECK(count(network, VertexKind::kOther) == 1);
  const auto plugs = std::count_if(network.links.begin(), network.links.end(), [&](const Link& l) {
    return network.vertices[static_cast<std::size_t>(l.to)].name == "leaf0";
  });
  CHECK(plugs == 4);
}

std::string mistake(const ClusterSpec& cluster) {
  try {
    const Topology topology(cluster);
  } catch (const InputError& error) {
    const Diagnostic& only = error.diagnostics().front();
    return only.key + ": " + only.problem + "; " + only.hint;
  }
  return "";
}

TEST_CASE("a network that cannot be is a mistake of the input") {
  ClusterSpec none;
  CHECK(mistake(none) == "system.network.preset: no GPUs; add a node with GPUs");

  CHECK(mistake(round_cluster({.count = 2})) ==
        "system.network.preset: single_node, but there are 2 nodes; use rail_optimized, "
        "leaf_spine, fat_tree or explicit");

  CHECK(mistake(round_cluster(
            {.count = 2, .preset = NetworkPreset::kLeafSpine, .node = {.gpus = 4, .nics = 0}})) ==
        "system.network.nics_per_node: node0 has no NIC; set nics_per_node to at least 1");

  ClusterSpec cut = explicit_cluster();
  cut.network.edges.erase(cut.network.edges.begin());
  CHECK(mistake(cut) ==
        "system.network.graph: node0.gpu0 cannot reach node1.gpu0; add an edge; paths go through "
        "switches and NICs, not through GPUs");

  ClusterSpec half = explicit_cluster();
  half.network.edges.pop_back();
  CHECK(mistake(half) ==
        "system.network.graph: node0.gpu0 cannot reach node1.gpu1; add an edge; paths go through "
        "switches and NICs, not through GPUs");

  ClusterSpec typo = explicit_cluster();
  typo.network.edges[0].to = "leaf";
  CHECK(mistake(typo) ==
        "system.network.graph.edges.0.to: unknown vertex 'leaf'; did you mean 'leaf0'?");

  ClusterSpec twice = explicit_cluster();
  twice.network.vertices.push_back({"leaf0"});
  CHECK(mistake(twice) ==
        "system.network.graph.vertices.3: vertex 'leaf0' appears twice; names must differ");

  ClusterSpec dead = explicit_cluster();
  dead.network.edges[0].link = LinkSpec();
  CHECK(mistake(dead) ==
        "system.network.graph.edges.0.link: edge 'node0' to 'leaf0' has no bandwidth; give it a "
        "link type");
}

}  // namespace
}  // namespace moesim
