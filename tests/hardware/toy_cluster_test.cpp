// One layer of a toy cluster by hand, from tokens to nanoseconds, for every dispatch backend.
//
// Two nodes of four GPUs: NVLink 100 GB/s and 1 us a hop, a NIC of 10 GB/s per GPU behind 1 us of
// PCIe, cables of 2 us, NIC i of both nodes on leaf i, leaves under a spine. NCCL starts in 10 us,
// 20 us more between nodes. Eight ranks with two of sixteen experts each: rank r has 2r and 2r + 1.
//
// 800 tokens, 100 on every rank; top-2, 200 of each kind:
//
//         experts   ranks   nodes
//   A      0  1      0       0         both on one rank
//   B      0  2      0 1     0         both on one node
//   C      4  8      2 4     0 1       one on each node
//   D      9 14      4 7     1
//
//   rank                     0    1    2    3    4    5    6    7
//   (token, expert) pairs  600  200  200    0  400    0    0  200    1600
//   distinct tokens        400  200  200    0  400    0    0  200    1400
//   distinct by node       600 (A B C)           400 (C D)
//
// Of whatever a rank gets an eighth comes from each rank.
#include <algorithm>
#include <doctest/doctest.h>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sim/steptime/moe_group.h"
#include "sim/steptime/routing_bank.h"
#include "tests/hardware/dispatch_support.h"
#include "tests/hardware/hardware_support.h"
#include "tests/sim/steptime/priced_steps.h"

namespace moesim {
namespace {

constexpr int kRanks = 8, kExperts = 16;
const std::vector<std::vector<int>> kKinds = {{0, 1}, {0, 2}, {4, 8}, {9, 14}};

/// A microsecond for every row an expert computes.
double row_us(const Op& op) {
  return op.term == Term::kExpertGemm ? static_cast<double>(op.m) : 0.0;
}

struct Toy {
  explicit Toy(const std::string& backend)
      : world(round_cluster({.count = 2, .preset = NetworkPreset::kRailOptimized}), kRanks),
        load(1, kExperts, kRanks, 2) {
    model.family = "gqa_moe";
    model.hidden = 64;
    model.vocab = 128;
    model.heads = model.kv_heads = 4;
    model.head_dim = model.v_head_dim = 16;
    LayerSpec layer;
    layer.moe = true;
    layer.num_experts = kExperts;
    layer.top_k = 2;
    layer.expert_intermediate = 32;
    model.layers = {layer};
    family = make_family(model);
    world.setup.top_k = 2;
    world.setup.experts = kExperts;
    world.setup.dispatch_token_bytes = 10'000;
    world.setup.combine_token_bytes = 20'000;
    dispatch = world.make(backend);
    ExpertPlacement placement = empty_placement(1, kExperts, kExperts, kRanks);
    for (std::size_t e = 0; e < kExperts; ++e) placement.logical[e] = static_cast<std::uint16_t>(e);
    group = std::make_unique<MoeGroup>(
        MoeGroup::Config{family.get(),
                         make_shard(model, {.dp = kRanks, .expert_parallel = true}, 0).shard,
                         &kernels,
                         dispatch.get(),
                         kRanks,
                         {0, 0, 0, 0, 1, 1, 1, 1}},
        placement);
    route();
  }

  /// 200 tokens of each kind, as rows of a table.
  void route() {
    RoutingTable table({.layers = 1, .experts = kExperts, .top_k = 2}, kKinds.size());
    std::vector<std::uint64_t> rows;
    for (std::uint64_t kind = 0; kind < kKinds.size(); ++kind) {
      for (int k = 0; k < 2; ++k) table.set(kind, 0, k, kKinds[kind][static_cast<std::size_t>(k)]);
      rows.insert(rows.end(), 200, kind);
    }
    load.add(table, rows, 0, group->replicas());
  }

  MoeLayerCost cost() {
    const std::vector<double> held(kRanks, 100.0);
    return group->cost({model.layers[0], 1}, 0, 800, held, load.layer(0));
  }

