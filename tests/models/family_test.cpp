// What holds for every registered family, and the shared rules.
#include "models/family.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "sim/base/random.h"
#include "sim/base/registry.h"
#include "tests/models/models_support.h"

using namespace moesim;
using test::shard_of;
using test::shipped;

namespace {

// One shipped model per family, and layouts that divide it.
const std::map<std::string, std::string> kExamples = {
    {"gqa_moe", "gpt-oss-120b"},
    {"mla_moe", "DeepSeek-V3.2"},
    {"hybrid_ssm_moe", "Qwen3-Next-80B-A3B-Instruct"},
    {"switch_encdec", "switch-base-8"}};

struct Work {
  double flops = 0, bytes = 0, messages = 0;
};

Work total(const std::vector<Op>& ops) {
  Work sum;
  for (const Op& op : ops) {
    sum.flops += op.repeat * op.flops;
    sum.bytes += op.repeat * (op.weight_bytes + op.activation_bytes);
    sum.messages += op.repeat * op.message_bytes;
  }
  return sum;
}

Work token_work(const ModelSpec& model, const Parallel& parallel, int tokens) {
  std::vector<Op> ops;
  make_family(model)->token_ops(shard_of(model, parallel), tokens, ops);
  return total(ops);
}

}  // namespace

TEST_CASE("every registered family has an example here") {
  for (const std::string& name : Registry<Family>::names()) CHECK(kExamples.count(name) == 1);
  CHECK(Registry<Family>::names().size() == kExamples.size());
}

TEST_CASE("contract: work is positive, grows with tokens and splits over ranks") {
  for (const auto& example : kExamples) {
    const std::string& family = example.first;
    const std::string& name = example.second;
    CAPTURE(family);
    const ModelSpec model = shipped(name);
    CHECK(model.family == family);
    Work before;
    for (const int tokens : {1, 16, 512, 8192}) {
      const Work one = token_work(model, {}, tokens);
      CHECK(one.flops > before.flops);
      CHECK(one.bytes > before.bytes);
      CHECK(one.messages == 0);
      const Work two = token_work(model, {.tp = 2}, tokens);
      CHECK(two.flops < one.flops);
      CHECK(2 * two.flops > one.flops);  // parts are replicated
      CHECK(two.messages > 0);
      before = one;
    }
  }
}

TEST_CASE("contract: attention never gets cheaper with more context or more new tokens") {
  for (const auto& example : kExamples) {
    const std::string& family = example.first;
    const std::string& name = example.second;
    CAPTURE(family);
    const ModelSpec model = shipped(name);
    const Shard shard = shard_of(model);
    const auto ops = make_family(model);
    for (const LayerClass& layers : layer_classes(shard)) {
      double flops = -1;
      for (const int cached : {0, 100, 5000, 60000}) {
        const Op op = ops->attention_prefill(shard, layers, 256, cached);
        CHECK(op.repeat == layers.layers);
        CHECK(op.term == Term::kAttention);
        CHECK(op.flops >= flops);
        // A chunk is worth the sum of its halves.
        const Op first = ops->attention_prefill(shard, layers, 128, cached);
        const Op second = ops->attention_prefill(shard, layers, 128, cached + 128);
        if (model.mla.index_heads == 0 && !model.is_mla() && !layers.spec.encoder) {
          CHECK(first.flops + second.flops == doctest::Approx(op.flops).epsilon(1e-9));
        }
        flops = layers.spec.attention == AttentionKind::kChunked ? -1 : op.flops;
      }
      const Op few = ops->attention_decode(shard, layers, 8, 8 * 1000);
      const Op many = ops->attention_decode(shard, layers, 8, 8 * 4000);
      CHECK(few.repeat == layers.layers);
      CHECK(many.flops >= few.flops);
      CHECK(many.weight_bytes >= few.weight_bytes);
    }
  }
}

TEST_CASE("contract: experts cost nothing without tokens, and active experts alone are read") {
  for (const auto& example : kExamples) {
    const std::string& family = example.first;
    const std::string& name = example.second;
    CAPTURE(family);
    const ModelSpec model = shipped(name);
    const Shard shard = shard_of(model);
    for (const LayerClass& layers : layer_classes(shard)) {
      if (!layers.spec.moe) continue;
      std::vector<std::uint32_t> counts(static_cast<std::size_t>(layers.spec.num_experts), 0);
      const auto ops = make_family(model);
      const Op none = ops->experts(shard, layers, 64, counts);
      CHECK(none.flops == 0);
      CHECK(none.weight_bytes == 0);
      counts[3] = 1;
      const Op one = ops->experts(shard, layers, 64, counts);
      counts[5] = 7;
      const Op two = ops->experts(shard, layers, 64, counts);
      CHECK(one.active_experts == 1);
      CHECK(two.active_experts == 2);
      CHECK(two.m == 8);
      CHECK(two.weight_bytes == doctest::Approx(2 * one.weight_bytes));
      CHECK(two.repeat == 1);
      CHECK(two.kind == OpKind::kGroupedGemm);
    }
  }
}

