// Experts the CPU computes where they lie: what a tier, a group of ranks and a step make of them.
#include <doctest/doctest.h>
#include <vector>

#include "sim/steptime/moe_stats.h"
#include "tests/sim/steptime/moe_support.h"

using namespace moesim;

namespace {

constexpr OffloadPolicy kPinned = OffloadPolicy::kPinnedHot;
constexpr OffloadPolicy kLayers = OffloadPolicy::kWholeLayers;

/// Experts of 1000 bytes and 600 FLOPs a token. The link: 2 bytes a ns and 7 ns. The CPU reads 4
/// bytes a ns and computes 3 FLOPs a ns; a hidden state has 20 bytes.
ExpertTier::Config on_cpu(OffloadPolicy policy, double fraction, int layers = 1) {
  ExpertTier::Config config;
  config.spec = {OffloadTier::kHost, policy, OffloadPrefetch::kNone, fraction,
                 OffloadCompute::kCpu};
  config.expert_bytes.assign(static_cast<std::size_t>(layers), 1000);
  config.bytes_per_ns = 2;
  config.latency_ns = 7;
  config.cpu = {4, 3, 20, std::vector<double>(static_cast<std::size_t>(layers), 600)};
  return config;
}

TierUse use(ExpertTier& tier, const std::vector<std::uint32_t>& counts, int tokens, int layer = 0) {
  tier.begin_layer(layer, counts, tokens);
  return tier.visit(0, counts);
}

ExpertPlacement four(int layers = 1) {
  return placed(layers, 4, {{0, 1, 2, 3}});
}

}  // namespace

TEST_CASE("one token: there and back, and every absent expert read once") {
  ExpertTier tier(on_cpu(kPinned, 0.25), four());  // expert 0 stays
  const TierUse one = use(tier, {1, 1, 1, 0}, 1);
  CHECK(one.looked == 3);
  CHECK(one.hits == 1);
  CHECK(one.computed == 2);
  CHECK(one.bytes == 0);
  CHECK(one.demand_ns == 0);
  // 2 x (7 + 20 / 2) and 2000 / 4 ns; 2 x 600 / 3 ns of arithmetic is less.
  CHECK(one.cpu_ns == 34 + 500);
  CHECK(std::vector<std::uint32_t>(tier.on_gpu().begin(), tier.on_gpu().end()) ==
        std::vector<std::uint32_t>{1, 0, 0, 0});
  const TierUse there = use(tier, {1, 0, 0, 0}, 1);
  CHECK(there.computed == 0);
  CHECK(there.cpu_ns == 0);  // no way to the host, either
}

TEST_CASE("many tokens at an expert: arithmetic takes longer than reading it") {
  ExpertTier tier(on_cpu(kPinned, 0.25), four());
  // 30 tokens of which 20 are at absent experts: 20 x 600 / 3 ns; 20 hidden states of 20 bytes.
  CHECK(use(tier, {10, 20, 0, 0}, 30).cpu_ns == 2 * (7 + 200) + 4000);
  // Ten tokens that each ask for two of them are sent once.
  CHECK(use(tier, {0, 10, 10, 0}, 10).cpu_ns == 2 * (7 + 100) + 4000);
}

TEST_CASE("from 32 tokens on absent experts are copied, those with tokens alone") {
  ExpertTier tier(on_cpu(kPinned, 0.25), four());
  CHECK(use(tier, {0, 31, 0, 0}, 31).computed == 1);
  const TierUse prompt = use(tier, {1, 31, 0, 0}, 32);
  CHECK(prompt.computed == 0);
  CHECK(prompt.cpu_ns == 0);
  CHECK(prompt.bytes == 1000);
  CHECK(prompt.demand_ns == 7 + 500);
}

TEST_CASE("whole layers: nothing of the first is there, everything of the last, unlearned") {
  ExpertTier tier(on_cpu(kLayers, 0.4, 3), four(3));  // 1.2 of three layers stay
  RoutingTable table({.layers = 3, .experts = 4, .top_k = 1}, 1);
  tier.learn(table);
  CHECK(!tier.learns());
  for (const int layer : {0, 1}) CHECK(use(tier, {1, 1, 1, 1}, 4, layer).computed == 4);
  const TierUse last = use(tier, {1, 1, 1, 1}, 4, 2);
  CHECK(last.hits == 4);
  CHECK(last.cpu_ns == 0);
}

