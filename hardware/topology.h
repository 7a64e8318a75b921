#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "hardware/cluster.h"

namespace moesim {

enum class VertexKind { kGpu, kNvSwitch, kPcieSwitch, kNic, kLeaf, kSpine, kOther };

struct Vertex {
  VertexKind kind;
  std::string name;
  int node = -1;  ///< node the vertex belongs to, -1 for network switches
};
/// One direction of a link.
struct Link {
  int from = 0, to = 0;      ///< vertices
  BytesPerSecond bandwidth;  ///< usable: line rate x efficiency
  Seconds latency;
};

/// The cluster as a directed graph (Boost.Graph inside). GPUs are numbered node-major over the
/// whole cluster. A GPU never forwards: paths run through switches and NICs only. Paths are
/// computed on demand and kept, so `const` members of one object must not run in two threads at
/// once.
class Topology {
 public:
  /// Expands a preset or an explicit graph. Throws InputError for a graph whose GPUs are not
  /// connected.
  explicit Topology(const ClusterSpec& cluster);
  Topology(Topology&&) noexcept;
  Topology& operator=(Topology&&) noexcept;
  ~Topology();

  [[nodiscard]] int gpus() const;
  [[nodiscard]] int node_of(int gpu) const;
  [[nodiscard]] const std::vector<Vertex>& vertices() const;
  [[nodiscard]] const std::vector<Link>& links() const;
  /// Links of the lowest-latency, then widest path between two GPUs, in order; empty when from ==
  /// to.
  [[nodiscard]] const std::vector<int>& path(int from_gpu, int to_gpu) const;
  [[nodiscard]] BytesPerSecond bottleneck(int from_gpu, int to_gpu) const;
  [[nodiscard]] Seconds latency(int from_gpu, int to_gpu) const;
  /// Bytes per second that can cross the worst halving of the nodes (all GPUs of one half to the
  /// other), one direction.
  [[nodiscard]] BytesPerSecond bisection() const;
  /// True when every pair of `gpus` is joined inside one node by NVLink.
  [[nodiscard]] bool nvlink_connected(std::span<const int> gpus) const;
  /// True when the GPUs of one node may read each other's memory, by NVLink or PCIe.
  [[nodiscard]] bool peer_access(std::span<const int> gpus) const;
  /// Distinct nodes among `gpus`.
  [[nodiscard]] int node_count(std::span<const int> gpus) const;
  /// Fixed costs of a collective over `gpus`: the slowest of their nodes decides.
  [[nodiscard]] CollectiveLatencies latencies(std::span<const int> gpus) const;
  /// Oldest GPU generation among `gpus`, e.g. 90.
  [[nodiscard]] int sm_version(std::span<const int> gpus) const;
  /// Fixed cost of a point-to-point message sent by `gpu` (node.p2p_latency).
  [[nodiscard]] Seconds p2p_latency(int gpu) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace moesim
