#include "hardware/network.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "hardware/refuse.h"

namespace moesim {

namespace {

constexpr int kGpusPerPcieSwitch = 4;  // one x16 uplink for four cards, the common PCIe server
constexpr int kLeafPorts = 32;  // half of a 64-port switch (Quantum-2, Tomahawk 4) faces the nodes
constexpr int kLeavesPerPod = 32;  // the other half of a pod's spines

[[noreturn]] void refuse_network(const std::string& key, const std::string& problem,
                                 const std::string& hint) {
  refuse(Where(), "system.network." + key, problem, hint);
}

BytesPerSecond usable(const LinkSpec& link) {
  return link.bandwidth * link.efficiency;
}

class Expander {
 public:
  explicit Expander(const ClusterSpec& cluster) : spec_(cluster.network) {
    const int count = cluster.total_nodes();
    if (count < 1 || cluster.total_gpus() < 1)
      refuse_network("preset", "no GPUs", "add a node with GPUs");
    if (spec_.preset == NetworkPreset::kSingleNode && count > 1) {
      refuse_network("preset", "single_node, but there are " + std::to_string(count) + " nodes",
                     "use rail_optimized, leaf_spine, fat_tree or explicit");
    }
    for (const NodeGroup& group : cluster.nodes) {
      for (int i = 0; i < group.count; ++i) add_node(group);
    }
  }

  Network run() {
    switch (spec_.preset) {
      case NetworkPreset::kSingleNode:
        break;
      case NetworkPreset::kRailOptimized:
        rails();
        break;
      case NetworkPreset::kLeafSpine:
      case NetworkPreset::kFatTree:
        leaves();
        break;
      case NetworkPreset::kExplicit:
        graph();
        break;
    }
    return std::move(out_);
  }

 private:
  int add_vertex(VertexKind kind, std::string name, int node = -1) {
    out_.vertices.push_back({kind, std::move(name), node});
    return static_cast<int>(out_.vertices.size()) - 1;
  }

  void join(int a, int b, BytesPerSecond bandwidth, Seconds latency) {
    out_.links.push_back({a, b, bandwidth, latency});
    out_.links.push_back({b, a, bandwidth, latency});
  }

  /// A device in the middle of a hop: each of its two links takes half the hop's latency.
  void join_half(int a, int b, BytesPerSecond bandwidth, Seconds hop) {
    join(a, b, bandwidth, hop / 2.0);
  }

  void add_node(const NodeGroup& group) {
    const int node = static_cast<int>(out_.node_group.size());
    const NodeSpec& spec = group.system.node;
    const std::string prefix = "node" + std::to_string(node) + ".";
    out_.node_group.push_back(&group);
    std::vector<int> gpus;
    gpus.reserve(static_cast<std::size_t>(group.gpus));
    for (int i = 0; i < group.gpus; ++i) {
      gpus.push_back(add_vertex(VertexKind::kGpu, prefix + "gpu" + std::to_string(i), node));
      out_.gpu_vertex.push_back(gpus.back());
      out_.gpu_node.push_back(node);
    }
    const bool networked = spec_.preset != NetworkPreset::kSingleNode;
    const int nics = !networked ? 0 : (spec_.nics_per_node > 0 ? spec_.nics_per_node : spec.nics);
    if (networked && nics < 1) {
      refuse_network("nics_per_node", prefix.substr(0, prefix.size() - 1) + " has no NIC",
                     "set nics_per_node to at least 1");
    }
    const std::vector<int> switches =
        spec.nvlink ? nvlink_node(spec, gpus, nics, prefix) : pcie_node(spec, gpus, prefix);
    std::vector<int> own;
    for (int i = 0; i < nics; ++i) {
      own.push_back(add_vertex(VertexKind::kNic, prefix + "nic" + std::to_string(i), node));
      const auto at =
          static_cast<std::size_t>(i) * switches.size() / static_cast<std::size_t>(nics);
      join_half(switches[at], own.back(), spec.pcie_bw * spec.pcie_efficiency, spec.pcie_latency);
    }
    nics_.push_back(std::move(own));
    nic_link_.push_back(nic_link(spec));
  }

