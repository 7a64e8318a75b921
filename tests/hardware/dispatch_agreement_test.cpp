// Every dispatch backend against the plain reference, which puts each message on each link of its
// path.
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "sim/base/random.h"
#include "tests/hardware/dispatch_support.h"
#include "tests/hardware/hardware_support.h"
#include "tests/reference/plain_messages.h"

namespace moesim {
namespace {

constexpr std::uint64_t kSeeds = 300;

struct Drawn {
  ClusterOptions cluster;
  std::vector<int> gpus;
  int tp = 1;
  bool sequence_parallel = true;
  LayerTraffic traffic;
};

int between(Rng& rng, int low, int high) {
  return low + static_cast<int>(rng.below(static_cast<std::uint32_t>(high - low + 1)));
}

/// Counts of any kind: idle ranks, ranks nobody needs, fractions.
std::vector<double> counts(Rng& rng, std::size_t size, bool fractions) {
  std::vector<double> out;
  for (std::size_t i = 0; i < size; ++i) {
    const bool none = rng.below(6) == 0;
    out.push_back(none ? 0 : between(rng, 1, 900) / (fractions ? 8.0 : 1.0));
  }
  return out;
}

/// Whole nodes, or part of the last one; of a few TP ranks, who then hold the same tokens.
Drawn draw(std::uint64_t seed) {
  Rng rng(seed, "dispatch");
  Drawn d;
  d.cluster.node.nvlink = rng.below(3) != 0;
  d.cluster.node.gpus = d.cluster.node.nvlink ? 4 : 8;
  d.cluster.node.nics = rng.below(2) == 0 ? 4 : 2;
  d.cluster.count = between(rng, 1, 3);
  d.cluster.preset = d.cluster.count == 1 ? NetworkPreset::kSingleNode
                     : rng.below(2) == 0  ? NetworkPreset::kRailOptimized
                                          : NetworkPreset::kLeafSpine;
  d.cluster.oversubscription = rng.below(2) == 0 ? 1 : 3;
  d.tp = between(rng, 1, 2);
  const int most = d.cluster.count * d.cluster.node.gpus / d.tp;
  d.gpus = first_gpus(d.tp * between(rng, 2, most));
  d.sequence_parallel = d.tp == 1 || rng.below(2) == 0;
  const bool fractions = rng.below(2) == 0;
  d.traffic.held = counts(rng, d.gpus.size(), fractions);
  d.traffic.held[0] += static_cast<double>(d.tp);
  if (!d.sequence_parallel) {
    for (std::size_t i = 0; i < d.gpus.size(); i += 2) d.traffic.held[i + 1] = d.traffic.held[i];
  }
  d.traffic.rank_copies = counts(rng, d.gpus.size(), fractions);
  d.traffic.slots = counts(rng, d.gpus.size(), fractions);
  return d;
}

void check_same(double backend, double plain) {
  CHECK(backend == doctest::Approx(plain).epsilon(1e-9));
}

TEST_CASE("backends move what the plain reference moves, in its time") {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Drawn d = draw(seed);
    DispatchWorld world(round_cluster(d.cluster), 1);
    world.setup.gpus = d.gpus;
    world.setup.tp = d.tp;
    world.setup.sequence_parallel = d.sequence_parallel;
    const reference::PlainGroup group{&world.topology,
                                      &world.collectives,
                                      d.gpus,
                                      d.tp,
                                      d.sequence_parallel,
                                      world.setup.top_k,
                                      world.setup.experts,
                                      world.setup.dispatch_token_bytes,
                                      world.setup.combine_token_bytes};
    Rng rng(seed, "nodes");
    d.traffic.node_copies =
        counts(rng, static_cast<std::size_t>(world.topology.node_count(d.gpus)), false);
    const LayerTraffic& t = d.traffic;
    for (const std::string& name : dispatch_names()) {
      CAPTURE(seed);
      CAPTURE(name);
      const DispatchCost cost = world.make(name)->cost(t.view());
      const reference::PlainMessages plain =
          plain_messages(name, group, {t.held, t.rank_copies, t.node_copies, t.slots});
      check_same(cost.dispatch_ns, plain.dispatch_ns);
      check_same(cost.combine_ns, plain.combine_ns);
      check_same(cost.dispatch_bytes_intra, plain.dispatch_intra);
      check_same(cost.dispatch_bytes_inter, plain.dispatch_inter);
      check_same(cost.combine_bytes_intra, plain.combine_intra);
      check_same(cost.combine_bytes_inter, plain.combine_inter);
    }
  }
}

}  // namespace
}  // namespace moesim
