#pragma once

#include <vector>

#include "hardware/topology.h"

namespace moesim {

/// A ClusterSpec spelled out: every device a vertex, every cable two links (one per direction).
struct Network {
  std::vector<Vertex> vertices;
  std::vector<Link> links;
  std::vector<int> gpu_vertex;               ///< by cluster GPU number
  std::vector<int> gpu_node;                 ///< by cluster GPU number
  std::vector<const NodeGroup*> node_group;  ///< by node; points into the ClusterSpec
};

/// Spells out a preset or an explicit graph. Throws InputError for a spec that describes no network
/// (several nodes under `single_node`, nodes without NICs, an edge to nowhere).
///
/// Inside a node: NVLink systems are a star around one NVSwitch; PCIe systems a tree of switches of
/// four GPUs under one host bridge, so that traffic between switches shares the bridge. A NIC hangs
/// off the PCIe switch of its GPUs. Between nodes: `rail_optimized` joins NIC i of every node in
/// leaf i, all leaves under a spine; `leaf_spine` and `fat_tree` fill leaves of 32 NIC ports with
/// whole nodes, at least two leaves; `fat_tree` adds a core above pods of 32 leaves. A tier of
/// parallel switches is one vertex with the sum of their bandwidth (ideal load balancing).
[[nodiscard]] Network expand(const ClusterSpec& cluster);

}  // namespace moesim