  /// NVSwitch star; one PCIe switch per NIC (or per GPU if there are more NICs) leads to the
  /// network.
  std::vector<int> nvlink_node(const NodeSpec& spec, const std::vector<int>& gpus, int nics,
                               const std::string& prefix) {
    const int nvswitch = add_vertex(VertexKind::kNvSwitch, prefix + "nvswitch", node_of_last());
    for (const int gpu : gpus) {
      join_half(gpu, nvswitch, spec.intra_bw * spec.intra_efficiency, spec.intra_latency);
    }
    std::vector<int> switches;
    const int count = std::min(nics, static_cast<int>(gpus.size()));
    switches.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) {
      switches.push_back(
          add_vertex(VertexKind::kPcieSwitch, prefix + "pcie" + std::to_string(i), node_of_last()));
    }
    if (switches.empty()) return switches;
    for (std::size_t i = 0; i < gpus.size(); ++i) {
      join_half(gpus[i], switches[i * switches.size() / gpus.size()],
                spec.pcie_bw * spec.pcie_efficiency, spec.pcie_latency);
    }
    return switches;
  }

  std::vector<int> pcie_node(const NodeSpec& spec, const std::vector<int>& gpus,
                             const std::string& prefix) {
    const BytesPerSecond bandwidth = spec.intra_bw * spec.intra_efficiency;
    std::vector<int> switches;
    for (std::size_t i = 0; i < gpus.size(); ++i) {
      if (i % kGpusPerPcieSwitch == 0) {
        switches.push_back(add_vertex(VertexKind::kPcieSwitch,
                                      prefix + "pcie" + std::to_string(switches.size()),
                                      node_of_last()));
      }
      join_half(gpus[i], switches.back(), bandwidth, spec.intra_latency);
    }
    if (switches.size() > 1) {
      const int bridge = add_vertex(VertexKind::kOther, prefix + "host", node_of_last());
      for (const int device : switches) join_half(device, bridge, bandwidth, spec.intra_latency);
    }
    return switches;
  }

  [[nodiscard]] int node_of_last() const { return static_cast<int>(out_.node_group.size()) - 1; }

  /// The cable of a NIC: the network's link type, else what the system's NIC can do.
  [[nodiscard]] LinkSpec nic_link(const NodeSpec& spec) const {
    LinkSpec link = spec_.link;
    if (link.bandwidth.value() <= 0) {
      link.bandwidth = spec.inter_bw;
      link.efficiency = 1;
    }
    return link;
  }

  /// Joins a NIC to a switch; returns the bandwidth, so that the switch knows its down-links.
  BytesPerSecond plug(std::size_t node, std::size_t nic, int to) {
    const LinkSpec& link = nic_link_[node];
    join(nics_[node][nic], to, usable(link), link.latency);
    return usable(link);
  }

  void up(int from, int to, BytesPerSecond down) {
    join(from, to, down / spec_.oversubscription, nic_link_.front().latency);
  }

  void rails() {
    std::size_t rails = 0;
    for (const std::vector<int>& nics : nics_) rails = std::max(rails, nics.size());
    std::vector<std::pair<int, BytesPerSecond>> leaves;
    for (std::size_t rail = 0; rail < rails; ++rail) {
      const int leaf = add_vertex(VertexKind::kLeaf, "leaf" + std::to_string(rail));
      BytesPerSecond down;
      for (std::size_t node = 0; node < nics_.size(); ++node) {
        if (rail < nics_[node].size()) down += plug(node, rail, leaf);
      }
      leaves.emplace_back(leaf, down);
    }
    const int spine = add_vertex(VertexKind::kSpine, "spine0");
    for (const auto& [leaf, down] : leaves) up(leaf, spine, down);
  }

