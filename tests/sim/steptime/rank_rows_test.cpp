#include "sim/steptime/rank_rows.h"

#include <doctest/doctest.h>
#include <numeric>
#include <vector>

#include "sim/base/random.h"
#include "sim/steptime/routing_bank.h"
#include "tests/sim/steptime/moe_support.h"

using namespace moesim;

namespace {

/// Distinct random choices for every row and layer.
RoutingTable random_table(const RoutingShape& shape, std::uint64_t rows) {
  RoutingTable table(shape, rows);
  Rng rng(7, "table");
  std::vector<int> order(static_cast<std::size_t>(shape.experts));
  for (std::uint64_t row = 0; row < rows; ++row) {
    for (int l = 0; l < shape.layers; ++l) {
      std::iota(order.begin(), order.end(), 0);
      for (std::size_t k = 0; k < static_cast<std::size_t>(shape.top_k); ++k) {
        std::swap(order[k], order[k + rng.next() % (order.size() - k)]);
        table.set(row, l, static_cast<int>(k), order[k]);
      }
    }
  }
  return table;
}

/// Experts dealt to ranks in order, `ranks_a_node` ranks on each node.
ReplicaRanks dealt(const RoutingShape& shape, int ranks, int ranks_a_node) {
  std::vector<std::vector<int>> by_rank(static_cast<std::size_t>(ranks));
  for (int e = 0; e < shape.experts; ++e) by_rank[static_cast<std::size_t>(e % ranks)].push_back(e);
  std::vector<int> nodes;
  for (int r = 0; r < ranks; ++r) nodes.push_back(r / ranks_a_node);
  return {placed(shape.layers, shape.experts, by_rank), nodes};
}

using Counts = std::vector<std::uint32_t>;
Counts list(std::span<const std::uint32_t> values) {
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("rank loads and distinct tokens are those of counting every expert") {
  struct Case {
    const char* why;
    RoutingShape shape;
    int ranks, ranks_a_node;
    std::size_t tokens;
    std::size_t bytes;  ///< room for expanded rows
  };
  constexpr std::size_t kPlenty = 1 << 20;
  const Case cases[] = {
      {"an odd number of ranks", {3, 10, 2}, 5, 2, 100, kPlenty},
      {"one token", {2, 16, 4}, 4, 2, 1, kPlenty},
      {"more rows than bytes can add up", {2, 16, 8}, 2, 1, 1000, kPlenty},
      {"half bytes filled to the brim", {2, 30, 15}, 2, 1, 500, kPlenty},
      {"DeepSeek's", {5, 256, 8}, 32, 8, 777, kPlenty},
      {"more ranks than bits in a word, ids of two bytes", {2, 512, 6}, 128, 8, 300, kPlenty},
      {"room for a few rows only", {3, 10, 2}, 5, 2, 400, 200},
      {"room for one row", {3, 10, 2}, 5, 2, 50, 1},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    const RoutingTable table = random_table(c.shape, 60);
    const ReplicaRanks replicas = dealt(c.shape, c.ranks, c.ranks_a_node);
    const int nodes = replicas.nodes();
    Rng rng(3, "rows");
    std::vector<std::uint64_t> rows;
    for (std::size_t i = 0; i < c.tokens; ++i) rows.push_back(rng.next() % table.rows());
    StepLoad exact(c.shape.layers, c.shape.experts, c.ranks, nodes);
    exact.add(table, rows, 0, replicas);
    RankRows fast(table, replicas, true, c.bytes), plain(table, replicas, true, c.bytes),
        loads_only(table, replicas, false, c.bytes);
    plain.use(RankRows::Kernel::kPlain);
    // The second time all rows are expanded already.
    for (int time = 0; time < 2; ++time) {
      for (RankRows* sums : {&fast, &plain, &loads_only}) sums->sum(rows);
      for (int l = 0; l < c.shape.layers; ++l) {
        CAPTURE(l);
        const LayerLoad load = exact.layer(l);
        Counts by_rank(static_cast<std::size_t>(c.ranks), 0);
        for (int e = 0; e < c.shape.experts; ++e)
          by_rank[static_cast<std::size_t>(e % c.ranks)] +=
              load.counts[static_cast<std::size_t>(e)];
        for (const RankRows* sums : {&fast, &plain}) {
          CHECK(list(sums->loads(l)) == by_rank);
          CHECK(list(sums->rank_copies(l)) == list(load.rank_copies));
          CHECK(list(sums->node_copies(l)) == list(load.node_copies));
        }
        CHECK(list(loads_only.loads(l)) == by_rank);
        CHECK(loads_only.rank_copies(l).empty());
      }
    }
  }
}

TEST_CASE("a step without tokens loads nobody, whatever the step before did") {
  const RoutingShape shape{2, 8, 2};
  const RoutingTable table = random_table(shape, 10);
  const ReplicaRanks replicas = dealt(shape, 4, 2);
  RankRows sums(table, replicas, true);
  const std::vector<std::uint64_t> rows = {1, 2, 3};
  sums.sum(rows);
  sums.sum({});
  CHECK(list(sums.loads(1)) == Counts{0, 0, 0, 0});
  CHECK(list(sums.node_copies(0)) == Counts{0, 0});
}
