#include "models/expert_offload.h"

#include <doctest/doctest.h>

#include "tests/models/models_support.h"

using namespace moesim;
using namespace moesim::test;

namespace {

ExpertOffload host(double fraction, OffloadPrefetch prefetch = OffloadPrefetch::kNone) {
  return {OffloadTier::kHost, OffloadPolicy::kPinnedHot, prefetch, fraction};
}

// An expert of Mixtral has 3 x 4096 x 14336 weights: 352,321,536 bytes in 16 bit.
constexpr std::int64_t kExpert = std::int64_t{3} * 4096 * 14336 * 2;

TEST_CASE("half of Mixtral's experts leave 32 x 4 of them elsewhere, and room for one layer's") {
  const ModelSpec mixtral = shipped("mistralai/Mixtral-8x7B-v0.1");
  const OffloadBytes half = offload_bytes(shard_of(mixtral), host(0.5));
  CHECK(half.away == Bytes(32 * 4 * kExpert));
  CHECK(half.staging == Bytes(4 * kExpert));
  const OffloadBytes ahead =
      offload_bytes(shard_of(mixtral), host(0.5, OffloadPrefetch::kNextLayer));
  CHECK(ahead.staging == Bytes(2 * 4 * kExpert));
}

TEST_CASE("experts that are cut leave slices, experts on ranks leave whole ones") {
  const ModelSpec mixtral = shipped("mistralai/Mixtral-8x7B-v0.1");
  CHECK(offload_bytes(shard_of(mixtral, {.tp = 2}), host(0.5)).away == Bytes(32 * 4 * kExpert / 2));
  const Parallel spread{.tp = 2, .expert_parallel = true};
  CHECK(offload_bytes(shard_of(mixtral, spread), host(0.5)).away == Bytes(32 * 2 * kExpert));
}

TEST_CASE("a fraction keeps whole experts, rounded down") {
  CHECK(host(0.7).resident(10, 0, 4) == 7);
  CHECK(host(0.99).resident(8, 0, 4) == 7);
  CHECK(host(0).resident(8, 3, 4) == 0);
  CHECK(host(1).resident(8, 0, 4) == 8);
}

TEST_CASE("whole layers: the first lose all experts, wherever the pipeline is cut") {
  const ModelSpec mixtral = shipped("mistralai/Mixtral-8x7B-v0.1");
  ExpertOffload offload = host(0.7);  // 22.4 of 32 layers: 22 stay
  offload.policy = OffloadPolicy::kWholeLayers;
  CHECK(!offload.learns());
  CHECK(offload.resident(8, 9, 32) == 0);
  CHECK(offload.resident(8, 10, 32) == 8);
  const OffloadBytes one = offload_bytes(shard_of(mixtral), offload);
  CHECK(one.away == Bytes(10 * 8 * kExpert));
  CHECK(one.staging == Bytes(8 * kExpert));  // prompts copy a layer at a time
  const Parallel halves{.pp = 2};
  CHECK(offload_bytes(make_shard(mixtral, halves, 0).shard, offload).away ==
        Bytes(10 * 8 * kExpert));
  CHECK(offload_bytes(make_shard(mixtral, halves, 1).shard, offload).away == Bytes(0));
}

TEST_CASE("all experts resident is no offload at all") {
  const ModelSpec mixtral = shipped("mistralai/Mixtral-8x7B-v0.1");
  CHECK(!host(1).active());
  CHECK(offload_bytes(shard_of(mixtral), host(1)).away == Bytes(0));
}

TEST_CASE("the GPU is relieved of what is away but for the staging room") {
  const ModelSpec mixtral = shipped("mistralai/Mixtral-8x7B-v0.1");
  MemoryInputs inputs = h100();
  const MemoryPlan full = plan_memory(mixtral, {}, inputs);
  CHECK(!full.feasible);  // 93 GB on an 80 GB card
  inputs.offload = host(0.5);
  const MemoryPlan half = plan_memory(mixtral, {}, inputs);
  CHECK(half.feasible);
  CHECK(full.gpus[0].weights.total() - half.gpus[0].weights.total() == Bytes(31 * 4 * kExpert));
  CHECK(half.gpus[0].offloaded == Bytes(32 * 4 * kExpert));
}

// Marlin pads 2880 x 2880 to 2944 x 3072: of 128 experts in 36 layers, 4.25 bits a weight.
TEST_CASE("experts that lie elsewhere are not padded on the GPU") {
  const ModelSpec model = shipped("openai/gpt-oss-120b");
  MemoryInputs inputs = h100();
  const auto padding = [&](double fraction) {
    inputs.offload = host(fraction);
    inputs.rules.pad_mxfp4 = true;
    const Bytes padded = plan_memory(model, {}, inputs).gpus[0].weights.other;
    inputs.rules.pad_mxfp4 = false;
    return (padded - plan_memory(model, {}, inputs).gpus[0].weights.other).value();
  };
  const double all = 36 * 128 * 3 * (2944.0 * 3072 - 2880.0 * 2880) * 4.25 / 8;
  CHECK(static_cast<double>(padding(1)) == doctest::Approx(all));
  // Half of each layer stays, and there is room for half a layer's copies.
  CHECK(static_cast<double>(padding(0.5)) == doctest::Approx(all * 18.5 / 36));
}

TEST_CASE("what is away must fit the memory it goes to") {
  const ModelSpec mixtral = shipped("mistralai/Mixtral-8x7B-v0.1");
  MemoryInputs inputs = h100();
  inputs.offload = host(0.5);
  inputs.offload_room = Bytes(32 * 4 * kExpert);
  CHECK(plan_memory(mixtral, {}, inputs).feasible);
  inputs.offload_room = Bytes(32 * 4 * kExpert - 1);
  const MemoryPlan plan = plan_memory(mixtral, {}, inputs);
  CHECK(!plan.feasible);
  CHECK(plan.shortfall == Bytes(1));
  CHECK(plan.reason.find("of host memory") != std::string::npos);
}

}  // namespace
