#include "hardware/system.h"

#include <doctest/doctest.h>

#include "sim/base/reader.h"

namespace moesim {
namespace {

const char* const kGood = R"(source: a datasheet, 2026
gpu:
  mem_bw: 3.35e12
  mem_capacity: 85899345920
  reported_capacity: 85040352133
  bfloat16_tc_flops: 989e12
  fp8_tc_flops: 1979e12
  int8_tc_flops: 1979e12
  power: 700
  sm_version: 90
  sm_count: 132
  l2: 52428800
node:
  num_gpus_per_node: 8
  intra_node_bw: 450e9
  inter_node_bw: 50e9
  pcie_bw: 64e9
  p2p_latency: 5e-6
  intra_link: nvlink4
  pcie_link: pcie5
  nics: 8
misc:
  nccl_mem: {2: 358612992}
  other_mem: 1000000
efficiency:
  gemm: 0.76
  grouped_gemm: 0.66
  attention_compute: 0.60
  memory: 0.925
  kv_memory: 0.90
  kernel_launch: 1.1e-6
  eager_launch: 5e-6
collectives:
  custom_all_reduce: 4.4e-6
  nccl: 4.9e-6
  cross_node: 20e-6
)";

struct Case {
  const char* why;
  const char* from;  // null: drop the section that starts with `to`
  const char* to;
  const char* expect;
};

std::string edited(const Case& c) {
  std::string text = kGood;
  if (c.from != nullptr) return text.replace(text.find(c.from), std::string(c.from).size(), c.to);
  const std::size_t start = text.find(c.to);
  std::size_t end = text.find('\n', start) + 1;
  while (text[end] == ' ') end = text.find('\n', end) + 1;
  return text.erase(start, end - start);
}

std::string mistakes(const std::string& text) {
  try {
    static_cast<void>(read_system(Document::parse(text, "x.yaml"), "x"));
  } catch (const InputError& error) {
    std::string all;
    for (const Diagnostic& mistake : error.diagnostics()) {
      all += (all.empty() ? "" : "\n") + to_text(mistake);
    }
    return all;
  }
  return "accepted";
}

TEST_CASE("a good system is read as written") {
  const SystemSpec system = read_system(Document::parse(kGood, "x.yaml"), "x");
  CHECK(system.name == "x");
  CHECK(system.source == "a datasheet, 2026");
  CHECK(system.gpu.mem_bw.value() == 3.35e12);
  CHECK(system.gpu.reported_capacity.value() == 85040352133);
  CHECK(system.gpu.fp8_peak.value() == 1979e12);
  CHECK(system.gpu.fp4_peak.value() == 0);
  CHECK(system.gpu.sm_version == 90);
  CHECK(system.node.nvlink);
  CHECK(system.node.intra_link == "nvlink4");
  CHECK(system.node.intra_efficiency == 0.73);
  CHECK(system.node.intra_latency.value() == 0.77e-6);
  CHECK(system.node.pcie_efficiency == 0.76);
  CHECK(system.node.p2p_latency.value() == 5e-6);
  CHECK(system.efficiency.kv_memory == 0.90);
  CHECK(system.efficiency.eager_launch.value() == 5e-6);
  CHECK(system.collectives.cross_node.value() == 20e-6);
  CHECK(system.nccl_mem.at(2).value() == 358612992);
  CHECK(system.other_mem.value() == 1000000);
}

TEST_CASE("what AIC leaves out may be left out: reported capacity, other peaks, power, misc") {
  std::string text = kGood;
  for (const char* line : {"  reported_capacity: 85040352133\n", "  fp8_tc_flops: 1979e12\n",
                           "  int8_tc_flops: 1979e12\n", "  power: 700\n",
                           "  nccl_mem: {2: 358612992}\n", "  other_mem: 1000000\n", "misc:\n"}) {
    text.erase(text.find(line), std::string(line).size());
  }
  const SystemSpec system = read_system(Document::parse(text, "x.yaml"), "x");
  CHECK(system.gpu.reported_capacity == system.gpu.mem_capacity);
  CHECK(system.gpu.fp8_peak.value() == 0);
  CHECK(system.gpu.power.value() == 0);
  CHECK(system.nccl_mem.empty());
}

TEST_CASE("what CPUs read and compute may be stated, and is not taken for granted") {
  const SystemSpec none = read_system(Document::parse(kGood, "x.yaml"), "x");
  CHECK(none.node.host_mem_bw.value() == 0);
  CHECK(none.node.host_flops.value() == 0);
  CHECK(none.efficiency.host_memory == 0);
  std::string text = kGood;
  text.insert(text.find("  nics: 8"), "  host_mem_bw: 83.2e9\n  host_flops: 2.304e12\n");
  text.insert(text.find("  kernel_launch"), "  host_memory: 0.65\n");
  const SystemSpec desktop = read_system(Document::parse(text, "x.yaml"), "x");
  CHECK(desktop.node.host_mem_bw.value() == 83.2e9);
  CHECK(desktop.node.host_flops.value() == 2.304e12);
  CHECK(desktop.efficiency.host_memory == 0.65);
}

TEST_CASE("a mistake in a system is reported at its place, with what to do") {
  const Case cases[] = {
      {"no source", "source: a datasheet, 2026\n", "",
       "x.yaml:1:1: source: required key is missing; write text; h100_sxm has \"NVIDIA H100 "
       "datasheet "
       "2023-09; architecture whitepaper 2022-03; DGX H100 datasheet 2023-03\""},
      {"an empty source", "source: a datasheet, 2026", "source: {}",
       "x.yaml:1:9: source: expected text, found a mapping; write text"},
      {"no gpu section at all", nullptr,
       "gpu:", "x.yaml:1:1: gpu: required key is missing; write a mapping"},
      {"bandwidth in GB/s", "mem_bw: 3.35e12", "mem_bw: 3350",
       "x.yaml:3:11: gpu.mem_bw: 3350 is outside 1e10 to 1e14 bytes/s; 3350 GB/s is written "
       "3.35e12"},
      {"bandwidth in TB/s", "mem_bw: 3.35e12", "mem_bw: 3.35",
       "x.yaml:3:11: gpu.mem_bw: 3.35 is outside 1e10 to 1e14 bytes/s; 3.35 TB/s is written "
       "3.35e12"},
      {"bandwidth too large", "mem_bw: 3.35e12", "mem_bw: 3.35e15",
       "x.yaml:3:11: gpu.mem_bw: 3.35e15 is outside 1e10 to 1e14 bytes/s; write 1e10 to 1e14 "
       "bytes/s"},
      {"the host's bandwidth in GB/s", "  nics: 8", "  nics: 8\n  host_mem_bw: 83.2",
       "x.yaml:22:16: node.host_mem_bw: 83.2 is outside 1e9 to 1e14 bytes/s; 83.2 GB/s is written "
       "8.32e10"},
      {"bandwidth with a unit", "mem_bw: 3.35e12", "mem_bw: 3.35 TB/s",
       "x.yaml:3:11: gpu.mem_bw: expected a number, found text '3.35 TB/s'; write a number"},
      {"no bandwidth", "  mem_bw: 3.35e12\n", "",
       "x.yaml:2:1: gpu.mem_bw: required key is missing; write a number of bytes/s; h100_sxm has "
       "3.35e12"},
      {"bandwidth null", "mem_bw: 3.35e12", "mem_bw: null",
       "x.yaml:3:3: gpu.mem_bw: required key is missing; write a number of bytes/s; h100_sxm has "
       "3.35e12"},
      {"bandwidth not a number", "mem_bw: 3.35e12", "mem_bw: .nan",
       "x.yaml:3:11: gpu.mem_bw: .nan is not allowed; write a finite number, or leave the key out"},
      {"bandwidth a list", "mem_bw: 3.35e12", "mem_bw: [3.35e12]",
       "x.yaml:3:11: gpu.mem_bw: expected a number, found a list; write a number"},
      {"capacity in GB", "mem_capacity: 85899345920", "mem_capacity: 80",
       "x.yaml:4:17: gpu.mem_capacity: 80 is outside 1e9 to 4e12 bytes; 80 GB is written 8e10"},
      {"capacity with a fraction", "mem_capacity: 85899345920", "mem_capacity: 85899345920.5",
       "x.yaml:4:17: gpu.mem_capacity: expected a whole number, found the number 85899345920.5; "
       "write a whole number"},
      {"capacity negative", "mem_capacity: 85899345920", "mem_capacity: -85899345920",
       "x.yaml:4:17: gpu.mem_capacity: -85899345920 is outside 1e9 to 4e12 bytes; write 1e9 to "
       "4e12 bytes"},
      {"reported above capacity", "reported_capacity: 85040352133",
       "reported_capacity: 95040352133",
       "x.yaml:5:22: gpu.reported_capacity: larger than mem_capacity; it is what the driver "
       "reports, a little less than the vendor's figure"},
      {"peak in TFLOPS", "bfloat16_tc_flops: 989e12", "bfloat16_tc_flops: 989",
       "x.yaml:6:22: gpu.bfloat16_tc_flops: 989 is outside 1e12 to 1e17 flops/s; 989 TFLOPS is "
       "written 9.89e14"},
      {"a misspelt key", "bfloat16_tc_flops", "bf16_tc_flops",
       "x.yaml:6:18: gpu.bf16_tc_flops: unknown key; did you mean 'bfloat16_tc_flops'?"},
      {"no fp8 path written as 0", "fp8_tc_flops: 1979e12", "fp8_tc_flops: 0",
       "x.yaml:7:17: gpu.fp8_tc_flops: 0 is no peak; leave the key out if the format has no "
       "tensor-core path"},
      {"power in kW", "power: 700", "power: 0.7",
       "x.yaml:9:10: gpu.power: 0.7 is outside 10 to 5000; write 10 to 5000"},
      {"compute capability as 9.0", "sm_version: 90", "sm_version: 9.0",
       "x.yaml:10:15: gpu.sm_version: 9.0 is outside 70 to 150; write 70 to 150"},
      {"SM count of zero", "sm_count: 132", "sm_count: 0",
       "x.yaml:11:13: gpu.sm_count: 0 is outside 1 to 1000; write 1 to 1000"},
      {"L2 in MB", "l2: 52428800", "l2: 50",
       "x.yaml:12:7: gpu.l2: 50 is outside 1000000 to 1e10 bytes; 50 MB is written 5e7"},
      {"unknown key in gpu", "  power: 700\n", "  power: 700\n  tdp: 700\n",
       "x.yaml:10:3: gpu.tdp: unknown key; known: mem_bw, mem_capacity, reported_capacity, "
       "bf16_tc_flops, bfloat16_tc_flops, fp8_tc_flops, int8_tc_flops, fp4_tc_flops, power, "
       "sm_version, sm_count, l2"},
      {"no GPUs in a node", "num_gpus_per_node: 8", "num_gpus_per_node: 0",
       "x.yaml:14:22: node.num_gpus_per_node: 0 is outside 1 to 128; write 1 to 128"},
      {"NVLink in Gbit/s", "intra_node_bw: 450e9", "intra_node_bw: 3600",
       "x.yaml:15:18: node.intra_node_bw: 3600 is outside 1e9 to 1e14 bytes/s; 3600 GB/s is "
       "written 3.6e12"},
      {"latency in microseconds", "p2p_latency: 5e-6", "p2p_latency: 5",
       "x.yaml:18:16: node.p2p_latency: 5 is outside 1e-07 to 0.01 s; 5 us is written 5e-06"},
      {"a misspelt link", "intra_link: nvlink4", "intra_link: nvlnk4",
       "x.yaml:19:15: node.intra_link: unknown link type 'nvlnk4'; did you mean 'nvlink4'?"},
      {"a link nobody knows", "pcie_link: pcie5", "pcie_link: token_ring",
       "x.yaml:20:14: node.pcie_link: unknown link type 'token_ring'; known: nvlink3, nvlink4, "
       "nvlink5, pcie4, pcie5, hdr_200g, ndr_400g, roce_100g, roce_200g, roce_400g, tcp_25g, "
       "tcp_100g, ... (14 in all)"},
      {"no link", "  intra_link: nvlink4\n", "",
       "x.yaml:13:1: node.intra_link: required key is missing; write text; h100_sxm has nvlink4"},
      {"NICs as text", "nics: 8", "nics: eight",
       "x.yaml:21:9: node.nics: expected a whole number, found text 'eight'; write a whole number"},
      {"efficiency in percent", "gemm: 0.76", "gemm: 76",
       "x.yaml:26:9: efficiency.gemm: 76 is outside 0.05 to 1; 76 % is written 0.76"},
      {"efficiency zero", "memory: 0.925", "memory: 0",
       "x.yaml:29:11: efficiency.memory: 0 is outside 0.05 to 1; write 0.05 to 1"},
      {"no efficiency section", nullptr, "efficiency:",
       "x.yaml:1:1: efficiency: required key is missing; write a mapping; h100_sxm has {gemm: "
       "0.76, "
       "grouped_gemm: 0.66, attention_compute: 0.60, memory: 0.925, kv_memory: 0.90, host_memory: "
       "0.60, "
       "kernel_launch: 1.1e-6, eager_launch: 5e-6}"},
      {"launch in microseconds", "kernel_launch: 1.1e-6", "kernel_launch: 1.1",
       "x.yaml:31:18: efficiency.kernel_launch: 1.1 is outside 1e-07 to 0.01 s; 1.1 us is written "
       "1.1e-06"},
      {"no latencies section", nullptr, "collectives:",
       "x.yaml:1:1: collectives: required key is missing; write a mapping; h100_sxm has "
       "{custom_all_reduce: 4.4e-6, nccl: 4.9e-6, cross_node: 20e-6}"},
      {"call latency missing", "  nccl: 4.9e-6\n", "",
       "x.yaml:33:1: collectives.nccl: required key is missing; write a number; h100_sxm has "
       "4.9e-6"},
      {"an unknown section", "efficiency:\n", "roofline: {}\nefficiency:\n",
       "x.yaml:25:1: roofline: unknown key; known: schema_version, source, gpu, node, misc, "
       "efficiency, collectives"},
      {"AIC's name for it, misspelt", "num_gpus_per_node", "num_gpu_per_node",
       "x.yaml:13:1: node.num_gpus_per_node: required key is missing; write a whole "
       "number; h100_sxm has 8\nx.yaml:14:3: node.num_gpu_per_node: unknown key; did you mean "
       "'num_gpus_per_node'?"},
      {"buffers by something else", "nccl_mem: {2: 358612992}", "nccl_mem: {two: 358612992}",
       "x.yaml:23:19: misc.nccl_mem.two: not a group size; write the number of GPUs, as in {2: "
       "358612992}"},
      {"buffers negative", "nccl_mem: {2: 358612992}", "nccl_mem: {2: -1}",
       "x.yaml:23:17: misc.nccl_mem.2: -1 is outside 0 to 1e11 bytes; write 0 to 1e11 bytes"},
      {"a key twice", "  power: 700\n", "  power: 700\n  power: 600\n",
       "x.yaml:10:3: gpu.power: duplicate key, already given on line 9; remove one of the two"},
      {"a YAML tag", "power: 700", "power: !!int 700",
       "x.yaml:9:10: gpu.power: the tag '!!int' is not allowed; remove it; quote the value if it "
       "is text"},
      {"a list instead of a section", "gpu:\n", "gpu: []\ngpux:\n",
       "x.yaml:2:6: gpu: expected a mapping, found a list; write a mapping\nx.yaml:3:1: gpux: "
       "unknown key; did you mean 'gpu'?"},
      {"not YAML", "gpu:\n", "gpu: {\n",
       "x.yaml:2:6: not valid YAML: end of map flow not found; a '{' is not closed, or a ',' is "
       "missing"},
      {"infinite", "mem_bw: 3.35e12", "mem_bw: .inf",
       "x.yaml:3:11: gpu.mem_bw: .inf is not allowed; write a finite number, or leave the key out"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(mistakes(edited(c)) == c.expect);
  }
}

TEST_CASE("a system may say its schema, which is 1") {
  CHECK(mistakes(std::string("schema_version: 1\n") + kGood) == "accepted");
  CHECK(mistakes(std::string("schema_version: 2\n") + kGood) ==
        "x.yaml:1:17: schema_version: version 2 is not known; write schema_version: 1");
}

TEST_CASE("one pass reports every mistake") {
  std::string text = kGood;
  const auto change = [&](const std::string& from, const std::string& to) {
    text.replace(text.find(from), from.size(), to);
  };
  change("mem_bw: 3.35e12", "mem_bw: 3350");
  change("nics: 8", "nics: 8x");
  change("memory: 0.925", "memory: 92.5");
  change("cross_node", "cross_nodes");
  CHECK(mistakes(text) ==
        "x.yaml:3:11: gpu.mem_bw: 3350 is outside 1e10 to 1e14 bytes/s; 3350 GB/s is written "
        "3.35e12\n"
        "x.yaml:21:9: node.nics: expected a whole number, found text '8x'; write a whole number\n"
        "x.yaml:29:11: efficiency.memory: 92.5 is outside 0.05 to 1; 92.5 % is written 0.925\n"
        "x.yaml:33:1: collectives.cross_node: required key is missing; write a number; h100_sxm "
        "has 20e-6\n"
        "x.yaml:36:3: collectives.cross_nodes: unknown key; did you mean 'cross_node'?");
}

}  // namespace
}  // namespace moesim
