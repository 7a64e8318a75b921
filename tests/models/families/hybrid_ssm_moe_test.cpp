#include <doctest/doctest.h>
#include <vector>

#include "models/family.h"
#include "tests/models/models_support.h"

using namespace moesim;
using test::shard_of;
using test::shipped;

TEST_CASE("a linear layer moves its state, whatever the context") {
  const ModelSpec model = shipped("Qwen3-Next-80B-A3B-Instruct");
  const Shard shard = shard_of(model);
  const LayerClass linear = layer_classes(shard)[0];
  REQUIRE(linear.spec.attention == AttentionKind::kLinear);
  const auto family = make_family(model);
  const Op small = family->attention_decode(shard, linear, 4, 100);
  const Op large = family->attention_decode(shard, linear, 4, 100000);
  CHECK(small.activation_bytes == large.activation_bytes);
  CHECK(small.repeat == 36);
  // Read and written in 16 bit: 4 sequences of 548864 elements, and two hidden vectors a token.
  CHECK(small.activation_bytes == 2.0 * 2 * (4 * 548864.0 + 2 * 4 * 2048));
  // A prompt moves the state once.
  const Op prompt = family->attention_prefill(shard, linear, 1000, 0);
  CHECK(prompt.activation_bytes == 2.0 * 2 * (548864.0 + 2 * 1000 * 2048));
  CHECK(prompt.flops == 4.0 * 1000 * 548864);
}

TEST_CASE("full layers among them attend as any other; the gate widens the query projection") {
  const ModelSpec model = shipped("Qwen3-Next-80B-A3B-Instruct");
  const Shard shard = shard_of(model);
  const LayerClass full = layer_classes(shard)[1];
  REQUIRE(full.spec.attention == AttentionKind::kFull);
  CHECK(full.layers == 12);
  const Op op = make_family(model)->attention_decode(shard, full, 1, 1000);
  CHECK(op.weight_bytes == 1000.0 * 2 * 2 * 256 * 2);
  CHECK(attention_slice(shard, full.spec).qkv_width == 2 * 16 * 256 + 2 * 2 * 256);
}

TEST_CASE("a mixer is three products, a convolution and a norm beside its recurrence") {
  const ModelSpec model = shipped("Qwen3.5-397B-A17B");
  CHECK(model.linear.conv_width == 2 * 16 * 128 + 64 * 128);
  CHECK(model.linear.value_width == 64 * 128);
  std::vector<Op> ops;
  make_family(model)->token_ops(shard_of(model, {.tp = 4}), 3, ops);
  int kernels = 0;
  std::vector<std::int64_t> widths;
  for (const Op& op : ops) {
    if (op.repeat != 45) continue;  // three layers of four
    if (op.term == Term::kAttentionProj) widths.push_back(op.n);
    if (op.term != Term::kAttention) continue;
    ++kernels;
    // Channels or values of a rank, in 16 bit: read and written, the norm with its gate.
    CHECK((op.activation_bytes == 3 * 4 * 12288 / 4 || op.activation_bytes == 3 * 6 * 8192 / 4));
  }
  // Queries, keys, values and their gate; beta and decay; out. The wide one carries the weights of
  // the convolution as well.
  REQUIRE(widths.size() == 3);
  CHECK(widths[0] == doctest::Approx((12288 + 8192) / 4).epsilon(0.001));
  CHECK(widths[1] == 2 * 64 / 4);
  CHECK(widths[2] == 4096);
  CHECK(kernels == 2);
}

TEST_CASE("mixer weights are read once a step and cut by tensor parallelism") {
  const ModelSpec model = shipped("AI21-Jamba-1.5-Mini");
  const auto mixer_bytes = [&model](int tp) {
    std::vector<Op> ops;
    make_family(model)->token_ops(shard_of(model, {.tp = tp}), 1, ops);
    double sum = 0;
    for (const Op& op : ops) {
      // 28 layers of 32 are linear, 16 of them with experts; each has a product in and one out.
      if (op.term == Term::kAttentionProj && op.repeat > 4) sum += op.repeat * op.weight_bytes;
    }
    return sum;
  };
  const double weights = 28.0 * static_cast<double>(model.linear.mixer_weights) * 2;
  CHECK(mixer_bytes(1) == doctest::Approx(weights).epsilon(0.001));
  CHECK(mixer_bytes(2) == doctest::Approx(weights / 2).epsilon(0.001));
}
