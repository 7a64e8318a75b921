#include <algorithm>
#include <doctest/doctest.h>
#include <fstream>
#include <sstream>

#include "hardware/system.h"

namespace moesim {
namespace {

SystemSpec load(const std::string& name) {
  return load_system(name, ".", Where());
}

// What the vendor prints (or glossary 3 demands), typed in again here: bytes, bytes/s, FLOP/s, W.
TEST_CASE("shipped systems carry their datasheet") {
  struct Row {
    const char* name;
    double mem_bw, capacity, bf16, fp8, int8, fp4, intra, inter, pcie, watts;
    int sm_version, sm_count, gpus;
    bool nvlink;
  };
  constexpr double kGiB = 1073741824.0;
  const Row rows[] = {
      {"a100_sxm", 2.039e12, 85899345920, 312e12, 0, 624e12, 0, 300e9, 25e9, 32e9, 400, 80, 108, 8,
       true},
      {"a100_pcie", 1.935e12, 80 * kGiB, 312e12, 0, 624e12, 0, 32e9, 25e9, 32e9, 300, 80, 108, 8,
       false},
      {"h100_sxm", 3.35e12, 85899345920, 989e12, 1979e12, 1979e12, 0, 450e9, 50e9, 64e9, 700, 90,
       132, 8, true},
      {"h100_pcie", 2.0e12, 80 * kGiB, 756e12, 1513e12, 1513e12, 0, 64e9, 50e9, 64e9, 350, 90, 114,
       8, false},
      {"h200_sxm", 4.8e12, 141 * kGiB, 989e12, 1979e12, 1979e12, 0, 450e9, 50e9, 64e9, 700, 90, 132,
       8, true},
      {"b200_sxm", 7.7e12, 180 * kGiB, 2250e12, 4500e12, 4500e12, 9000e12, 900e9, 50e9, 64e9, 1000,
       100, 148, 8, true},
      {"l40s", 864e9, 48 * kGiB, 362.05e12, 733e12, 733e12, 0, 32e9, 25e9, 32e9, 350, 89, 142, 8,
       false},
      {"l4", 300e9, 24 * kGiB, 121e12, 242.5e12, 242.5e12, 0, 32e9, 12.5e9, 32e9, 72, 89, 58, 8,
       false},
      {"rtx_4090", 1008e9, 24 * kGiB, 165.2e12, 330.3e12, 660.6e12, 0, 32e9, 12.5e9, 32e9, 450, 89,
       128, 4, false},
      {"rtx_pro_6000", 1597e9, 96 * kGiB, 500e12, 1000e12, 1000e12, 2000e12, 33e9, 50e9, 64e9, 600,
       120, 188, 8, false},
  };
  std::vector<std::string> seen;
  for (const Row& row : rows) {
    CAPTURE(row.name);
    seen.emplace_back(row.name);
    const SystemSpec system = load(row.name);
    CHECK(system.gpu.mem_bw.value() == row.mem_bw);
    CHECK(static_cast<double>(system.gpu.mem_capacity.value()) == row.capacity);
    CHECK(system.gpu.bf16_peak.value() == row.bf16);
    CHECK(system.gpu.fp8_peak.value() == row.fp8);
    CHECK(system.gpu.int8_peak.value() == row.int8);
    CHECK(system.gpu.fp4_peak.value() == row.fp4);
    CHECK(system.node.intra_bw.value() == row.intra);
    CHECK(system.node.inter_bw.value() == row.inter);
    CHECK(system.node.pcie_bw.value() == row.pcie);
    CHECK(system.gpu.power.value() == row.watts);
    CHECK(system.gpu.sm_version == row.sm_version);
    CHECK(system.gpu.sm_count == row.sm_count);
    CHECK(system.node.gpus == row.gpus);
    CHECK(system.node.nvlink == row.nvlink);
    CHECK(system.node.peer_access == !system.name.starts_with("rtx_"));
  }
  std::sort(seen.begin(), seen.end());
  CHECK(seen == shipped_systems());
}

// serving-semantics 2.1: what vLLM logs as the device total, GiB.
TEST_CASE("reported capacity is what start-up logs say") {
  struct Row {
    const char* name;
    double least, most;
  };
  const Row rows[] = {{"a100_sxm", 79.1, 79.3},   {"h100_sxm", 79.1, 79.3},
                      {"h200_sxm", 139.7, 139.9}, {"b200_sxm", 178.0, 179.0},
                      {"l40s", 44.4, 44.6},       {"rtx_4090", 23.5, 23.7}};
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const double gib =
        static_cast<double>(load(row.name).gpu.reported_capacity.value()) / (1 << 30);
    CHECK(gib >= row.least);
    CHECK(gib <= row.most);
  }
}

TEST_CASE("shipped systems are plausible") {
  for (const std::string& name : shipped_systems()) {
    CAPTURE(name);
    const SystemSpec system = load(name);
    CHECK(system.name == name);
    CHECK(system.source.find("20") != std::string::npos);  // a year
    const double reported = system.gpu.reported_capacity / system.gpu.mem_capacity;
    CHECK(reported > 0.90);
    CHECK(reported < 1.0);
    const double ops_per_byte = system.gpu.bf16_peak.value() / system.gpu.mem_bw.value();
    CHECK(ops_per_byte > 100);
    CHECK(ops_per_byte < 500);
    if (system.gpu.fp8_peak.value() > 0) {
      CHECK(system.gpu.sm_version >= 89);
      CHECK(system.gpu.fp8_peak / system.gpu.bf16_peak == doctest::Approx(2).epsilon(0.02));
    }
    if (system.gpu.fp4_peak.value() > 0) {
      CHECK(system.gpu.sm_version >= 100);
      CHECK(system.gpu.fp4_peak / system.gpu.fp8_peak == doctest::Approx(2).epsilon(0.02));
    }
    const RooflineEfficiency& part = system.efficiency;
    CHECK(part.grouped_gemm <= part.gemm);
    CHECK(part.kv_memory <= part.memory);
    CHECK(part.kernel_launch < part.eager_launch);
    // A NIC is never faster than the slot it sits in.
    CHECK(system.node.inter_bw <= system.node.pcie_bw);
    // Without NVLink GPUs meet over PCIe, at most as fast; through host memory slower.
    if (!system.node.nvlink) CHECK(system.node.intra_bw <= system.node.pcie_bw);
    if (!system.node.nvlink && system.node.peer_access)
      CHECK(system.node.intra_bw == system.node.pcie_bw);
    for (const auto& [gpus, bytes] : system.nccl_mem) CHECK(gpus <= system.node.gpus);
  }
}

TEST_CASE("every number in a shipped system has its source beside it") {
  for (const std::string& name : shipped_systems()) {
    std::ifstream file(std::string(MOESIM_ROOT) + "/hardware/systems/" + name + ".yaml");
    REQUIRE(file.good());
    for (std::string line; std::getline(file, line);) {
      const bool self_evident =
          line.find("sm_version:") != std::string::npos || line.find("_link:") != std::string::npos;
      if (!line.starts_with("  ") || self_evident) continue;
      CAPTURE(name);
      CAPTURE(line);
      CHECK(line.find(" # ") != std::string::npos);
    }
  }
}

std::string message(const std::string& name) {
  try {
    static_cast<void>(load_system(name, MOESIM_ROOT, Where{"scenario.yaml", 7, 16}));
  } catch (const InputError& error) {
    return to_text(error.diagnostics().front());
  }
  return "accepted";
}

TEST_CASE("an unknown system is answered with the nearest, a file is read as one") {
  CHECK(message("h100_smx") ==
        "scenario.yaml:7:16: profile: unknown system 'h100_smx'; did you mean 'h100_sxm'?");
  CHECK(message("tpu") ==
        "scenario.yaml:7:16: profile: unknown system 'tpu'; known: a100_pcie, a100_sxm, b200_sxm, "
        "h100_pcie, h100_sxm, h200_sxm, l4, l40s, rtx_4090, rtx_pro_6000");
  CHECK(message("").find("unknown system ''") != std::string::npos);
  const SystemSpec file = load_system("hardware/systems/l4.yaml", MOESIM_ROOT, Where());
  CHECK(file.name == "l4");
  CHECK(file.gpu.mem_bw == load("l4").gpu.mem_bw);
  CHECK(message("hardware/systems/none.yaml") != "accepted");
}

// DGX A100 640GB and DGX H100 datasheets: 2 TB. The rest do not say.
TEST_CASE("systems whose server has a datasheet state its memory") {
  CHECK(load("a100_sxm").node.host_mem_capacity == Bytes(2'000'000'000'000));
  CHECK(load("h100_sxm").node.host_mem_capacity == Bytes(2'000'000'000'000));
  CHECK(load("l4").node.host_mem_capacity == Bytes(0));
}

// Channels x MT/s x 8 bytes, and cores x fp32 FLOPs a cycle x base clock.
TEST_CASE("the host of every shipped system has a bandwidth and a peak") {
  struct Row {
    const char* name;
    int channels;
    double transfers, cores, flops, clock;
  };
  const Row rows[] = {
      {"a100_sxm", 16, 3200e6, 128, 32, 2.25e9}, {"a100_pcie", 16, 3200e6, 128, 32, 2.25e9},
      {"h100_sxm", 16, 4400e6, 112, 64, 2.0e9},  {"h100_pcie", 16, 4800e6, 112, 64, 2.0e9},
      {"h200_sxm", 16, 4400e6, 112, 64, 2.0e9},  {"b200_sxm", 16, 4400e6, 112, 64, 2.1e9},
      {"l40s", 16, 4800e6, 112, 64, 2.0e9},      {"l4", 16, 4800e6, 112, 64, 2.0e9},
      {"rtx_4090", 2, 5200e6, 16, 32, 4.5e9},    {"rtx_pro_6000", 16, 6400e6, 128, 64, 2.4e9}};
  CHECK(std::size(rows) == shipped_systems().size());
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const SystemSpec system = load(row.name);
    CHECK(system.node.host_mem_bw.value() == doctest::Approx(row.channels * row.transfers * 8));
    CHECK(system.node.host_flops.value() ==
          doctest::Approx(row.cores * row.flops * row.clock).epsilon(1e-3));
    CHECK(system.efficiency.host_memory == 0.60);
  }
}

}  // namespace
}  // namespace moesim
