// Our formulas against measured collectives (ops/nccl_*.csv, ops/custom_allreduce_*.csv; their
// README names the sources). Not a fit: it guards against a broken formula. Skipped where the data
// are not at hand.
#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "sim/base/stats.h"
#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

using Row = std::map<std::string, std::string>;

std::vector<std::string> cells(const std::string& line) {
  std::vector<std::string> result;
  std::stringstream stream(line);
  for (std::string cell; std::getline(stream, cell, ',');) result.push_back(cell);
  return result;
}

std::vector<Row> table(const std::string& name) {
  std::ifstream file(std::string(MOESIM_SHARED_DIR) + "/data/ops/" + name);
  std::vector<Row> rows;
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> header = cells(line);
  while (std::getline(file, line)) {
    const std::vector<std::string> values = cells(line);
    Row row;
    for (std::size_t i = 0; i < std::min(header.size(), values.size()); ++i) {
      row[header[i]] = values[i];
    }
    rows.push_back(row);
  }
  return rows;
}

bool data_missing() {
  return !std::filesystem::exists(std::string(MOESIM_SHARED_DIR) + "/data/ops");
}

Topology single_node(const std::string& system) {
  ClusterSpec cluster;
  cluster.nodes.push_back({load_system(system, ".", Where()), 1, 8});
  return Topology(cluster);
}

struct Errors {
  std::vector<double> log_ratio;
  void add(double predicted, double measured) {
    log_ratio.push_back(std::log(predicted / measured));
  }
  [[nodiscard]] double absolute(double p) const {
    std::vector<double> sizes;
    for (const double error : log_ratio) sizes.push_back(std::fabs(error));
    std::sort(sizes.begin(), sizes.end());
    return 100 * percentile(sizes, p);
  }
  [[nodiscard]] double bias() const {
    std::vector<double> sorted = log_ratio;
    std::sort(sorted.begin(), sorted.end());
    return 100 * percentile(sorted, 50);
  }
  void report(const std::string& what) const {
    MESSAGE(what << ": " << log_ratio.size() << " rows, median |error| " << absolute(50)
                 << " %, p90 " << absolute(90) << " %, bias " << bias() << " %");
  }
};

const std::map<std::string, CollectiveKind> kOps = {
    {"all_reduce", CollectiveKind::kAllReduce},
    {"all_gather", CollectiveKind::kAllGather},
    {"reduce_scatter", CollectiveKind::kReduceScatter},
    {"alltoall", CollectiveKind::kAllToAll}};

/// What NCCL would take: the cheapest of its algorithms.
double nccl_us(CollectiveKind kind, std::int64_t bytes, int gpus, const Topology& topology) {
  if (kind == CollectiveKind::kAllToAll) {
    return time_us("direct_all_to_all", kind, bytes, topology, gpus);
  }
  double least = time_us("ring", kind, bytes, topology, gpus);
  const std::vector<int> group = first_gpus(gpus);
  for (const char* name : {"tree", "nvls"}) {
    if (!algorithm(name)->supports({kind, Bytes(bytes), group}, topology)) continue;
    least = std::min(least, time_us(name, kind, bytes, topology, gpus));
  }
  return least;
}

TEST_CASE("NCCL inside a node, against nccl-tests") {
  if (data_missing()) return;
  for (const char* system : {"a100_sxm", "h100_sxm", "h200_sxm", "b200_sxm"}) {
    const Topology topology = single_node(system);
    std::map<std::string, Errors> errors;
    for (const Row& row : table("nccl_" + std::string(system) + ".csv")) {
      const auto kind = kOps.find(row.at("op"));
      if (kind == kOps.end()) continue;
      errors[kind->first].add(
          nccl_us(kind->second, std::stoll(row.at("bytes")), std::stoi(row.at("gpus")), topology),
          std::stod(row.at("latency_us")));
    }
    for (const auto& [op, error] : errors) {
      const std::string what = std::string(system) + " " + op;
      CAPTURE(what);
      error.report(what);
      CHECK(error.absolute(50) < 18);
      CHECK(error.absolute(90) < 55);
      CHECK(std::fabs(error.bias()) < 15);
    }
  }
}

