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
  CHECK(host(0.7).resident(10) == 7);
  CHECK(host(0.99).resident(8) == 7);
  CHECK(host(0).resident(8) == 0);
  CHECK(host(1).resident(8) == 8);
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
