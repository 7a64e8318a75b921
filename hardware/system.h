#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "sim/base/diagnostic.h"
#include "sim/base/units.h"

namespace moesim {

class Document;

/// One GPU, datasheet side. Dense peaks, not sparse. A peak of 0 means the format has no
/// tensor-core path.
struct GpuSpec {
  Bytes mem_capacity;       ///< as the vendor names it
  Bytes reported_capacity;  ///< what the driver reports to a process (serving-semantics 2.1)
  BytesPerSecond mem_bw;
  FlopsPerSecond bf16_peak, fp8_peak, int8_peak, fp4_peak;
  Watts power;         ///< 0: not stated; nothing is computed from it yet
  int sm_version = 0;  ///< 80, 89, 90, 100, 120
  int sm_count = 0;
  Bytes l2;
};

/// How GPUs of a node reach each other, the host and the network. Per GPU, one direction.
struct NodeSpec {
  int gpus = 8;
  std::string intra_link;       ///< "nvlink4", "pcie5", ...: row of hardware/links.yaml
  BytesPerSecond intra_bw;      ///< per GPU, one direction
  bool nvlink = false;          ///< GPUs fully connected by NVLink/NVSwitch
  bool peer_access = true;      ///< a GPU may read another one\'s memory (GeForce: no)
  Seconds intra_latency;        ///< GPU to GPU, one hop of a collective
  double intra_efficiency = 1;  ///< of intra_bw, large messages
  Seconds p2p_latency;          ///< fixed cost of one point-to-point message
  BytesPerSecond pcie_bw;
  Seconds pcie_latency;        ///< between two devices of one PCIe switch
  double pcie_efficiency = 1;  ///< of pcie_bw
  Bytes host_mem_capacity;     ///< memory of the node; 0: not stated
  /// Of the whole node, all sockets: channels x transfers x 8 bytes; 0: not stated.
  BytesPerSecond host_mem_bw;
  FlopsPerSecond host_flops;  ///< of its CPUs, fp32 vectors at base clock; 0: not stated
  int nics = 8;
  BytesPerSecond inter_bw;  ///< per NIC, one direction
};

/// Stated efficiencies of the datasheet roofline: what part of a peak a good kernel reaches. Each
/// with a source in the YAML beside it (steptime.md 2, "ceilings measured").
struct RooflineEfficiency {
  double gemm = 0, grouped_gemm = 0, attention_compute = 0, memory = 0, kv_memory = 0;
  double host_memory = 0;  ///< of the host's bandwidth, CPUs streaming weights; 0: not stated
  Seconds kernel_launch;   ///< gap per kernel inside a CUDA graph
  Seconds eager_launch;    ///< CPU launch cost per kernel outside a graph
};

/// Fixed cost of a collective call: software and launch latency (serving-semantics 4.4: a1 custom,
/// a4 NCCL).
struct CollectiveLatencies {
  Seconds custom_all_reduce;  ///< one-shot; two-shot pays it twice
  Seconds nccl;               ///< per call, before the hops
  Seconds cross_node;         ///< added when the group spans nodes
};

struct SystemSpec {
  std::string name;  ///< "a100_sxm"
  GpuSpec gpu;
  NodeSpec node;
  RooflineEfficiency efficiency;
  CollectiveLatencies collectives;
  std::map<int, Bytes> nccl_mem;  ///< AIC misc.nccl_mem: NCCL buffers per GPU by group size
  Bytes other_mem;                ///< AIC misc.other_mem
  std::string source;             ///< datasheet and date
};

/// A system by name (hardware/systems/NAME.yaml) or file; AIConfigurator's keys are accepted
/// (glossary 3). Throws InputError; an unknown name lists the nearest.
[[nodiscard]] SystemSpec load_system(const std::string& name,
                                     const std::filesystem::path& relative_to, const Where& where);
[[nodiscard]] std::vector<std::string> shipped_systems();
/// A system from a parsed document. Throws InputError with every mistake found.
[[nodiscard]] SystemSpec read_system(const Document& document, const std::string& name);

/// A link type of hardware/links.yaml: nvlink3/4/5, pcie4/5, hdr_200g, ndr_400g,
/// roce_100g/200g/400g, tcp_25g/100g ...
struct LinkSpec {
  std::string name;
  BytesPerSecond bandwidth;  ///< one direction, line rate
  Seconds latency;
  double efficiency = 1;  ///< of line rate, large messages
  std::string source;
};
[[nodiscard]] LinkSpec load_link(const std::string& name, const Where& where);
[[nodiscard]] std::vector<std::string> shipped_links();
/// All rows of a links document, in file order. Throws InputError with every mistake found.
[[nodiscard]] std::vector<LinkSpec> read_links(const Document& document);

}  // namespace moesim
