#pragma once

#include <string>
#include <vector>

#include "hardware/system.h"

namespace moesim {

/// One kind of node in the cluster.
struct NodeGroup {
  SystemSpec system;
  int count = 1;
  int gpus = 8;  ///< GPUs per node
};

/// An edge or vertex of an explicit graph (scenario.md `system.network.graph`).
struct ExplicitVertex {
  std::string name;  ///< "leaf0", "spine1"; nodes are "node0", GPUs "node0.gpu3", NICs "node0.nic3"
};
struct ExplicitEdge {
  std::string from, to;
  LinkSpec link;
};

enum class NetworkPreset { kSingleNode, kRailOptimized, kLeafSpine, kFatTree, kExplicit };

struct NetworkSpec {
  NetworkPreset preset = NetworkPreset::kSingleNode;
  LinkSpec link;                  ///< node to leaf
  int nics_per_node = 0;          ///< 0: from the system
  double oversubscription = 1.0;  ///< leaf down-links to up-links
  std::vector<ExplicitVertex> vertices;
  std::vector<ExplicitEdge> edges;
};

struct ClusterSpec {
  std::vector<NodeGroup> nodes;
  NetworkSpec network;
  [[nodiscard]] int total_gpus() const;
  [[nodiscard]] int total_nodes() const;
};

}  // namespace moesim
