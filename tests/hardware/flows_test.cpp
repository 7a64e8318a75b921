#include "hardware/flows.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <numeric>

#include "sim/base/random.h"
#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

Transfer transfer(int from, int to, double megabytes) {
  return {from, to, Bytes(static_cast<std::int64_t>(megabytes * 1e6))};
}

/// Milliseconds of each, less the latency of its path.
std::vector<double> ms(const Topology& topology, const std::vector<Transfer>& transfers) {
  std::vector<double> result;
  const std::vector<Seconds> times = finish_times(topology, transfers);
  for (std::size_t i = 0; i < times.size(); ++i) {
    const Transfer& t = transfers[i];
    const bool moves = t.from_gpu != t.to_gpu && t.bytes > Bytes(0);
    const Seconds latency = moves ? topology.latency(t.from_gpu, t.to_gpu) : Seconds(0);
    result.push_back((times[i] - latency).value() * 1e3);
  }
  return result;
}

// One node of four on an NVSwitch: every GPU sends and receives 100 GB/s, 100 MB a millisecond.
TEST_CASE("transfers share a port, and take over what finished ones leave") {
  struct Case {
    const char* why;
    std::vector<Transfer> transfers;
    std::vector<double> expect_ms;
  };
  const Case cases[] = {
      {"alone", {transfer(0, 1, 100)}, {1}},
      {"other ports", {transfer(0, 1, 100), transfer(2, 3, 100)}, {1, 1}},
      {"both ways do not share", {transfer(0, 1, 100), transfer(1, 0, 100)}, {1, 1}},
      {"one sender", {transfer(0, 1, 100), transfer(0, 2, 100)}, {2, 2}},
      // 50 each until the small one is done at 1 ms, then 100: 50 + 50 of 100 at 1.5 ms.
      {"the rest speeds up", {transfer(0, 1, 50), transfer(0, 2, 100)}, {1, 1.5}},
      // 0->1 and 2->1 share the port of 1: 50 each. 0->3 takes what 0 has left: also 50.
      {"a chain of shared ports",
       {transfer(0, 1, 100), transfer(2, 1, 100), transfer(0, 3, 100)},
       {2, 2, 2}},
      // Three into 1: 33.3 each; 0->2 gets 66.7 of 0's port. All into 1 are done at 3 ms.
      {"max-min, not equal: who meets no narrow port gets more",
       {transfer(0, 1, 100), transfer(2, 1, 100), transfer(3, 1, 100), transfer(0, 2, 200)},
       {3, 3, 3, 3}},
      {"twice the same route", {transfer(0, 1, 50), transfer(0, 1, 100)}, {1, 1.5}},
      {"nothing to do", {transfer(0, 1, 0), transfer(2, 2, 100)}, {0, 0}},
  };
  const Topology topology(round_cluster());
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const std::vector<double> found = ms(topology, c.transfers);
    REQUIRE(found.size() == c.expect_ms.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      CHECK(found[i] == doctest::Approx(c.expect_ms[i]).epsilon(1e-9));
    }
  }
}

// Two nodes with NICs of 10 GB/s: 0 -> 4 gets 10. The way to the NIC is PCIe, NVLink is a port of
// its own, so 0 -> 1 has all 100.
TEST_CASE("a slow network leaves NVLink alone") {
  const Topology topology(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}));
  const std::vector<double> found = ms(topology, {transfer(0, 4, 100), transfer(0, 1, 100)});
  CHECK(found[0] == doctest::Approx(10));
  CHECK(found[1] == doctest::Approx(1));
}

TEST_CASE("the time of all is that of the last, its path's latency included") {
  const Topology topology(round_cluster());
  const std::vector<Transfer> both = {transfer(0, 1, 50), transfer(0, 2, 100)};
  CHECK(transfer_time(topology, both).value() == doctest::Approx(1.5e-3 + 1e-6));
  CHECK(transfer_time(topology, {}).value() == 0);
}

