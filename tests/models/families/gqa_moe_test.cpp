#include <algorithm>
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "models/family.h"
#include "tests/models/models_support.h"

using namespace moesim;
using test::shard_of;
using test::shipped;
using test::small_model;

namespace {

std::vector<Op> token_ops(const Shard& shard, int tokens) {
  std::vector<Op> ops;
  make_family(*shard.model)->token_ops(shard, tokens, ops);
  return ops;
}

std::vector<Op> of_term(const std::vector<Op>& ops, Term term) {
  std::vector<Op> found;
  std::copy_if(ops.begin(), ops.end(), std::back_inserter(found),
               [term](const Op& op) { return op.term == term; });
  return found;
}

}  // namespace

TEST_CASE("a norm over the heads of all ranks exchanges two sums a token and layer") {
  const ModelSpec model = shipped("MiniMax-M2.5");
  const auto exchanges = [&](int tp) {
    std::vector<Op> found;
    for (const Op& op : of_term(token_ops(shard_of(model, {.tp = tp}), 16), Term::kAllReduce)) {
      if (op.message_bytes < 16.0 * model.hidden) found.push_back(op);
    }
    return found;
  };
  CHECK(exchanges(1).empty());
  const std::vector<Op> two = exchanges(2);
  REQUIRE(two.size() == 1);
  CHECK(two[0].repeat == 62);
  CHECK(two[0].message_bytes == 16.0 * 2 * 4);
  const ModelSpec per_head = shipped("Qwen3-30B-A3B");  // a norm for every head: no exchange
  for (const Op& op : of_term(token_ops(shard_of(per_head, {.tp = 2}), 16), Term::kAllReduce))
    CHECK(op.message_bytes == 16.0 * per_head.hidden * 2);
}

TEST_CASE("Mixtral, 64 tokens on two ranks, worked out by hand") {
  const ModelSpec model = shipped("Mixtral-8x7B-v0.1");
  const Shard shard = shard_of(model, {.tp = 2});
  const std::vector<Op> ops = token_ops(shard, 64);

  const std::vector<Op> projections = of_term(ops, Term::kAttentionProj);
  REQUIRE(projections.size() == 2);
  CHECK(projections[0].repeat == 32);
  CHECK(projections[0].m == 64);
  CHECK(projections[0].n == 16 * 128 + 2 * 4 * 128);
  CHECK(projections[0].k == 4096);
  CHECK(projections[0].flops == 2.0 * 64 * 3072 * 4096);
  CHECK(projections[0].weight_bytes == 3072.0 * 4096 * 2);
  CHECK(projections[0].activation_bytes == 64.0 * (3072 + 4096) * 2);
  CHECK(projections[1].n == 4096);
  CHECK(projections[1].k == 2048);

  const std::vector<Op> router = of_term(ops, Term::kRouter);
  REQUIRE(router.size() == 2);
  CHECK(router[0].n == 8);
  CHECK(router[0].weight_bytes == 4096.0 * 8 * 2);  // replicated, 16 bit

  // The embedding, and twice a layer.
  const std::vector<Op> reduces = of_term(ops, Term::kAllReduce);
  int count = 0;
  for (const Op& op : reduces) {
    CHECK(op.message_bytes == 64.0 * 4096 * 2);
    count += op.repeat;
  }
  CHECK(count == 65);

  const std::vector<Op> embedding = of_term(ops, Term::kEmbedding);
  REQUIRE(embedding.size() == 1);
  CHECK(embedding[0].activation_bytes == 2.0 * 64 * 4096 * 2);
  CHECK(of_term(ops, Term::kPpSendRecv).empty());
  CHECK(of_term(ops, Term::kDenseFfn).empty());
  CHECK(of_term(ops, Term::kSharedExpert).empty());
}

TEST_CASE("dense layers: gate and up, activation, down") {
  const ModelSpec model = shipped("Llama-3.1-8B");
  const std::vector<Op> ffn = of_term(token_ops(shard_of(model, {.tp = 4}), 10), Term::kDenseFfn);
  REQUIRE(ffn.size() == 3);
  CHECK(ffn[0].n == 2 * 3584);
  CHECK(ffn[1].activation_bytes == 10.0 * 3584 * 3 * 2);
  CHECK(ffn[2].n == 4096);
  CHECK(ffn[2].k == 3584);
  CHECK(ffn[0].flops + ffn[2].flops == 2.0 * 10 * 3 * 4096 * 3584);
}

TEST_CASE("shared experts and a dense branch are work of their own, with one all-reduce") {
  const ModelSpec scout = shipped("Llama-4-Scout-17B-16E");
  const std::vector<Op> ops = token_ops(shard_of(scout, {.tp = 8}), 4);
  const std::vector<Op> shared = of_term(ops, Term::kSharedExpert);
  REQUIRE(shared.size() == 6);  // three for each kind of attention
  CHECK(shared[0].n == 2 * 1024);
  CHECK(shared[0].repeat == 36);
  CHECK(shared[3].repeat == 12);
  int reduces = 0;
  for (const Op& op : of_term(ops, Term::kAllReduce)) reduces += op.repeat;
  CHECK(reduces == 1 + 2 * 48);
}