TEST_CASE("a stage counts its layers over the model: only the first ones are away") {
  ExpertTier::Config config = on_cpu(kLayers, 0.5, 2);
  config.first_layer = 1;  // layers 1 and 2 of four, of which 0 and 1 are away
  ExpertTier tier(config, four(4));
  CHECK(use(tier, {1, 0, 0, 0}, 1, 1).computed == 1);
  CHECK(use(tier, {1, 0, 0, 0}, 1, 2).computed == 0);
}

TEST_CASE("copying whole layers copies their experts with tokens") {
  ExpertTier::Config config = on_cpu(kLayers, 0.5, 2);
  config.spec.compute = OffloadCompute::kGpu;
  ExpertTier tier(config, four(2));
  CHECK(use(tier, {1, 0, 1, 0}, 1, 0).demand_ns == 7 + 1000);
  CHECK(use(tier, {1, 0, 1, 0}, 1, 1).demand_ns == 0);
}

namespace {

/// One GPU with two of the four experts of three_layers(): a row takes the GPU 0.1 us, and the CPU
/// as long as its bandwidth says, in bytes a ns.
struct OneGpu {
  explicit OneGpu(double cpu_bytes_per_ns, OffloadPolicy policy = kPinned)
      : group({.family = family.get(),
               .shard = make_shard(model, {}, 0).shard,
               .kernels = &kernels,
               .ranks = 1,
               .node_of_rank = {0}},
              {}) {
    ExpertTier::Config config = on_cpu(policy, 0.5, 2);
    config.cpu.bytes_per_ns = cpu_bytes_per_ns;
    config.cpu.flops_per_ns = 1e6;
    group.set_tier(config, 2, 4);
  }
  MoeLayerCost cost(const std::vector<std::uint32_t>& counts, int tokens, int layer = 0) {
    const LayerClass layers{model.layers.back(), 2};
    return group.cost(layers, layer, tokens, {}, {counts, {}, {}});
  }

  ModelSpec model = three_layers();
  std::unique_ptr<Family> family = make_family(model);
  ByFunction kernels{[](const Op& op) { return 0.1 * static_cast<double>(op.m); }};
  MoeGroup group;
};

}  // namespace

TEST_CASE("CPU and GPU work at the same time, and the layer waits for the later") {
  // Three tokens at the GPU's experts take it 300 ns, one at the CPU's 34 + 1000 / rate ns.
  OneGpu slow(2);
  const MoeLayerCost waits = slow.cost({2, 1, 1, 0}, 4);
  CHECK(waits.gemm_ns == doctest::Approx(300));
  CHECK(waits.copy_ns == doctest::Approx(34 + 500 - 300));
  CHECK(waits.active == 3);
  CHECK(waits.tier.cpu_ns == 534);
  OneGpu fast(100);
  const MoeLayerCost hidden = fast.cost({2, 1, 1, 0}, 4);
  CHECK(hidden.gemm_ns == doctest::Approx(300));
  CHECK(hidden.copy_ns == 0);
}

TEST_CASE("a layer without residents leaves the GPU nothing to multiply") {
  OneGpu one(2, kLayers);
  const MoeLayerCost away = one.cost({1, 1, 0, 0}, 2, 0);
  CHECK(away.gemm_ns == 0);
  CHECK(away.copy_ns == 2 * (7 + 20) + 1000);
  CHECK(away.active == 2);
  const MoeLayerCost there = one.cost({1, 1, 0, 0}, 2, 1);
  CHECK(there.gemm_ns == doctest::Approx(200));
  CHECK(there.copy_ns == 0);
}

TEST_CASE("the statistics of a layer have what the CPU computed, and how long") {
  OneGpu one(2);
  MoeStats stats;
  stats.layers.resize(2);
  stats.straggler = {0};
  const MoeLayerRecord record = record_of(one.cost({1, 0, 1, 0}, 2), 1, 2);
  add_record(record, 0, stats);
  add_record(record, 0, stats);
  CHECK(stats.layers[0].tier.looked == 4);
  CHECK(stats.layers[0].tier.computed == 2);
  CHECK(stats.layers[0].tier.cpu_ns == 2 * (34 + 500));
  MoeStats both = stats;
  add_stats(stats, both);
  CHECK(both.layers[0].tier.computed == 4);
  CHECK(both.layers[0].tier.cpu_ns == 4 * (34 + 500));
}
