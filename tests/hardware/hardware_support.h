#pragma once

#include <string>
#include <vector>

#include "hardware/collective.h"

namespace moesim {

/// A node with round numbers: NVLink 100 GB/s and 1 us a hop (or PCIe, the same), PCIe to the NIC
/// 50 GB/s and 1 us, four GPUs and four NICs; NCCL 10 us, custom all-reduce 4 us, crossing nodes 20
/// us, a message 5 us. All efficient.
struct NodeOptions {
  bool nvlink = true;
  int gpus = 4;
  int nics = 4;
  int sm_version = 80;
  bool peer_access = true;
};
[[nodiscard]] SystemSpec round_system(const NodeOptions& options = {});

/// `count` such nodes; cables of 10 GB/s and 2 us.
struct ClusterOptions {
  int count = 1;
  NetworkPreset preset = NetworkPreset::kSingleNode;
  double oversubscription = 1;
  NodeOptions node{};
};
[[nodiscard]] ClusterSpec round_cluster(const ClusterOptions& options = {});

/// 0, 1, ... n-1.
[[nodiscard]] std::vector<int> first_gpus(int n);

[[nodiscard]] std::unique_ptr<CollectiveAlgorithm> algorithm(const std::string& name);

/// Microseconds of a registered algorithm over the first `n` GPUs (all if 0).
[[nodiscard]] double time_us(const std::string& name, CollectiveKind kind, std::int64_t bytes,
                             const Topology& topology, int n = 0);

}  // namespace moesim