TEST_CASE("vLLM's all-reduce in a CUDA graph, as the chooser sees it") {
  if (data_missing()) return;
  for (const auto& [system, sm_version] :
       {std::pair<const char*, int>{"a100_sxm", 80}, std::pair<const char*, int>{"h100_sxm", 90}}) {
    const Topology topology = single_node(system);
    const Collectives collectives(topology, sm_version);
    std::map<std::string, Errors> errors;
    for (const Row& row : table("custom_allreduce_" + std::string(system) + ".csv")) {
      if (row.at("src") != "vllm" || row.at("mode") != "graph") continue;
      const std::int64_t bytes = std::stoll(row.at("bytes"));
      const std::vector<int> group = first_gpus(std::stoi(row.at("gpus")));
      const CollectiveCall call{CollectiveKind::kAllReduce, Bytes(bytes), group};
      const double predicted = collectives.cost(call).time.value() * 1e6;
      errors[bytes <= (8 << 20) ? "up to 8 MiB" : "above"].add(predicted,
                                                               std::stod(row.at("latency_us")));
    }
    for (const auto& [range, error] : errors) {
      const std::string what = std::string(system) + " vLLM all-reduce " + range;
      CAPTURE(what);
      error.report(what);
      CHECK(error.absolute(50) < 15);
      CHECK(error.absolute(90) < 60);
    }
  }
}

/// `nodes` whole systems on rails.
Topology rails(const std::string& system, const std::string& link, int nodes, int gpus, int nics) {
  ClusterSpec cluster;
  cluster.nodes.push_back({load_system(system, ".", Where()), nodes, gpus});
  cluster.network.preset = NetworkPreset::kRailOptimized;
  cluster.network.link = load_link(link, Where());
  cluster.network.nics_per_node = nics;
  return Topology(cluster);
}

// Two nodes of eight, all-reduce over all 16. The fabrics: p4d (4 x 100 Gbit/s EFA a node, NCCL 2.8
// of 2021) and A3 Mega (8 x 200 Gbit/s). Their small messages take 130 to 180 us, which is their
// software, not ours to model: only the large ones are checked.
TEST_CASE("all-reduce between nodes, against published nccl-tests") {
  if (data_missing()) return;
  struct Fabric {
    const char* source;
    const char* system;
    const char* link;
    int nics;
    double median;  // percent
  };
  const Fabric fabrics[] = {
      {"aws-samples/aws-efa-eks", "a100_sxm", "roce_100g", 4, 120},
      {"lessizzmore/create-a3mega-ztan-fork", "h100_sxm", "roce_200g", 8, 30}};
  for (const Fabric& fabric : fabrics) {
    const Topology topology = rails(fabric.system, fabric.link, 2, 8, fabric.nics);
    Errors small, large;
    for (const Row& row : table("published_internode.csv")) {
      if (row.at("source") != fabric.source || row.at("op") != "all_reduce") continue;
      if (row.at("nodes") != "2" || row.at("latency_us").empty()) continue;
      const std::int64_t bytes = std::stoll(row.at("bytes"));
      (bytes < (64 << 20) ? small : large)
          .add(nccl_us(CollectiveKind::kAllReduce, bytes, 16, topology),
               std::stod(row.at("latency_us")));
    }
    CAPTURE(fabric.source);
    REQUIRE_FALSE(large.log_ratio.empty());
    small.report(std::string(fabric.source) + " below 64 MiB");
    large.report(std::string(fabric.source) + " from 64 MiB");
    CHECK(large.absolute(50) < fabric.median);
  }
}

// 2 KiB on two A100 DGX: what a hop between nodes costs where the software is NCCL's own.
TEST_CASE("the latency of a small all-reduce between nodes, against Vidur's table") {
  if (data_missing()) return;
  Errors errors;
  for (const Row& row : table("vidur_network.csv")) {
    const int gpus = std::stoi(row.at("gpus")), per_node = std::stoi(row.at("gpus_per_node"));
    if (row.at("network") != "a100_dgx" || row.at("op") != "all_reduce") continue;
    if (row.at("bytes") != "2048" || gpus <= per_node) continue;
    const Topology topology = rails("a100_sxm", "hdr_200g", gpus / per_node, per_node, per_node);
    errors.add(nccl_us(CollectiveKind::kAllReduce, 2048, gpus, topology),
               std::stod(row.at("latency_us")));
  }
  REQUIRE_FALSE(errors.log_ratio.empty());
  errors.report("2 KiB all-reduce between A100 nodes");
  CHECK(errors.absolute(50) < 40);
}

}  // namespace
}  // namespace moesim
