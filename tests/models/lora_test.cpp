#include <doctest/doctest.h>

#include "tests/models/models_support.h"

using namespace moesim;
using test::shard_of;
using test::shipped;

TEST_CASE("adapters of all Mixtral experts at rank 16 take 453 MB a slot") {
  const ModelSpec model = shipped("Mixtral-8x7B-v0.1");
  const LoraSpec lora{
      .adapters = 1, .rank = 16, .targets = LoraTargets::kExperts, .hot_experts = 0};
  // 8 experts x 16 x (3 x 4096 + 3 x 14336) x 2 bytes x 32 layers
  CHECK(lora_bytes(shard_of(model), lora) == Bytes(452'984'832));
  // The 3 x 4096 part is not cut by tensor parallelism.
  CHECK(lora_bytes(shard_of(model, {.tp = 2}), lora) ==
        Bytes(8LL * 16 * (3 * 4096 + 3 * 7168) * 2 * 32));
}

TEST_CASE("attention adapters: an A for q, k and v each, B cut by tensor parallelism") {
  const ModelSpec model = shipped("Mixtral-8x7B-v0.1");
  const LoraSpec lora{.adapters = 2, .rank = 8};
  CHECK(lora_bytes(shard_of(model), lora) ==
        Bytes(2LL * 8 * 2 * 32 * (3 * 4096 + 6144 + 4096 + 4096)));
  CHECK(lora_bytes(shard_of(model, {.tp = 4}), lora) ==
        Bytes(2LL * 8 * 2 * 32 * (3 * 4096 + 1536 + 1024 + 4096)));
}

TEST_CASE("hot experts cost their share, all linear layers the sum of the parts") {
  const ModelSpec model = shipped("Mixtral-8x7B-v0.1");
  const auto bytes = [&model](LoraTargets targets, int hot) {
    return lora_bytes(shard_of(model),
                      {.adapters = 1, .rank = 16, .targets = targets, .hot_experts = hot});
  };
  CHECK(4 * bytes(LoraTargets::kHotExperts, 2) == bytes(LoraTargets::kExperts, 0));
  CHECK(bytes(LoraTargets::kHotExperts, 99) == bytes(LoraTargets::kExperts, 0));
  CHECK(bytes(LoraTargets::kAllLinear, 0) ==
        bytes(LoraTargets::kExperts, 0) + bytes(LoraTargets::kAttention, 0));
}

TEST_CASE("no adapters, no bytes") {
  const ModelSpec model = shipped("DeepSeek-V3");
  CHECK(lora_bytes(shard_of(model), {}) == Bytes(0));
  CHECK(lora_bytes(shard_of(model), {.adapters = 1}) > Bytes(0));
}
