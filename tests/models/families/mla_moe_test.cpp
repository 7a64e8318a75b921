#include <doctest/doctest.h>
#include <vector>

#include "models/family.h"
#include "tests/models/models_support.h"

using namespace moesim;
using test::shard_of;
using test::shipped;

TEST_CASE("DeepSeek-V3 projections: replicated down, cut up") {
  const ModelSpec model = shipped("DeepSeek-V3");
  std::vector<Op> ops;
  make_family(model)->token_ops(shard_of(model, {.tp = 8}), 32, ops);
  std::vector<Op> projections;
  for (const Op& op : ops) {
    if (op.term == Term::kAttentionProj) projections.push_back(op);
  }
  REQUIRE(projections.size() == 6);  // three for dense layers, three for MoE layers
  CHECK(projections[0].n == 1536 + 576);
  CHECK(projections[0].k == 7168);
  CHECK(projections[1].n == 16 * 192);
  CHECK(projections[1].k == 1536);
  CHECK(projections[2].n == 7168);
  CHECK(projections[2].k == 16 * 128);
  CHECK(projections[0].repeat + projections[3].repeat == 61);
  CHECK(projections[0].weight_bytes == doctest::Approx(7168.0 * 2112 * 8.001953125 / 8));
}

TEST_CASE("without a query rank queries come from the hidden state") {
  const ModelSpec model = shipped("DeepSeek-V2-Lite");
  std::vector<Op> ops;
  make_family(model)->token_ops(shard_of(model), 1, ops);
  CHECK(ops[2].n == 576);
  CHECK(ops[3].part == MemoryPart::kInnerNorm);
  CHECK(ops[3].activation_bytes == 2 * 2 * 512);  // of the latent of keys and values alone
  CHECK(ops[4].n == 16 * 192);
  CHECK(ops[4].k == 2048);
}

TEST_CASE("absorbed decode attends in latent space: 1088 per head and token of context") {
  const ModelSpec model = shipped("DeepSeek-V3");
  const Shard shard = shard_of(model, {.tp = 8});
  const LayerClass layers = layer_classes(shard)[1];
  const Op op = make_family(model)->attention_decode(shard, layers, 4, 4000);
  CHECK(op.kind == OpKind::kMlaDecode);
  CHECK(op.repeat == 58);
  CHECK(op.flops == 2.0 * 16 * 1088 * 4000 + 2.0 * 4 * 16 * 512 * (128 + 128));
  CHECK(op.weight_bytes == 4000.0 * 1152);  // the whole latent on every rank
  CHECK(op.kv_heads == 1);
  CHECK(op.head_dim == 576);
  CHECK(op.k == 16);
}

TEST_CASE("prefill projects new and cached tokens up, then attends at 640 per head and pair") {
  const ModelSpec model = shipped("DeepSeek-V3");
  const Shard shard = shard_of(model);
  const Op op = make_family(model)->attention_prefill(shard, layer_classes(shard)[0], 100, 50);
  CHECK(op.kind == OpKind::kMlaPrefill);
  CHECK(op.flops == 2.0 * 150 * 512 * 128 * 256 + 640.0 * 128 * (100 * 50 + 5050));
  CHECK(op.weight_bytes == 150.0 * 1152);
  CHECK(op.n == 150);
  CHECK(op.expand_n == std::int64_t{128} * 256);
  CHECK(op.expand_k == 512);
  const ModelSpec sparse = shipped("DeepSeek-V3.2");
  const Shard other = shard_of(sparse);
  CHECK(make_family(sparse)->attention_prefill(other, layer_classes(other)[0], 100, 50).expand_n ==
        0);
}

TEST_CASE("sparse attention looks at index_topk tokens and scores all of them") {
  const ModelSpec dense = shipped("DeepSeek-V3");
  const ModelSpec sparse = shipped("DeepSeek-V3.2");
  const Shard dense_shard = shard_of(dense);
  const Shard sparse_shard = shard_of(sparse);
  const auto decode = [](const Shard& shard, std::int64_t context) {
    return make_family(*shard.model)->attention_decode(shard, layer_classes(shard)[0], 1, context);
  };
  // Below index_topk only the indexer is added: 64 heads of 128 over every token, keys of 132
  // bytes.
  CHECK(decode(sparse_shard, 1000).flops - decode(dense_shard, 1000).flops ==
        2.0 * 64 * 128 * 1000);
  CHECK(decode(sparse_shard, 1000).weight_bytes - decode(dense_shard, 1000).weight_bytes ==
        132.0 * 1000);
  CHECK(decode(sparse_shard, 100000).weight_bytes == 2048.0 * 1152 + 132.0 * 100000);
  CHECK(decode(sparse_shard, 100000).flops < decode(dense_shard, 100000).flops);
}

TEST_CASE("the indexer is three products and four small kernels a layer") {
  const ModelSpec dense = shipped("DeepSeek-V3"), sparse = shipped("DeepSeek-V3.2");
  const auto ops_of = [](const ModelSpec& model) {
    std::vector<Op> ops;
    make_family(model)->token_ops(shard_of(model, {.tp = 8}), 2, ops);
    return ops;
  };
  const auto products = [&](const ModelSpec& model) {
    std::vector<std::int64_t> widths;
    for (const Op& op : ops_of(model)) {
      if (op.term == Term::kAttentionProj && op.repeat == 58) widths.push_back(op.n);
    }
    return widths;
  };
  CHECK(products(dense) == std::vector<std::int64_t>{2112, 16 * 192, 7168});
  // Queries of 64 heads, a key, a weight a head: on every rank whole.
  CHECK(products(sparse) == std::vector<std::int64_t>{2112, 16 * 192, 64 * 128, 128, 64, 7168});
  const auto kernels = [&](const ModelSpec& model) {
    int sum = 0;
    for (const Op& op : ops_of(model)) sum += op.term == Term::kElementwise ? op.repeat : 0;
    return sum;
  };
  CHECK(kernels(sparse) == kernels(dense) + 4 * 61);
}
