#include "tests/hardware/hardware_support.h"

#include <numeric>
#include <stdexcept>

#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {

SystemSpec round_system(const NodeOptions& options) {
  SystemSpec system;
  system.name = "round";
  system.gpu.sm_version = options.sm_version;
  system.node.gpus = options.gpus;
  system.node.nvlink = options.nvlink;
  system.node.peer_access = options.peer_access;
  system.node.intra_link = options.nvlink ? "nvlink3" : "pcie4";
  system.node.intra_bw = BytesPerSecond(100e9);
  system.node.intra_latency = Seconds(1e-6);
  system.node.pcie_bw = BytesPerSecond(50e9);
  system.node.pcie_latency = Seconds(1e-6);
  system.node.p2p_latency = Seconds(5e-6);
  system.node.nics = options.nics;
  system.node.inter_bw = BytesPerSecond(10e9);
  system.collectives.nccl = Seconds(10e-6);
  system.collectives.custom_all_reduce = Seconds(4e-6);
  system.collectives.cross_node = Seconds(20e-6);
  return system;
}

ClusterSpec round_cluster(const ClusterOptions& options) {
  ClusterSpec cluster;
  cluster.nodes.push_back({round_system(options.node), options.count, options.node.gpus});
  cluster.network.preset = options.preset;
  cluster.network.oversubscription = options.oversubscription;
  cluster.network.link.name = "round";
  cluster.network.link.bandwidth = BytesPerSecond(10e9);
  cluster.network.link.latency = Seconds(2e-6);
  return cluster;
}

std::vector<int> first_gpus(int n) {
  std::vector<int> gpus(static_cast<std::size_t>(n));
  std::iota(gpus.begin(), gpus.end(), 0);
  return gpus;
}

std::unique_ptr<CollectiveAlgorithm> algorithm(const std::string& name) {
  const auto* entry = Registry<CollectiveAlgorithm>::find(name);
  if (entry == nullptr) throw std::runtime_error("no such algorithm: " + name);
  const Document none = Document::parse("{}", "test");
  Diagnostics diagnostics;
  Reader parameters(none, diagnostics);
  return entry->make(parameters);
}

double time_us(const std::string& name, CollectiveKind kind, std::int64_t bytes,
               const Topology& topology, int n) {
  const std::vector<int> gpus = first_gpus(n == 0 ? topology.gpus() : n);
  const CollectiveCall call{kind, Bytes(bytes), gpus};
  const auto made = algorithm(name);
  if (!made->supports(call, topology)) throw std::runtime_error(name + " does not support this");
  return made->cost(call, topology).time.value() * 1e6;
}

}  // namespace moesim