TEST_CASE("a gated shared expert has a product of one column; its output is added to the sum") {
  const ModelSpec model = shipped("Qwen1.5-MoE-A2.7B");
  const std::vector<Op> ops = token_ops(shard_of(model, {.tp = 2}), 3);
  const std::vector<Op> shared = of_term(ops, Term::kSharedExpert);
  REQUIRE(shared.size() == 5);  // gate and up, activation, down; the gate, its sigmoid
  CHECK(shared[3].n == 1);
  CHECK(shared[3].k == 2048);
  const double sum_bytes = 2.0 * 3 * 3 * 2048;  // two in, one out, three tokens of 16 bit
  CHECK(shared[4].activation_bytes == sum_bytes);
  CHECK(of_term(ops, Term::kRouter).front().n == 60);
  int sums = 0;
  for (const Op& op : of_term(ops, Term::kElementwise)) {
    if (op.part == MemoryPart::kActivation && op.activation_bytes == sum_bytes) sums += op.repeat;
  }
  CHECK(sums == 24);
}

TEST_CASE("queries and keys are normalised where the architecture or the config says so") {
  const auto inner_norms = [](const char* name) {
    const ModelSpec model = shipped(name);
    std::vector<Op> found;
    for (const Op& op : token_ops(shard_of(model, {.tp = 2}), 3)) {
      if (op.part == MemoryPart::kInnerNorm) found.push_back(op);
    }
    return found;
  };
  const std::vector<Op> qwen = inner_norms("Qwen3-30B-A3B");
  REQUIRE(qwen.size() == 1);
  CHECK(qwen[0].repeat == 48);
  // 16 query and 2 key heads of 128 on each rank, read and written in 16 bit.
  CHECK(qwen[0].activation_bytes == 2.0 * 2 * 3 * 128 * (16 + 2));
  CHECK(inner_norms("GLM-4.6").size() == 2);  // dense layers and layers with experts
  CHECK(inner_norms("GLM-4.5-Air").empty());
  CHECK(inner_norms("Mixtral-8x7B-v0.1").empty());
}

TEST_CASE("a stage that is not the last sends hidden state and residual on") {
  const ModelSpec model = shipped("Mixtral-8x7B-v0.1");
  const Shard first = make_shard(model, {.tp = 1, .pp = 2}, 0).shard;
  const std::vector<Op> sends = of_term(token_ops(first, 100), Term::kPpSendRecv);
  REQUIRE(sends.size() == 1);
  CHECK(sends[0].kind == OpKind::kSendRecv);
  CHECK(sends[0].message_bytes == 2.0 * 100 * 4096 * 2);
  const Shard last = make_shard(model, {.tp = 1, .pp = 2}, 1).shard;
  const std::vector<Op> ops = token_ops(last, 100);
  CHECK(of_term(ops, Term::kPpSendRecv).empty());
  CHECK(of_term(ops, Term::kEmbedding).empty());
}

TEST_CASE("the LM head and sampling see the sampled rows only, on the last stage") {
  const ModelSpec model = shipped("Mixtral-8x7B-v0.1");
  const auto family = make_family(model);
  std::vector<Op> ops;
  family->sample_ops(shard_of(model, {.tp = 2}), 8, ops);
  const std::vector<Op> head = of_term(ops, Term::kLmHead);
  REQUIRE(head.size() == 1);
  CHECK(head[0].m == 8);
  CHECK(head[0].n == 16000);
  CHECK(head[0].weight_bytes == 16000.0 * 4096 * 2);
  const std::vector<Op> sampling = of_term(ops, Term::kSampling);
  REQUIRE(sampling.size() == 1);
  CHECK(sampling[0].activation_bytes == 4.0 * 8 * 32000 * 4);
  const std::vector<Op> gather = of_term(ops, Term::kAllReduce);
  REQUIRE(gather.size() == 1);
  CHECK(gather[0].message_bytes == 8.0 * 32000);
  ops.clear();
  family->sample_ops(make_shard(model, {.tp = 1, .pp = 2}, 0).shard, 8, ops);
  CHECK(ops.empty());
}

TEST_CASE("decode attention reads each visible token's KV once") {
  const ModelSpec model = shipped("Mixtral-8x7B-v0.1");
  const Shard shard = shard_of(model, {.tp = 2});
  const Op op = make_family(model)->attention_decode(shard, layer_classes(shard)[0], 4, 10000);
  CHECK(op.kind == OpKind::kAttentionDecode);
  CHECK(op.repeat == 32);
  CHECK(op.flops == 4.0 * 16 * 128 * 10000);
  CHECK(op.weight_bytes == 10000.0 * 2 * 4 * 128 * 2);
  CHECK(op.activation_bytes == 4.0 * 16 * 256 * 2);
  CHECK(op.m == 4);
  CHECK(op.n == 10000);
  CHECK(op.sequences == 4);
  CHECK(op.kv_heads == 4);
  CHECK(op.head_dim == 128);
}

