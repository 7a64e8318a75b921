// What every registered dispatch backend must hold, and that hardware/README.md lists them.
#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>

#include "hardware/dispatch_curve.h"
#include "hardware/dispatch_maker.h"
#include "tests/hardware/dispatch_support.h"
#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

struct Case {
  const char* why;
  ClusterOptions options;
  int ranks;
};
const Case kCases[] = {
    {"one NVLink node", {}, 4},
    {"PCIe", {.node = {.nvlink = false, .gpus = 8}}, 8},
    {"two nodes", {.count = 2, .preset = NetworkPreset::kRailOptimized}, 8},
    {"two nodes, unequal shares", {.count = 2, .preset = NetworkPreset::kLeafSpine}, 6},
};

/// Calls `check(name, world)` for every backend and case, with curves and without.
template <class Check>
void for_every_backend(const Check& check) {
  for (const std::string& name : dispatch_names()) {
    for (const Case& c : kCases) {
      for (const bool curves : {false, true}) {
        CAPTURE(name);
        CAPTURE(c.why);
        CAPTURE(curves);
        DispatchWorld world(round_cluster(c.options), c.ranks);
        world.setup.kernels.none = !curves;
        world.setup.kernels.system = "h100_sxm";
        world.setup.kernels.sm_version = 90;
        world.setup.kernels.framework = "vllm";
        check(*world.make(name), world);
      }
    }
  }
}

double total_bytes(const DispatchCost& cost) {
  return cost.dispatch_bytes_intra + cost.dispatch_bytes_inter + cost.combine_bytes_intra +
         cost.combine_bytes_inter;
}

TEST_CASE("dispatch takes time, moves bytes, and the same call gives the same answer") {
  for_every_backend([](const DispatchBackend& backend, const DispatchWorld& world) {
    const LayerTraffic traffic = uniform_traffic(world, 64);
    const DispatchCost cost = backend.cost(traffic.view());
    CHECK(std::isfinite(cost.dispatch_ns));
    CHECK(std::isfinite(cost.combine_ns));
    CHECK(cost.dispatch_ns > 1e3);
    CHECK(cost.combine_ns > 1e3);
    CHECK(total_bytes(cost) > 0);
    CHECK((cost.dispatch_bytes_inter > 0) == (world.topology.node_count(world.setup.gpus) > 1));
    const DispatchCost again = backend.cost(traffic.view());
    CHECK(again.dispatch_ns == cost.dispatch_ns);
    CHECK(again.combine_ns == cost.combine_ns);
    CHECK(again.busiest_rank == cost.busiest_rank);
    CHECK(backend.source().measured == cost.measured);
    CHECK((backend.source().profile == "links") == !cost.measured);
    CHECK(backend.source().spread > 0.01);
    CHECK(backend.source().spread < 0.5);
  });
}

TEST_CASE("no tokens: what it takes to start, and no bytes") {
  for_every_backend([](const DispatchBackend& backend, const DispatchWorld& world) {
    const DispatchCost none = backend.cost(uniform_traffic(world, 0).view());
    const DispatchCost some = backend.cost(uniform_traffic(world, 512).view());
    CHECK(total_bytes(none) == 0);
    CHECK(none.dispatch_ns > 0);
    CHECK(none.dispatch_ns < some.dispatch_ns);
    CHECK(none.combine_ns < some.combine_ns);
  });
}

TEST_CASE("twice the tokens never take less, and move twice the bytes") {
  for_every_backend([](const DispatchBackend& backend, const DispatchWorld& world) {
    DispatchCost before = backend.cost(uniform_traffic(world, 1).view());
    for (double tokens = 2; tokens <= 8192; tokens *= 2) {
      CAPTURE(tokens);
      const DispatchCost now = backend.cost(uniform_traffic(world, tokens).view());
      CHECK(now.dispatch_ns >= before.dispatch_ns);
      CHECK(now.combine_ns >= before.combine_ns);
      CHECK(total_bytes(now) == doctest::Approx(2 * total_bytes(before)));
      before = now;
    }
  });
}

/// Nine tenths of what each gets goes to the first instead.
void heat(std::vector<double>& counts) {
  for (std::size_t i = 1; i < counts.size(); ++i) {
    counts[0] += 0.9 * counts[i];
    counts[i] *= 0.1;
  }
}

TEST_CASE("backends that gather everything do not care where experts lie, the others slow down") {
  for_every_backend([](const DispatchBackend& backend, const DispatchWorld& world) {
    if (world.setup.gpus.size() == 6) return;  // a node of two is the slow one until it gets less
    const LayerTraffic even = uniform_traffic(world, 2048);
    LayerTraffic hot = even;
    heat(hot.rank_copies);
    heat(hot.slots);
    heat(hot.node_copies);
    const DispatchCost before = backend.cost(even.view()), after = backend.cost(hot.view());
    if (backend.routed()) {
      CHECK(after.dispatch_ns > 1.2 * before.dispatch_ns);
      CHECK(after.combine_ns > 1.2 * before.combine_ns);
      if (world.topology.node_count(world.setup.gpus) == 1) CHECK(after.busiest_rank == 0);
    } else {
      CHECK(after.dispatch_ns == before.dispatch_ns);
      CHECK(after.combine_ns == before.combine_ns);
    }
  });
}

TEST_CASE("a backend that looks at copies asks for them, and nobody else does") {
  for_every_backend([](const DispatchBackend& backend, const DispatchWorld& world) {
    const LayerTraffic even = uniform_traffic(world, 512);
    LayerTraffic more = even;
    for (double& copies : more.rank_copies) copies *= 2;
    for (double& copies : more.node_copies) copies *= 2;
    const DispatchCost before = backend.cost(even.view()), after = backend.cost(more.view());
    CHECK(backend.needs_copies() == (total_bytes(after) != total_bytes(before)));
  });
}

TEST_CASE("an oversubscribed network never makes a dispatch faster, and four to one slower") {
  for (const std::string& name : dispatch_names()) {
    CAPTURE(name);
    const auto ns = [&](double oversubscription) {
      DispatchWorld world(round_cluster({.count = 4,
                                         .preset = NetworkPreset::kLeafSpine,
                                         .oversubscription = oversubscription}),
                          16);
      return world.make(name)->cost(uniform_traffic(world, 2048).view()).dispatch_ns;
    };
    CHECK(ns(2) >= ns(1));
    CHECK(ns(4) >= ns(2));
    CHECK(ns(16) > ns(1));
  }
}

TEST_CASE("the table of dispatch backends is what is registered, each with source and test") {
  std::ifstream file(std::string(MOESIM_ROOT) + "/hardware/README.md");
  REQUIRE(file.good());
  std::vector<std::string> names;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("## ")) inside = line == "## Dispatch backends";
    if (!inside || !line.starts_with("| `")) continue;
    names.push_back(line.substr(3, line.find('`', 3) - 3));
  }
  std::ranges::sort(names);
  CHECK(names == dispatch_names());
  for (const std::string& name : dispatch_names()) {
    CAPTURE(name);
    namespace fs = std::filesystem;
    CHECK(fs::exists(std::string(MOESIM_ROOT) + "/hardware/dispatchers/" + name + ".cpp"));
    CHECK(fs::exists(std::string(MOESIM_TEST_DIR) + "/hardware/dispatchers/" + name + "_test.cpp"));
    CHECK_FALSE(Registry<DispatchMaker>::find(name)->description.empty());
  }
}

TEST_CASE("curves were measured over the InfiniBand of links.yaml") {
  CHECK(kMeasuredNicEfficiency == load_link("ndr_400g", Where()).efficiency);
}

}  // namespace
}  // namespace moesim
