#include <doctest/doctest.h>
#include <vector>

#include "models/family.h"
#include "tests/models/models_support.h"

using namespace moesim;
using test::shard_of;
using test::shipped;

TEST_CASE("the encoder reads prompts, the decoder attends when decoding") {
  const ModelSpec model = shipped("switch-base-8");
  const Shard shard = shard_of(model);
  const auto family = make_family(model);
  const std::vector<LayerClass> classes = layer_classes(shard);
  REQUIRE(classes.size() == 4);  // dense and sparse, encoder and decoder
  for (const LayerClass& layers : classes) {
    CHECK(layers.layers == 6);
    const Op prompt = family->attention_prefill(shard, layers, 10, 0);
    const Op decode = family->attention_decode(shard, layers, 2, 100);
    if (layers.spec.encoder) {
      CHECK(prompt.flops == 4.0 * 12 * 64 * 100);  // every token sees all ten
      CHECK(decode.flops == 0);
    } else {
      CHECK(prompt.flops == 0);
      CHECK(decode.flops == 4.0 * 12 * 64 * 100);
      CHECK(decode.weight_bytes == 100.0 * 2 * 12 * 64 * 2);
    }
  }
}

TEST_CASE("experts have two matrices; decoder layers project twice") {
  const ModelSpec model = shipped("switch-base-8");
  const Shard shard = shard_of(model);
  const auto family = make_family(model);
  const LayerClass sparse = layer_classes(shard)[1];
  REQUIRE(sparse.spec.moe);
  const std::vector<std::uint32_t> counts = {5, 0, 0, 0, 0, 0, 0, 11};
  const Op op = family->experts(shard, sparse, 16, counts);
  CHECK(op.flops == 2.0 * 32 * 768 * 2 * 3072);
  CHECK(op.weight_bytes == 2.0 * 2 * 768 * 3072 * 2);
  std::vector<Op> ops;
  family->token_ops(shard, 1, ops);
  int projections = 0;
  for (const Op& e : ops) projections += e.term == Term::kAttentionProj ? e.repeat : 0;
  CHECK(projections == 2 * (12 + 2 * 12));
}