  DispatchWorld world;
  ModelSpec model;
  std::unique_ptr<Family> family;
  ByFunction kernels{row_us};
  std::unique_ptr<DispatchBackend> dispatch;
  std::unique_ptr<MoeGroup> group;
  StepLoad load;
};

std::vector<std::uint32_t> as_vector(std::span<const std::uint32_t> values) {
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("toy cluster: who gets how many tokens, and who is waited for") {
  Toy toy("deepep_high_throughput");
  const LayerLoad load = toy.load.layer(0);
  CHECK(as_vector(load.counts) ==
        std::vector<std::uint32_t>{400, 200, 200, 0, 200, 0, 0, 0, 200, 200, 0, 0, 0, 0, 200, 0});
  CHECK(as_vector(load.rank_copies) ==
        std::vector<std::uint32_t>{400, 200, 200, 0, 400, 0, 0, 200});
  CHECK(as_vector(load.node_copies) == std::vector<std::uint32_t>{600, 400});
  const MoeLayerCost cost = toy.cost();
  CHECK(cost.gemm_ns == doctest::Approx(200e3));                 // 1600 rows over 8 ranks
  CHECK(cost.gemm_ns + cost.wait_ns == doctest::Approx(600e3));  // rank 0
  CHECK(cost.straggler == 0);
  CHECK(cost.rank_imbalance == doctest::Approx(3));    // 600 over 200
  CHECK(cost.expert_imbalance == doctest::Approx(4));  // 400 over 100
  CHECK(cost.active == doctest::Approx(7.0 / 8));      // 2 1 1 0 2 0 0 1
}

TEST_CASE("toy cluster: destinations, bytes, the busiest link and the time of every backend") {
  struct Case {
    const char* backend;
    double messages_intra, messages_inter;  ///< in the direction there; back as many
    double there_bytes, back_bytes;         ///< of one
    double dispatch_us, combine_us;
  };
  // Messages per (token, expert): 75 to rank 0 from each of the others, 50 to rank 4, 25 to ranks
  // 1, 2 and 7. Inside nodes 3 x (75 + 25 + 25) + 3 x (50 + 25) = 600, between 4 x 125 + 4 x 75 =
  // 800. The busiest link is the NIC of rank 0: 300 messages; its NVLink has 225, and the spine's
  // cable to leaf 0, of 20 GB/s, 3 x 75 + 3 x 50.
  //   there 300 x 10.016 kB / 10 GB/s = 300.48 us, back 300 x 20 kB = 600 us
  // Messages per (token, rank): 50 to ranks 0 and 4, 25 to 1, 2 and 7. Inside 3 x 100 + 3 x 75 =
  // 525, between 4 x 175 = 700. The NICs of ranks 0 and 4 get 200: 200 us, back 400 us, and 8/7 of
  // it where what stays at home takes the same way.
  // Relays: 75 tokens a rank from node 1 to node 0, 50 the other way: (600 + 400) / 2 = 500
  // between; 3/4 of 1400 arrive at another local index: 1050 inside. NICs 75 x 10.024 kB = 75.18
  // us, NVLink of ranks 0 and 4 300 x 10.024 kB / 100 GB/s = 30.07 us.
  // Gathers: every rank lacks 700 tokens, 5600 in all; 2 of the 8 hops of a ring are between nodes.
  // Four rings of a quarter each, one per NIC, 7/8 of the bytes over each hop: 21.9 ps a byte. Once
  // around takes 8 hops of 1 us in nodes and 2 of 6 us between: 20 us, 7/8 of it 17.5 us.
  const Case cases[] = {
      // 26 us and 90 % of the NIC, both ways
      {"deepep_low_latency", 600, 800, 10'016, 20'000, 26 + 300.48 / 0.9, 26 + 600 / 0.9},
      {"mori_low_latency", 600, 800, 10'016, 20'000, 26 + 300.48 / 0.9, 26 + 600 / 0.9},
      {"nixl_ep", 600, 800, 10'016, 20'000, 26 + 300.48 / 0.9, 26 + 600 / 0.9},
      // 116 and 60 us, 60 and 55 %
      {"pplx", 600, 800, 10'016, 20'000, 116 + 300.48 / 0.6, 60 + 600 / 0.55},
      // 30 us to start; (3.2 + 0.12 x 7) hops of 10 us, through the spine, are 40.4 us, six times
      // that before large messages. Sizes first: 30 + 40.4 and 50 us on the host.
      {"nccl_all_to_all", 600, 800, 10'008, 20'000, 70.4 + 50 + 30 + 242.4 + 300.24,
       30 + 242.4 + 600},
      // 57 and 84 us over two nodes, 92 % of the NIC
      {"deepep_high_throughput", 1050, 500, 10'024, 20'000, 57 + 75.18 / 0.92, 84 + 150 / 0.92},
      {"deepep_v2", 1050, 500, 10'024, 20'000, 57 + 75.18 / 0.92, 84 + 150 / 0.92},
      {"mori_high_throughput", 1050, 500, 10'024, 20'000, 57 + 75.18 / 0.92, 84 + 150 / 0.92},
      // three doublings to eight ranks
      {"flashinfer_nvlink_one_sided", 525, 700, 10'000, 20'000, 11 + 6 + 200 * 8 / 7.0,
       13 + 9 + 400 * 8 / 7.0},
      {"flashinfer_nvlink_two_sided", 525, 700, 10'000, 20'000,
       11.5 + 1.5 + 10.5 + 1.5 + 100 / 145.0 + 200 * 8 / 7.0, 10.5 + 3 + 400 * 8 / 7.0},
      // 8.0128 MB and 16 MB in all; six times the hops before large messages: 105 us
      {"allgather_reducescatter", 4200, 1400, 10'016, 20'000, 30 + 105 + 8'012.8 * 0.021875,
       30 + 105 + 16'000 * 0.021875},
      // Eight broadcasts of 1 MB (25 ps a byte, LL128: 1.45 hops, 57 %) and of 3.2 kB of scores
      // (LL: 7 %), one after the other. Back an all-reduce of 16 MB, by trees: a quarter of the
      // bytes over each NIC and direction, 25 ps a byte; 3 us along a node and 6 us to the other,
      // up and down 18 us.
      {"naive", 4200, 1400, 10'032, 40'000,
       8 * (30 + 1.45 * 17.5 + 25 / 0.57 + 30 + 17.5 + 0.08 / 0.07), 30 + 6 * 18 + 16'000 * 0.025},
  };
  std::set<std::string> worked;
  for (const Case& c : cases) {
    CAPTURE(std::string(c.backend));
    worked.insert(c.backend);
    Toy toy(c.backend);
    const MoeLayerCost cost = toy.cost();
    CHECK(cost.dispatch_ns == doctest::Approx(1e3 * c.dispatch_us).epsilon(1e-9));
    CHECK(cost.combine_ns == doctest::Approx(1e3 * c.combine_us).epsilon(1e-9));
    const double both = c.there_bytes + c.back_bytes;
    CHECK(cost.bytes_intra == doctest::Approx(c.messages_intra * both).epsilon(1e-9));
    CHECK(cost.bytes_inter == doctest::Approx(c.messages_inter * both).epsilon(1e-9));
  }
  CHECK(std::vector<std::string>(worked.begin(), worked.end()) == dispatch_names());
}

}  // namespace moesim
