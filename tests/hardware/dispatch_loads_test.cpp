#include "hardware/dispatch_loads.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <utility>

#include "sim/base/random.h"
#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

using Route = ProductLoads::Route;

std::vector<double> random_weights(int n, Rng& random) {
  std::vector<double> weights;
  for (int i = 0; i < n; ++i) weights.push_back(random.uniform() < 0.2 ? 0 : random.uniform());
  return weights;
}

/// Every pair's bytes put on every link of its path, one by one.
double longest_by_pairs(const Topology& topology, std::span<const int> gpus,
                        std::span<const double> from, std::span<const double> to) {
  std::vector<double> bytes(topology.links().size(), 0);
  for (std::size_t i = 0; i < gpus.size(); ++i) {
    for (std::size_t j = 0; j < gpus.size(); ++j) {
      if (i == j) continue;
      for (const int link : topology.path(gpus[i], gpus[j])) {
        bytes[static_cast<std::size_t>(link)] += from[i] * to[j];
      }
    }
  }
  double longest = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    longest = std::max(longest, bytes[i] / topology.links()[i].bandwidth.value());
  }
  return longest;
}

TEST_CASE("the busiest link is that of adding every pair to every link of its path") {
  struct Case {
    const char* why;
    ClusterOptions options;
    int ranks;
  };
  const Case cases[] = {
      {"one NVLink node", {}, 4},
      {"PCIe: pairs share the host bridge", {.node = {.nvlink = false, .gpus = 8}}, 8},
      {"rails", {.count = 3, .preset = NetworkPreset::kRailOptimized}, 12},
      {"one NIC for two GPUs",
       {.count = 2, .preset = NetworkPreset::kRailOptimized, .node = {.nics = 2}},
       8},
      {"oversubscribed leaves",
       {.count = 4, .preset = NetworkPreset::kLeafSpine, .oversubscription = 4},
       16},
      {"a group that ends inside a node", {.count = 2, .preset = NetworkPreset::kFatTree}, 6},
  };
  Rng random(5, "dispatch loads");
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const Topology topology(round_cluster(c.options));
    std::vector<int> gpus = first_gpus(c.ranks);
    std::ranges::reverse(gpus);  // ranks are not cluster numbers
    const ProductLoads loads(topology, gpus, c.ranks, c.ranks, [](int i, int j) {
      return Route{i, j};
    });
    for (int draw = 0; draw < 20; ++draw) {
      const std::vector<double> from = random_weights(c.ranks, random);
      const std::vector<double> to = random_weights(c.ranks, random);
      const ProductLoads::Busy busy = loads.busy(from, to);
      CHECK(std::max(busy.inside, busy.between) ==
            doctest::Approx(longest_by_pairs(topology, gpus, from, to)).epsilon(1e-12));
    }
  }
}

// Two nodes of four, NVLink 100 GB/s, NICs 10 GB/s. Rank 5 gets 6 from each of the others: over
// NVLink 3 x 6, over its NIC 4 x 6.
TEST_CASE("links within and between nodes are told apart, with whose they are") {
  const Topology topology(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}));
  const std::vector<int> gpus = first_gpus(8);
  const ProductLoads loads(topology, gpus, 8, 8, [](int i, int j) { return Route{i, j}; });
  std::vector<double> from(8, 1), to(8, 0);
  to[5] = 6;
  const ProductLoads::Busy busy = loads.busy(from, to);
  CHECK(busy.inside == doctest::Approx(18 / 100e9));
  CHECK(busy.between == doctest::Approx(24 / 10e9));
  CHECK(busy.inside_rank == 5);
  CHECK(busy.between_rank == 5);
}

TEST_CASE("routes that lead nowhere, or to where they start, load nothing") {
  const Topology topology(round_cluster());
  const std::vector<int> gpus = first_gpus(4);
  const ProductLoads none(topology, gpus, 4, 4, [](int, int) { return Route{}; });
  CHECK(none.empty());
  const ProductLoads self(topology, gpus, 4, 4, [](int i, int) { return Route{i, i}; });
  CHECK(self.empty());
  const std::vector<double> ones(4, 1);
  CHECK(self.busy(ones, ones).inside == 0);
}

TEST_CASE("the way back over like cables is the same, over unlike ones not") {
  const std::vector<int> gpus = first_gpus(8);
  const auto there = [](int i, int j) { return Route{i, j}; };
  const auto back = [](int i, int j) { return Route{j, i}; };
  const Topology rails(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}));
  CHECK(ProductLoads(rails, gpus, 8, 8, there).same_as(ProductLoads(rails, gpus, 8, 8, back)));
  // Only rank 0 sends: its one outgoing link is not like eight incoming ones.
  const auto fan = [](int i, int j) { return i == 0 ? Route{i, j} : Route{}; };
  const auto gather = [](int i, int j) { return j == 0 ? Route{i, j} : Route{}; };
  CHECK_FALSE(
      ProductLoads(rails, gpus, 8, 8, fan).same_as(ProductLoads(rails, gpus, 8, 8, gather)));
}

}  // namespace
}  // namespace moesim