std::vector<FlowRoute> random_routes(int gpus, std::size_t count, Rng& random) {
  std::vector<FlowRoute> routes;
  while (routes.size() < count) {
    const auto from = static_cast<int>(random.below(static_cast<std::uint32_t>(gpus)));
    const auto to = static_cast<int>(random.below(static_cast<std::uint32_t>(gpus)));
    if (from != to) routes.push_back({from, to, 1.0 + random.below(3)});
  }
  return routes;
}

const ClusterOptions kWorlds[] = {
    {},
    {.node = {.nvlink = false, .gpus = 8}},
    {.count = 3, .preset = NetworkPreset::kRailOptimized, .node = {.nics = 2}},
    {.count = 4, .preset = NetworkPreset::kLeafSpine, .oversubscription = 3},
};

// The definition: no link above its bandwidth, and every transfer crosses a full link on which none
// is faster (Bertsekas and Gallager, 6.5.2).
TEST_CASE("rates are max-min fair") {
  Rng random(11, "flows");
  for (const ClusterOptions& options : kWorlds) {
    const Topology topology(round_cluster(options));
    for (int draw = 0; draw < 20; ++draw) {
      const std::vector<FlowRoute> routes = random_routes(topology.gpus(), 12, random);
      const std::vector<BytesPerSecond> rates = max_min_rates(topology, routes);
      std::vector<double> load(topology.links().size(), 0), fastest(load.size(), 0);
      for (std::size_t i = 0; i < routes.size(); ++i) {
        for (const int link : topology.path(routes[i].from_gpu, routes[i].to_gpu)) {
          const auto l = static_cast<std::size_t>(link);
          load[l] += routes[i].flows * rates[i].value();
          fastest[l] = std::max(fastest[l], rates[i].value());
        }
      }
      const auto full = [&](std::size_t l) {
        return load[l] >= topology.links()[l].bandwidth.value() * (1 - 1e-9);
      };
      for (std::size_t l = 0; l < load.size(); ++l) {
        CHECK(load[l] <= topology.links()[l].bandwidth.value() * (1 + 1e-9));
      }
      for (std::size_t i = 0; i < routes.size(); ++i) {
        const auto& path = topology.path(routes[i].from_gpu, routes[i].to_gpu);
        CHECK(std::ranges::any_of(path, [&](int link) {
          const auto l = static_cast<std::size_t>(link);
          return full(l) && rates[i].value() >= fastest[l] * (1 - 1e-9);
        }));
      }
    }
  }
}

TEST_CASE("any order of the transfers gives the same times, and work is conserved") {
  Rng random(12, "flows");
  for (const ClusterOptions& options : kWorlds) {
    const Topology topology(round_cluster(options));
    std::vector<Transfer> transfers;
    for (const FlowRoute& route : random_routes(topology.gpus(), 40, random)) {
      transfers.push_back(transfer(route.from_gpu, route.to_gpu, 1 + random.below(50)));
    }
    const std::vector<Seconds> times = finish_times(topology, transfers);
    std::vector<Transfer> turned(transfers.rbegin(), transfers.rend());
    const std::vector<Seconds> again = finish_times(topology, turned);
    for (std::size_t i = 0; i < times.size(); ++i) {
      CHECK(again[times.size() - 1 - i].value() == doctest::Approx(times[i].value()).epsilon(1e-9));
    }
    // The last cannot be done before the busiest link has carried its bytes, nor later than if all
    // went one after the other.
    std::vector<double> busy(topology.links().size(), 0);
    double in_turn = 0;
    for (const Transfer& t : transfers) {
      in_turn += (t.bytes / topology.bottleneck(t.from_gpu, t.to_gpu) +
                  topology.latency(t.from_gpu, t.to_gpu))
                     .value();
      for (const int link : topology.path(t.from_gpu, t.to_gpu)) {
        const auto l = static_cast<std::size_t>(link);
        busy[l] += (t.bytes / topology.links()[l].bandwidth).value();
      }
    }
    const double last = transfer_time(topology, transfers).value();
    CHECK(last >= *std::ranges::max_element(busy));
    CHECK(last <= in_turn);
  }
}

}  // namespace
}  // namespace moesim