  void leaves() {
    std::size_t ports = 0;
    for (const std::vector<int>& nics : nics_) ports += nics.size();
    const std::size_t nodes = nics_.size();
    const std::size_t wanted = std::max<std::size_t>(2, (ports + kLeafPorts - 1) / kLeafPorts);
    const std::size_t count = std::min(nodes, wanted);
    std::vector<std::pair<int, BytesPerSecond>> leaves;
    for (std::size_t i = 0; i < count; ++i) {
      const int leaf = add_vertex(VertexKind::kLeaf, "leaf" + std::to_string(i));
      BytesPerSecond down;
      for (std::size_t node = 0; node < nodes; ++node) {
        if (node * count / nodes != i) continue;
        for (std::size_t nic = 0; nic < nics_[node].size(); ++nic) down += plug(node, nic, leaf);
      }
      leaves.emplace_back(leaf, down);
    }
    spines(leaves);
  }

  void spines(const std::vector<std::pair<int, BytesPerSecond>>& leaves) {
    const bool pods = spec_.preset == NetworkPreset::kFatTree;
    std::vector<std::pair<int, BytesPerSecond>> above;
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      const std::size_t pod = pods ? i / kLeavesPerPod : 0;
      if (above.size() <= pod) {
        above.emplace_back(add_vertex(VertexKind::kSpine, "spine" + std::to_string(pod)),
                           BytesPerSecond());
      }
      up(leaves[i].first, above[pod].first, leaves[i].second);
      above[pod].second += leaves[i].second / spec_.oversubscription;
    }
    if (above.size() < 2) return;
    const int core = add_vertex(VertexKind::kSpine, "core0");
    for (const auto& [spine, down] : above) join(spine, core, down, nic_link_.front().latency);
  }

  void graph() {
    std::map<std::string, int> by_name;
    for (std::size_t i = 0; i < out_.vertices.size(); ++i) {
      by_name.emplace(out_.vertices[i].name, static_cast<int>(i));
    }
    for (std::size_t i = 0; i < spec_.vertices.size(); ++i) {
      const std::string& name = spec_.vertices[i].name;
      VertexKind kind = VertexKind::kOther;
      if (name.starts_with("leaf")) kind = VertexKind::kLeaf;
      if (name.starts_with("spine") || name.starts_with("core")) kind = VertexKind::kSpine;
      if (!by_name.emplace(name, add_vertex(kind, name)).second) {
        note("vertices." + std::to_string(i), "vertex '" + name + "' appears twice",
             "names must differ");
      }
    }
    for (std::size_t i = 0; i < spec_.edges.size(); ++i) {
      const ExplicitEdge& edge = spec_.edges[i];
      const std::string key = "edges." + std::to_string(i);
      const std::vector<int> from = ends(edge.from, key + ".from", by_name);
      const std::vector<int> to = ends(edge.to, key + ".to", by_name);
      if (edge.link.bandwidth.value() <= 0) {
        note(key + ".link", "edge '" + edge.from + "' to '" + edge.to + "' has no bandwidth",
             "give it a link type");
      }
      for (const int a : from) {
        for (const int b : to) join(a, b, usable(edge.link), edge.link.latency);
      }
    }
    mistakes_.throw_if_any();
  }

  /// A mistake in the graph: all of them are told at once.
  void note(const std::string& key, const std::string& problem, const std::string& hint) {
    mistakes_.add({Where(), "system.network.graph." + key, problem, hint});
  }

  /// "node3" stands for all its NICs, each with a cable of its own. None, noted, if nobody has the
  /// name.
  [[nodiscard]] std::vector<int> ends(const std::string& name, const std::string& key,
                                      const std::map<std::string, int>& by_name) {
    const auto it = by_name.find(name);
    if (it != by_name.end()) return {it->second};
    for (std::size_t node = 0; node < nics_.size(); ++node) {
      if (name == "node" + std::to_string(node)) return nics_[node];
    }
    std::vector<std::string> known;
    for (std::size_t node = 0; node < nics_.size(); ++node) {
      known.push_back("node" + std::to_string(node));
    }
    for (const auto& [vertex, index] : by_name) known.push_back(vertex);
    note(key, "unknown vertex '" + name + "'", nearest_name_hint(name, known));
    return {};
  }

  const NetworkSpec& spec_;
  Network out_;
  Diagnostics mistakes_;
  std::vector<std::vector<int>> nics_;  // by node
  std::vector<LinkSpec> nic_link_;      // by node
};

}  // namespace

Network expand(const ClusterSpec& cluster) {
  return Expander(cluster).run();
}

}  // namespace moesim