TEST_CASE("a fused shared expert is one more expert that every token chooses") {
  const ModelSpec model = shipped("DeepSeek-V3");
  Parallel parallel{.tp = 2, .pp = 1, .dp = 2};
  const Shard apart = shard_of(model, parallel);
  parallel.fused_shared_expert = true;
  const Shard fused = shard_of(model, parallel);
  const auto ops = make_family(model);
  const LayerClass layers = layer_classes(fused).back();
  REQUIRE(layers.spec.moe);
  std::vector<std::uint32_t> counts(256, 0);
  counts[3] = 70;
  counts[9] = 442;
  const Op without = ops->experts(apart, layers, 64, counts);
  const Op with = ops->experts(fused, layers, 64, counts);
  CHECK(with.m == without.m + 64);
  CHECK(with.active_experts == 3);
  CHECK(with.experts == 257);
  CHECK(with.total_experts == 257);
  CHECK(with.top_k == 9);
  CHECK(with.above_64 == without.above_64);  // 64 tokens of its own
  CHECK(with.weight_bytes == doctest::Approx(1.5 * without.weight_bytes));
  // Nothing is left of it on its own, and its weights are cut over all four ranks, not over two.
  const auto shared = [&](const Shard& shard) {
    std::vector<Op> all;
    ops->token_ops(shard, 64, all);
    return std::ranges::count(all, Term::kSharedExpert, &Op::term);
  };
  CHECK(shared(apart) > 0);
  CHECK(shared(fused) == 0);
  CHECK(weight_bytes(apart).shared_experts == weight_bytes(fused).shared_experts * 2);
  CHECK(weight_bytes(apart).routed_experts == weight_bytes(fused).routed_experts);
}

TEST_CASE("projections of queries, keys and values are known to come before attention") {
  for (const auto& example : kExamples) {
    const ModelSpec model = shipped(example.second);
    CAPTURE(example.second);
    std::vector<Op> all;
    const Shard shard = shard_of(model);
    make_family(model)->token_ops(shard, 64, all);
    double before = 0, outputs = 0;
    for (const Op& op : all) {
      const bool other = op.term != Term::kAttentionProj && op.term != Term::kElementwise &&
                         op.term != Term::kAllReduce;
      CHECK_FALSE((op.before_attention && other));
      if (op.term == Term::kAttentionProj) (op.before_attention ? before : outputs) += op.flops;
    }
    CHECK(before > 0);
    CHECK(outputs > 0);
  }
}

TEST_CASE("layers that are alike form one class, in order of appearance") {
  const ModelSpec v3 = shipped("DeepSeek-V3");
  const std::vector<LayerClass> classes = layer_classes(shard_of(v3));
  REQUIRE(classes.size() == 2);
  CHECK(classes[0].layers == 3);
  CHECK_FALSE(classes[0].spec.moe);
  CHECK(classes[1].layers == 58);
  const ModelSpec jamba = shipped("AI21-Jamba-1.5-Mini");
  int layers = 0;
  for (const LayerClass& c : layer_classes(shard_of(jamba))) layers += c.layers;
  CHECK(layers == 32);
}

TEST_CASE("more kinds of layers than the fixed table holds are still all counted") {
  ModelSpec model = shipped("Mixtral-8x7B-v0.1");
  for (std::size_t i = 0; i < model.layers.size(); ++i)
    model.layers[i].expert_intermediate = 1024 + static_cast<int>(i);
  CHECK(layer_classes(shard_of(model)).size() == 32);
  std::vector<Op> ops;
  make_family(model)->token_ops(shard_of(model), 1, ops);
  int routers = 0;
  for (const Op& op : ops)
    routers += op.term == Term::kRouter && op.kind == OpKind::kGemm ? op.repeat : 0;
  CHECK(routers == 32);
}

TEST_CASE("M tiles follow the untuned defaults of the kernels") {
  struct Case {
    NumberFormat format;
    int tokens, tile;
  };
  const Case cases[] = {
      {NumberFormat::kBf16, 1, 16},      {NumberFormat::kBf16, 32, 16},
      {NumberFormat::kBf16, 33, 32},     {NumberFormat::kBf16, 96, 32},
      {NumberFormat::kBf16, 97, 64},     {NumberFormat::kFp8, 512, 64},
      {NumberFormat::kFp8, 513, 128},    {NumberFormat::kFp8Block, 64, 16},
      {NumberFormat::kFp8Block, 65, 64}, {NumberFormat::kFp8Block, 9999, 64},
      {NumberFormat::kAwqInt4, 20, 16},  {NumberFormat::kGptqInt4, 21, 32},
      {NumberFormat::kAwqInt4, 40, 32},  {NumberFormat::kMxfp4, 41, 64},
      {NumberFormat::kNvfp4, 9999, 128},
  };
  for (const Case& c : cases) {
    CAPTURE(to_text(c.format));
    CAPTURE(c.tokens);
    CHECK(TileRule::m_tile(c.format, c.tokens) == c.tile);
  }
}