TEST_CASE("prefill attention counts visible pairs under the window or chunk") {
  const std::string body =
      R"("hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "intermediate_size": 128, "num_hidden_layers": 1, )";
  const ModelSpec full = small_model("mistral", body + R"("sliding_window": null)");
  const ModelSpec sliding = small_model("mistral", body + R"("sliding_window": 4)");
  const ModelSpec chunked = small_model(
      "llama4_text",
      body + R"("num_local_experts": 4, "num_experts_per_tok": 1, "interleave_moe_layer_step": 1,
    "attention_chunk_size": 4)");
  struct Case {
    std::string why;
    const ModelSpec& model;
    int new_tokens, cached;
    double pairs, keys;
  };
  const Case cases[] = {
      {"full: 6 x 10 cached and a triangle of 21", full, 6, 10, 81, 16},
      {"full: one token", full, 1, 0, 1, 1},
      {"sliding, all inside", sliding, 3, 1, 2 + 3 + 4, 4},
      {"sliding, growing then constant", sliding, 6, 0, 1 + 2 + 3 + 4 + 4 + 4, 6},
      {"sliding, grown", sliding, 6, 10, 6 * 4, 9},
      {"sliding, partly grown", sliding, 4, 2, 3 + 4 + 4 + 4, 6},
      {"chunked: positions 0 to 5", chunked, 6, 0, 1 + 2 + 3 + 4 + 1 + 2, 6},
      {"chunked: positions 6 to 9 see 3, 4, 1, 2", chunked, 4, 6, 10, 6},
      {"chunked, all inside", chunked, 2, 1, 2 + 3, 3},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const Shard shard = shard_of(c.model);
    const Op op = make_family(c.model)->attention_prefill(shard, layer_classes(shard)[0],
                                                          c.new_tokens, c.cached);
    CHECK(op.kind == OpKind::kAttentionPrefill);
    CHECK(op.flops == 4.0 * 4 * 16 * c.pairs);
    CHECK(op.weight_bytes == c.keys * 2 * 2 * 16 * 2);
    CHECK(op.m == c.new_tokens);
  }
}

TEST_CASE("routed experts: padded rows, active experts, bytes") {
  const ModelSpec model = shipped("Mixtral-8x7B-v0.1");
  const Shard shard = shard_of(model, {.tp = 2});
  const LayerClass layers = layer_classes(shard)[0];
  const std::vector<std::uint32_t> counts = {17, 0, 1,  16,
                                             0,  0, 30, 0};  // 32 tokens, two experts each
  const Op op = make_family(model)->experts(shard, layers, 32, counts);
  CHECK(op.active_experts == 4);
  CHECK(op.m == 64);
  CHECK(op.padded_rows == 32 + 16 + 16 + 32);
  CHECK(op.n == 7168);
  CHECK(op.k == 4096);
  CHECK(op.flops == 2.0 * 96 * 4096 * 3 * 7168);
  CHECK(op.weight_bytes == 4.0 * 3 * 4096 * 7168 * 2);
  CHECK(op.activation_bytes == 64.0 * 2 * (4096 + 2 * 7168 + 7168 + 4096));
}

TEST_CASE("quantised experts read fewer bytes in larger or smaller tiles") {
  ModelSpec model = shipped("Mixtral-8x7B-v0.1");
  apply_precision(model, {.weights = "auto", .experts = "awq_int4", .kv_cache = "auto"});
  const Shard shard = shard_of(model);
  const std::vector<std::uint32_t> counts(8, 8);  // 32 tokens
  const Op op = make_family(model)->experts(shard, layer_classes(shard)[0], 32, counts);
  CHECK(op.weight_format == NumberFormat::kAwqInt4);
  CHECK(op.padded_rows == 8 * 32);
  CHECK(op.weight_bytes == doctest::Approx(8.0 * 176160768 * 4.15625 / 8));
}

TEST_CASE("expert parallelism keeps experts whole and gathers the group's share of rows") {
  const ModelSpec model = shipped("Qwen3-30B-A3B");
  const Shard shard = shard_of(model, {.tp = 1, .pp = 1, .dp = 8, .expert_parallel = true});
  const std::vector<std::uint32_t> counts(16, 4);
  const Op op = make_family(model)->experts(shard, layer_classes(shard)[0], 64, counts);
  CHECK(op.n == 768);
  CHECK(op.active_experts == 16);
  // Un-permute: 64 tokens x 8 ranks x 8 experts over 8 ranks, and the output.
  double largest = 0;
  for (const Op& e : of_term(token_ops(shard, 64), Term::kElementwise))
    largest = std::max(largest, e.activation_bytes);
  CHECK(largest == (512.0 + 64) * 2048 * 2);
}
