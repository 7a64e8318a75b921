#include "hardware/collective.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <random>

#include "sim/base/registry.h"
#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

constexpr std::int64_t kKiB = 1024, kMiB = 1024 * kKiB;

constexpr CollectiveKind kKinds[] = {CollectiveKind::kAllReduce, CollectiveKind::kAllGather,
                                     CollectiveKind::kReduceScatter, CollectiveKind::kAllToAll,
                                     CollectiveKind::kBroadcast};

struct World {
  const char* why;
  ClusterOptions cluster;
};
const World kWorlds[] = {
    {"one NVLink node", {.node = {.gpus = 8, .nics = 8, .sm_version = 90}}},
    {"one PCIe node", {.node = {.nvlink = false, .gpus = 8}}},
    {"rails", {.count = 4, .preset = NetworkPreset::kRailOptimized}},
    {"oversubscribed leaves",
     {.count = 4, .preset = NetworkPreset::kLeafSpine, .oversubscription = 3}},
    {"shared NICs",
     {.count = 3,
      .preset = NetworkPreset::kFatTree,
      .node = {.nvlink = false, .gpus = 4, .nics = 1}}},
};

/// Least time the network could need to move what the algorithm says it moves.
double link_bound(const CollectiveCost& cost, const Topology& topology) {
  double fastest = 0;
  for (const Link& link : topology.links()) fastest = std::max(fastest, link.bandwidth.value());
  return static_cast<double>(cost.busiest_link.value()) / fastest;
}

/// What no all-reduce, all-gather ... can beat: each GPU must take in (or put out) so much of the
/// call's bytes, and its links, all together, carry so much.
double ingest_bound(CollectiveKind kind, double bytes, const std::vector<int>& gpus,
                    const Topology& topology) {
  const double n = static_cast<double>(gpus.size());
  const double must =
      kind == CollectiveKind::kBroadcast || kind == CollectiveKind::kAllReduce ? 1.0 : (n - 1) / n;
  double widest = 0;
  std::vector<double> into(topology.vertices().size(), 0.0);
  for (const Link& link : topology.links()) {
    into[static_cast<std::size_t>(link.to)] += link.bandwidth.value();
  }
  for (std::size_t i = 0; i < into.size(); ++i) {
    if (topology.vertices()[i].kind == VertexKind::kGpu) widest = std::max(widest, into[i]);
  }
  return must * bytes / widest;
}

/// Checks one algorithm over the first `ranks` GPUs at sizes from 0 to 16 GiB.
void check_contract(const CollectiveAlgorithm& algorithm, CollectiveKind kind, int ranks,
                    const Topology& topology) {
  const std::vector<int> gpus = first_gpus(ranks);
  Seconds last;
  for (std::int64_t bytes = 0; bytes < (std::int64_t{1} << 34); bytes = bytes * 3 + 7) {
    const CollectiveCost cost = algorithm.cost({kind, Bytes(bytes), gpus}, topology);
    const double time = cost.time.value();
    CHECK(std::isfinite(time));
    CHECK(cost.time >= last);
    last = cost.time;
    CHECK((time > 0) == (ranks > 1));
    CHECK(time >= link_bound(cost, topology));
    if (ranks == 1) continue;
    CHECK(time >= ingest_bound(kind, static_cast<double>(bytes), gpus, topology));
  }
  static std::mt19937 random(1);
  std::vector<int> shuffled = gpus;
  std::shuffle(shuffled.begin(), shuffled.end(), random);
  CHECK(algorithm.cost({kind, Bytes(7'000'000), shuffled}, topology).time ==
        algorithm.cost({kind, Bytes(7'000'000), gpus}, topology).time);
}

void check_contract(const CollectiveAlgorithm& algorithm, const Topology& topology) {
  for (const CollectiveKind kind : kKinds) {
    for (const int ranks : {1, 2, 4, 6, 8, topology.gpus()}) {
      const std::vector<int> gpus = first_gpus(ranks);
      if (ranks > 1 && !algorithm.supports({kind, Bytes(1), gpus}, topology)) continue;
      CAPTURE(static_cast<int>(kind));
      CAPTURE(ranks);
      check_contract(algorithm, kind, ranks, topology);
    }
  }
}

TEST_CASE("contract: every registered algorithm behaves in every world") {
  for (const World& world : kWorlds) {
    const Topology topology(round_cluster(world.cluster));
    for (const std::string& name : Registry<CollectiveAlgorithm>::names()) {
      CAPTURE(world.why);
      CAPTURE(name);
      check_contract(*algorithm(name), topology);
    }
  }
}

