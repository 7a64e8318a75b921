#include <doctest/doctest.h>

#include "tests/hardware/dispatch_support.h"
#include "tests/hardware/hardware_support.h"

namespace moesim {
namespace {

/// 10 kB a token there (8 bytes for each of two experts), 20 kB back.
void round_tokens(DispatchSetup& setup) {
  setup.top_k = 2;
  setup.dispatch_token_bytes = 9984;
  setup.combine_token_bytes = 20000;
}

double collective_ns(const DispatchWorld& world, CollectiveKind kind, double bytes,
                     const std::vector<int>& gpus) {
  const Bytes size(static_cast<std::int64_t>(bytes));
  return 1e9 * world.collectives.cost({kind, size, gpus}).time.value();
}

DispatchCost cost_of(const DispatchWorld& world, const std::vector<double>& held) {
  const std::vector<double> none(held.size(), 0), node(2, 0);
  return world.make("allgather_reducescatter")->cost({held, none, none, node});
}

TEST_CASE("all-gather of all tokens there, reduce-scatter back") {
  DispatchWorld world(round_cluster(), 4);
  round_tokens(world.setup);
  const DispatchCost cost = cost_of(world, {100, 100, 100, 100});
  const auto all = first_gpus(4);
  CHECK(cost.dispatch_ns ==
        doctest::Approx(collective_ns(world, CollectiveKind::kAllGather, 4e6, all)));
  CHECK(cost.combine_ns ==
        doctest::Approx(collective_ns(world, CollectiveKind::kReduceScatter, 8e6, all)));
  CHECK(cost.dispatch_bytes_intra == doctest::Approx(3 * 4e6));  // every rank gets three quarters
}

TEST_CASE("ragged counts: the same bytes and a little for each of n broadcasts") {
  DispatchWorld world(round_cluster(), 4);
  round_tokens(world.setup);
  const DispatchCost even = cost_of(world, {100, 100, 100, 100});
  const DispatchCost ragged = cost_of(world, {130, 90, 70, 110});
  CHECK(ragged.dispatch_ns == doctest::Approx(even.dispatch_ns + 4 * 0.12 * 1e3));
  CHECK(ragged.combine_ns == doctest::Approx(even.combine_ns + 4 * 0.12 * 1e3));
  CHECK(ragged.dispatch_bytes_intra == doctest::Approx(even.dispatch_bytes_intra));
  CHECK(ragged.busiest_rank == 2);  // has least, lacks most
}

// Ranks 0, 1 hold the same tokens, 2, 3 too: {0, 2} gathers beside {1, 3}, over GPUs of their own.
TEST_CASE("without expert parallelism the ranks of a TP index gather") {
  DispatchWorld world(round_cluster(), 4);
  round_tokens(world.setup);
  world.setup.tp = 2;
  world.setup.sequence_parallel = false;
  const DispatchCost cost = cost_of(world, {100, 100, 300, 300});
  CHECK(cost.dispatch_ns ==
        doctest::Approx(collective_ns(world, CollectiveKind::kAllGather, 4e6, {0, 2}) +
                        2 * 0.12 * 1e3));
  CHECK(cost.dispatch_bytes_intra == doctest::Approx(2 * 4e6));
}

// Eight PCIe GPUs, four on each side of the host bridge. {0, 4}, {1, 5}, {2, 6}, {3, 7} cross it
// together: four times the bytes of one.
TEST_CASE("groups of several TP indices share the bridge between them") {
  DispatchWorld world(round_cluster({.node = {.nvlink = false, .gpus = 8}}), 8);
  round_tokens(world.setup);
  world.setup.tp = 4;
  world.setup.sequence_parallel = false;
  const DispatchCost cost = cost_of(world, std::vector<double>(8, 100));
  CHECK(cost.dispatch_ns ==
        doctest::Approx(collective_ns(world, CollectiveKind::kAllGather, 4 * 2e6, {0, 4})));
}

// A ring over two nodes of four has two of its eight hops between nodes.
TEST_CASE("bytes between nodes are those of the ring's hops between them") {
  DispatchWorld world(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}), 8);
  round_tokens(world.setup);
  const DispatchCost cost = cost_of(world, std::vector<double>(8, 100));
  CHECK(cost.dispatch_bytes_inter == doctest::Approx(2 * 7 * 1e6));
  CHECK(cost.dispatch_bytes_intra == doctest::Approx(6 * 7 * 1e6));
}

}  // namespace
}  // namespace moesim
