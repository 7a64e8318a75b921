#include "hardware/system.h"

#include <algorithm>
#include <fmt/format.h>
#include <utility>

#include "hardware/read_scaled.h"
#include "hardware/refuse.h"
#include "sim/base/files.h"
#include "sim/base/reader.h"

namespace moesim {

namespace {

constexpr Range kRate{1e9, 1e14};  // bytes/s: from one lane of PCIe to ten HBM stacks
constexpr Range kPeak{1e12, 1e17};
constexpr Range kCapacity{1e9, 4e12};

FlopsPerSecond optional_peak(Reader& in, const std::string& key) {
  if (!in.has(key)) return FlopsPerSecond();
  if (in.is_number(key) && in.number(key, {-1e300, 1e300}) == 0) {
    in.fail(key, "0 is no peak", "leave the key out if the format has no tensor-core path");
    return FlopsPerSecond();
  }
  return in.flops_per_s(key, kPeak);
}

FlopsPerSecond bf16_peak(Reader& in) {
  if (in.has("bf16_tc_flops") && !in.has("bfloat16_tc_flops")) {
    in.ignore("bf16_tc_flops");
    in.ignore("bfloat16_tc_flops");
    in.fail("bf16_tc_flops", "unknown key", "did you mean 'bfloat16_tc_flops'?");
    return FlopsPerSecond(kPeak.min);
  }
  return in.flops_per_s("bfloat16_tc_flops", kPeak);
}

GpuSpec read_gpu(Reader in) {
  GpuSpec gpu;
  gpu.mem_bw = in.bytes_per_s("mem_bw", {1e10, 1e14});
  gpu.mem_capacity = in.bytes("mem_capacity", kCapacity);
  gpu.reported_capacity = gpu.mem_capacity;
  if (in.has("reported_capacity")) gpu.reported_capacity = in.bytes("reported_capacity", kCapacity);
  const bool read = static_cast<double>(gpu.mem_capacity.value()) > kCapacity.min;
  if (read && gpu.reported_capacity > gpu.mem_capacity) {
    in.fail("reported_capacity", "larger than mem_capacity",
            "it is what the driver reports, a little less than the vendor's figure");
  }
  gpu.bf16_peak = bf16_peak(in);
  gpu.fp8_peak = optional_peak(in, "fp8_tc_flops");
  gpu.int8_peak = optional_peak(in, "int8_tc_flops");
  gpu.fp4_peak = optional_peak(in, "fp4_tc_flops");
  gpu.power = Watts(in.optional_number("power", {10, 5000}).value_or(0));
  gpu.sm_version = static_cast<int>(in.integer("sm_version", {70, 150}));
  gpu.sm_count = static_cast<int>(in.integer("sm_count", {1, 1000}));
  gpu.l2 = in.bytes("l2", {1e6, 1e10});
  in.reject_unknown_keys();
  return gpu;
}

const LinkSpec* find_link(const std::vector<LinkSpec>& links, const std::string& name) {
  const auto it = std::find_if(links.begin(), links.end(),
                               [&](const LinkSpec& link) { return link.name == name; });
  return it == links.end() ? nullptr : &*it;
}

std::vector<std::string> names_of(const std::vector<LinkSpec>& links) {
  std::vector<std::string> names;
  names.reserve(links.size());
  for (const LinkSpec& link : links) names.push_back(link.name);
  return names;
}

std::vector<LinkSpec> all_links() {
  return read_links(Document::load(data_dir() / "hardware" / "links.yaml"));
}

LinkSpec link_named_by(Reader& in, const std::string& key, const std::vector<LinkSpec>& links) {
  if (!in.has(key)) {
    in.text(key);  // reports the missing key
    return {};
  }
  const std::string name = in.text(key);
  if (const LinkSpec* link = find_link(links, name)) return *link;
  in.fail(key, "unknown link type '" + name + "'", nearest_name_hint(name, names_of(links)));
  return {};
}

NodeSpec read_node(Reader in, const std::vector<LinkSpec>& links) {
  NodeSpec node;
  node.gpus = static_cast<int>(in.integer("num_gpus_per_node", {1, 128}));
  node.intra_bw = in.bytes_per_s("intra_node_bw", kRate);
  node.inter_bw = in.bytes_per_s("inter_node_bw", {1e8, 1e13});
  node.pcie_bw = in.bytes_per_s("pcie_bw", kRate);
  node.p2p_latency = read_seconds(in, "p2p_latency", 1e-7);
  const LinkSpec intra = link_named_by(in, "intra_link", links);
  node.intra_link = intra.name;
  node.nvlink = intra.name.starts_with("nvlink");
  node.intra_latency = intra.latency;
  node.intra_efficiency = intra.efficiency;
  node.peer_access = in.boolean_or("peer_access", true);
  const LinkSpec pcie = link_named_by(in, "pcie_link", links);
  node.pcie_latency = pcie.latency;
  node.pcie_efficiency = pcie.efficiency;
  if (in.has("host_mem_capacity"))
    node.host_mem_capacity = in.bytes("host_mem_capacity", {1e9, 1e14});
  if (in.has("host_mem_bw")) node.host_mem_bw = in.bytes_per_s("host_mem_bw", kRate);
  // From a few desktop cores to two sockets with matrix units.
  if (in.has("host_flops")) node.host_flops = in.flops_per_s("host_flops", {1e11, 1e15});
  node.nics = static_cast<int>(in.integer("nics", {0, 128}));
  in.reject_unknown_keys();
  return node;
}

RooflineEfficiency read_efficiency(Reader in) {
  RooflineEfficiency efficiency;
  efficiency.gemm = read_ratio(in, "gemm");
  efficiency.grouped_gemm = read_ratio(in, "grouped_gemm");
  efficiency.attention_compute = read_ratio(in, "attention_compute");
  efficiency.memory = read_ratio(in, "memory");
  efficiency.kv_memory = read_ratio(in, "kv_memory");
  if (in.has("host_memory")) efficiency.host_memory = read_ratio(in, "host_memory");
  efficiency.kernel_launch = read_seconds(in, "kernel_launch", 1e-7);
  efficiency.eager_launch = read_seconds(in, "eager_launch", 1e-7);
  in.reject_unknown_keys();
  return efficiency;
}

CollectiveLatencies read_latencies(Reader in) {
  CollectiveLatencies fixed;
  fixed.custom_all_reduce = read_seconds(in, "custom_all_reduce", 1e-7);
  fixed.nccl = read_seconds(in, "nccl", 1e-7);
  fixed.cross_node = read_seconds(in, "cross_node", 1e-7);
  in.reject_unknown_keys();
  return fixed;
}

void read_misc(Reader in, SystemSpec& system) {
  Reader nccl = in.map_or_empty("nccl_mem");
  for (const std::string& key : nccl.keys()) {
    const bool number =
        !key.empty() && key.size() <= 4 && key.find_first_not_of("0123456789") == std::string::npos;
    if (!number) {
      nccl.ignore(key);
      nccl.fail(key, "not a group size", "write the number of GPUs, as in {2: 358612992}");
      continue;
    }
    system.nccl_mem[std::stoi(key)] = nccl.bytes(key, {0, 1e11});
  }
  if (in.has("other_mem")) system.other_mem = in.bytes("other_mem", {0, 1e11});
  in.reject_unknown_keys();
}

void read_version(Reader& in) {
  const auto version = in.optional_integer("schema_version", {.min = 0, .max = 1e6});
  if (version.value_or(1) != 1)
    in.fail("schema_version", fmt::format("version {} is not known", *version),
            "write schema_version: 1");
}

/// The mistakes, those of missing keys with what a shipped system has there: a file of
/// AIConfigurator lacks eight of ours.
std::vector<Diagnostic> with_examples(std::vector<Diagnostic> mistakes, const std::string& name) {
  constexpr const char* kExample = "h100_sxm";
  constexpr std::size_t kLongest = 200;  // a whole section is no hint
  const auto lacks = [](const Diagnostic& one) {
    return one.problem.starts_with("required key is missing");
  };
  if (name == kExample || std::ranges::none_of(mistakes, lacks)) return mistakes;
  const Document example =
      Document::load(data_dir() / "hardware" / "systems" / (std::string(kExample) + ".yaml"));
  for (Diagnostic& one : mistakes) {
    const auto value = lacks(one) ? example.get(one.key) : std::nullopt;
    if (value && value->size() <= kLongest)
      one.hint += fmt::format("; {} has {}", kExample, *value);
  }
  return mistakes;
}

}  // namespace

SystemSpec read_system(const Document& document, const std::string& name) {
  const std::vector<LinkSpec> links = all_links();
  Diagnostics diagnostics;
  Reader in(document, diagnostics);
  SystemSpec system;
  system.name = name;
  read_version(in);
  system.source = in.text("source");
  system.gpu = read_gpu(in.map("gpu"));
  system.node = read_node(in.map("node"), links);
  read_misc(in.map_or_empty("misc"), system);
  system.efficiency = read_efficiency(in.map("efficiency"));
  system.collectives = read_latencies(in.map("collectives"));
  in.reject_unknown_keys();
  try {
    diagnostics.throw_if_any();
  } catch (const InputError& error) {
    throw InputError(with_examples(error.diagnostics(), name));
  }
  return system;
}

std::vector<std::string> shipped_systems() {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry :
       std::filesystem::directory_iterator(data_dir() / "hardware" / "systems", ignored)) {
    if (entry.path().extension() == ".yaml") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

SystemSpec load_system(const std::string& name, const std::filesystem::path& relative_to,
                       const Where& where) {
  const bool is_path = name.find('/') != std::string::npos || name.ends_with(".yaml") ||
                       name.ends_with(".yml") || name.ends_with(".json");
  if (is_path) {
    const std::filesystem::path path = relative_to / name;
    return read_system(Document::load(path), path.stem().string());
  }
  const std::filesystem::path shipped = data_dir() / "hardware" / "systems" / (name + ".yaml");
  std::error_code ignored;
  if (name.empty() || !std::filesystem::is_regular_file(shipped, ignored)) {
    refuse(where, "profile", "unknown system '" + name + "'",
           nearest_name_hint(name, shipped_systems()));
  }
  return read_system(Document::load(shipped), name);
}

LinkSpec load_link(const std::string& name, const Where& where) {
  std::vector<LinkSpec> links = all_links();
  if (const LinkSpec* link = find_link(links, name)) return *link;
  refuse(where, "link", "unknown link type '" + name + "'",
         nearest_name_hint(name, names_of(links)));
}

std::vector<std::string> shipped_links() {
  return names_of(all_links());
}

}  // namespace moesim