TEST_CASE("the chooser follows vLLM for all-reduce") {
  struct Case {
    const char* why;
    int sm_version;
    bool nvlink;
    int ranks;
    std::int64_t bytes;
    const char* algorithm;
  };
  const Case cases[] = {
      {"one rank", 80, true, 1, 4096, "none"},
      {"tiny, 8 ranks", 80, true, 8, 64 * kKiB, "one_shot"},
      {"8 ranks: one-shot below 256 KiB", 80, true, 8, 256 * kKiB - 16, "one_shot"},
      {"8 ranks: two-shot from 256 KiB", 80, true, 8, 256 * kKiB, "two_shot"},
      {"6 ranks alike", 80, true, 6, 256 * kKiB, "two_shot"},
      {"4 ranks: one-shot below 512 KiB", 80, true, 4, 512 * kKiB - 16, "one_shot"},
      {"4 ranks: two-shot from 512 KiB", 80, true, 4, 512 * kKiB, "two_shot"},
      {"2 ranks: always one-shot", 80, true, 2, 8 * kMiB - 16, "one_shot"},
      {"Ampere: NCCL from 8 MiB", 80, true, 8, 8 * kMiB, "ring"},
      {"2 ranks too", 80, true, 2, 8 * kMiB, "ring"},
      {"7 ranks: the kernel does not exist", 80, true, 7, 4096, "ring"},
      {"Hopper, 8 ranks: symmetric memory", 90, true, 8, 64 * kMiB, "two_shot"},
      {"and NCCL above 64 MiB, by NVLS", 90, true, 8, 65 * kMiB, "nvls"},
      {"Hopper, 4 ranks: up to 32 MiB", 90, true, 4, 32 * kMiB, "two_shot"},
      {"4 ranks: no NVLS", 90, true, 4, 33 * kMiB, "ring"},
      {"Blackwell, 8 ranks: up to 128 MiB", 100, true, 8, 128 * kMiB, "two_shot"},
      {"Blackwell, 2 ranks: up to 8 MiB", 100, true, 2, 8 * kMiB + 16, "ring"},
      {"PCIe, 2 ranks: custom", 120, false, 2, 1 * kMiB, "one_shot"},
      {"PCIe, 4 ranks: NCCL", 120, false, 4, 64 * kKiB, "ring"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const Topology topology(round_cluster(
        {.node = {.nvlink = c.nvlink, .gpus = 8, .nics = 8, .sm_version = c.sm_version}}));
    const Collectives collectives(topology, c.sm_version);
    const std::vector<int> gpus = first_gpus(c.ranks);
    const CollectiveCall call{CollectiveKind::kAllReduce, Bytes(c.bytes), gpus};
    CHECK(collectives.chosen(call) == c.algorithm);
    if (c.ranks > 1) {
      CHECK(collectives.cost(call).time == algorithm(c.algorithm)->cost(call, topology).time);
    } else {
      CHECK(collectives.cost(call).time.value() == 0);
    }
  }
}

TEST_CASE("across nodes it is NCCL, and the cheapest of the others") {
  const Topology topology(round_cluster({.count = 16, .preset = NetworkPreset::kRailOptimized}));
  const Collectives collectives(topology, 90);
  const std::vector<int> all = first_gpus(64), pair{0, 4};
  CHECK(collectives.chosen({CollectiveKind::kAllReduce, Bytes(4096), all}) == "tree");
  CHECK(collectives.chosen({CollectiveKind::kAllReduce, Bytes(16 * 1024 * kMiB), all}) == "ring");
  CHECK(collectives.chosen({CollectiveKind::kAllReduce, Bytes(4096), pair}) != "one_shot");
  CHECK(collectives.chosen({CollectiveKind::kAllGather, Bytes(4096), all}) == "ring");
  for (const std::int64_t bytes : {kKiB, kMiB, 1024 * kMiB}) {
    const CollectiveCall call{CollectiveKind::kAllToAll, Bytes(bytes), all};
    const Seconds direct = algorithm("direct_all_to_all")->cost(call, topology).time;
    const Seconds rails = algorithm("hierarchical_all_to_all")->cost(call, topology).time;
    CHECK(collectives.cost(call).time == std::min(direct, rails));
  }
}

TEST_CASE("remembering a group changes no answer") {
  const Topology topology(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}));
  const Collectives warm(topology, 80);
  std::mt19937 random(7);
  for (int i = 0; i < 500; ++i) {
    std::vector<int> gpus = first_gpus(8);
    std::shuffle(gpus.begin(), gpus.end(), random);
    gpus.resize(2 + random() % 7);
    const CollectiveCall call{kKinds[random() % 5], Bytes(static_cast<std::int64_t>(random())),
                              gpus};
    const Collectives cold(topology, 80);
    CHECK(warm.cost(call).time == cold.cost(call).time);
    CHECK(warm.chosen(call) == cold.chosen(call));
  }
}

TEST_CASE("a message costs its latency and the narrowest link") {
  const Topology topology(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}));
  const Collectives collectives(topology, 80);
  const auto send_us = [&](int from, int to) {
    return collectives.send(Bytes(10'000'000), from, to).value() * 1e6;
  };
  CHECK(send_us(1, 1) == 0);
  CHECK(send_us(0, 1) == doctest::Approx(5 + 1 + 100));         // NVLink, 100 GB/s
  CHECK(send_us(0, 4) == doctest::Approx(5 + 20 + 6 + 1000));   // rail, 10 GB/s
  CHECK(send_us(0, 5) == doctest::Approx(5 + 20 + 10 + 1000));  // spine
}

}  // namespace
}  // namespace moesim
