#include "models/sharding.h"

#include <doctest/doctest.h>
#include <string>

#include "sim/base/random.h"
#include "tests/models/models_support.h"

using namespace moesim;
using test::shard_of;
using test::shipped;

TEST_CASE("tensor parallelism cuts heads, widths and tables") {
  const ModelSpec mixtral = shipped("Mixtral-8x7B-v0.1");
  const Shard shard = shard_of(mixtral, {.tp = 2});
  CHECK(shard.heads == 16);
  CHECK(shard.kv_heads == 4);
  CHECK(shard.expert_slice(mixtral.layers[0]) == 7168);
  CHECK(shard.local_experts(mixtral.layers[0]) == 8);
  const WeightBytes bytes = weight_bytes(shard);
  // 32 layers of 4096 x (16 + 2*4) x 128 and 16 x 128 x 4096, 2 bytes each
  CHECK(bytes.attention == Bytes(32LL * 2 * (4096 * 3072 + 2048 * 4096)));
  CHECK(bytes.routed_experts == Bytes(45'097'156'608));  // half of 90.194 GB
  CHECK(bytes.router == Bytes(32LL * 2 * 4096 * 8));     // replicated
  CHECK(bytes.embedding == Bytes(16000LL * 4096 * 2));
  CHECK(bytes.lm_head == bytes.embedding);
  CHECK(bytes.other == Bytes(65LL * 4096 * 2));  // norms, replicated
}

TEST_CASE("KV heads are replicated when tensor parallelism exceeds them") {
  const ModelSpec qwen = shipped("Qwen3-235B-A22B");  // 4 KV heads of 128
  struct Case {
    int tp, heads;
    std::int64_t bytes;
  };
  for (const Case& c : {Case{1, 4, 2048}, Case{2, 2, 1024}, Case{4, 1, 512}, Case{8, 1, 512}}) {
    CAPTURE(c.tp);
    const Shard shard = shard_of(qwen, {.tp = c.tp});
    CHECK(shard.kv_heads == c.heads);
    CHECK(kv_bytes_per_token_layer(shard, qwen.layers[0]) == Bytes(c.bytes));
  }
  const Shard eight = shard_of(qwen, {.tp = 8});
  CHECK(attention_slice(eight, qwen.layers[0]).qkv_width == 8 * 128 + 2 * 128);
}

TEST_CASE("MLA caches the whole latent on every rank and replicates its down-projections") {
  const ModelSpec v3 = shipped("DeepSeek-V3");
  for (const int tp : {1, 8}) {
    CHECK(kv_bytes_per_token_layer(shard_of(v3, {.tp = tp}), v3.layers[0]) == Bytes(1152));
  }
  const LayerWeights weights = layer_weights(shard_of(v3, {.tp = 8}), v3.layers[0]);
  const std::int64_t down = 7168LL * (1536 + 576);
  CHECK(weights.attention == down + 1536LL * 16 * 192 + 512LL * 16 * 256 + 16LL * 128 * 7168);
}

TEST_CASE("expert bytes per GPU are R / (TP x DP) with expert parallelism on or off") {
  struct Case {
    std::string model;
    int tp, dp;
  };
  const Case cases[] = {{"Mixtral-8x7B-v0.1", 2, 1}, {"Mixtral-8x7B-v0.1", 2, 4},
                        {"DeepSeek-V3", 1, 8},       {"DeepSeek-V3", 8, 1},
                        {"DeepSeek-V3", 2, 8},       {"Qwen3-30B-A3B", 4, 2},
                        {"gpt-oss-120b", 4, 1},      {"Llama-4-Maverick-17B-128E", 4, 4}};
  for (const Case& c : cases) {
    CAPTURE(c.model);
    CAPTURE(c.tp);
    CAPTURE(c.dp);
    const ModelSpec model = shipped(c.model);
    const WeightBytes whole = weight_bytes(shard_of(model));
    const WeightBytes off = weight_bytes(shard_of(model, {.tp = c.tp, .pp = 1, .dp = c.dp}));
    const WeightBytes on =
        weight_bytes(shard_of(model, {.tp = c.tp, .pp = 1, .dp = c.dp, .expert_parallel = true}));
    CHECK(on.routed_experts == off.routed_experts);
    // Biases of cut experts are not cut; shared experts are whole where TP splits tokens instead.
    const bool split = c.tp > 1 && c.dp > 1;
    CHECK(on.shared_experts.value() == off.shared_experts.value() * (split ? c.tp : 1));
    CHECK(on.total() - on.other - on.shared_experts ==
          off.total() - off.other - off.shared_experts);
    CHECK(on.routed_experts / whole.routed_experts ==
          doctest::Approx(1.0 / (c.tp * c.dp)).epsilon(1e-9));
    // Attention and dense parts do not know of data parallelism.
    CHECK(off.attention == weight_bytes(shard_of(model, {.tp = c.tp})).attention);
  }
}

TEST_CASE("DeepSeek-V3 in fp8: routed experts per GPU") {
  const ModelSpec v3 = shipped("DeepSeek-V3");
  struct Case {
    int dp;
    double gigabytes;
  };
  for (const Case& c : {Case{8, 81.8}, Case{16, 40.9}, Case{32, 20.4}, Case{64, 10.2}}) {
    const WeightBytes bytes =
        weight_bytes(shard_of(v3, {.tp = 1, .pp = 1, .dp = c.dp, .expert_parallel = true}));
    CHECK(static_cast<double>(bytes.routed_experts.value()) / 1e9 ==
          doctest::Approx(c.gigabytes).epsilon(0.003));
    CHECK(static_cast<double>((bytes.total() - bytes.routed_experts).value()) / 1e9 ==
          doctest::Approx(19.08).epsilon(0.005));
  }
}

TEST_CASE("redundant experts are counted apart") {
  const ModelSpec v3 = shipped("DeepSeek-V3");
  const Parallel parallel{
      .tp = 1, .pp = 1, .dp = 32, .expert_parallel = true, .redundant_experts = 32};
  const Shard shard = shard_of(v3, parallel);
  CHECK(shard.local_experts(v3.layers[10]) == 9);
  const WeightBytes bytes = weight_bytes(shard);
  CHECK(bytes.redundant_experts / bytes.routed_experts == doctest::Approx(1.0 / 8).epsilon(1e-9));
}

TEST_CASE("an uneven number of experts gives the first ranks one more") {
  const ModelSpec qwen = shipped("Qwen1.5-MoE-A2.7B");  // 60 experts
  const Shard shard = shard_of(qwen, {.tp = 8, .pp = 1, .dp = 1, .expert_parallel = true});
  CHECK(shard.local_experts(qwen.layers[0]) == 8);
}

TEST_CASE("pipeline stages split layers ceil/floor; embedding first, head last") {
  const ModelSpec v3 = shipped("DeepSeek-V3");  // 61 layers
  const int expect[] = {16, 15, 15, 15};
  int next = 0;
  for (int stage = 0; stage < 4; ++stage) {
    const Shard shard = make_shard(v3, {.tp = 1, .pp = 4}, stage).shard;
    CHECK(shard.first_layer == next);
    CHECK(shard.last_layer - shard.first_layer == expect[stage]);
    CHECK(shard.has_embedding == (stage == 0));
    CHECK(shard.has_lm_head == (stage == 3));
    next = shard.last_layer;
  }
  CHECK(next == 61);
}

TEST_CASE("stages together hold what one rank would; tied tables are held twice if split") {
  for (const std::string name : {"Mixtral-8x7B-v0.1", "granite-3.1-3b-a800m-base"}) {
    const ModelSpec model = shipped(name);
    Bytes sum;
    for (int stage = 0; stage < 3; ++stage)
      sum += weight_bytes(make_shard(model, {.tp = 1, .pp = 3}, stage).shard).total();
    const Bytes whole = weight_bytes(shard_of(model)).total();
    const Bytes table = weight_bytes(shard_of(model)).embedding;
    CHECK(sum == whole + (model.tied_embeddings ? table : Bytes(0)));
  }
}

TEST_CASE("the vocabulary is padded to a multiple of 64") {
  const ModelSpec granite = shipped("granite-3.1-3b-a800m-base");  // 49155
  CHECK(vocab_slice(shard_of(granite)) == 49216);
  CHECK(vocab_slice(shard_of(granite, {.tp = 4})) == 12304);
}

TEST_CASE("per-channel scales of fp8 are counted as other") {
  ModelSpec llama = shipped("Llama-3.1-8B");
  const WeightBytes plain = weight_bytes(shard_of(llama));
  apply_precision(llama, {.weights = "fp8", .experts = "auto", .kv_cache = "auto"});
  const WeightBytes fp8 = weight_bytes(shard_of(llama));
  CHECK(2 * fp8.attention == plain.attention);
  CHECK(fp8.embedding == plain.embedding);
  // 32 layers of q, k, v 6144 + o 4096 + gate, up 2 x 14336 + down 4096 channels, 4 bytes each
  CHECK(fp8.other - plain.other == Bytes(32LL * 4 * (6144 + 4096 + 28672 + 4096)));
}

TEST_CASE("layouts that do not divide the model say what does not divide") {
  struct Case {
    std::string why, model;
    Parallel parallel;
    std::string problem;  // part of it
  };
  const Case cases[] = {
      {"heads",
       "Mixtral-8x7B-v0.1",
       {.tp = 5},
       "32 query heads cannot be cut over tensor_parallel_size 5"},
      {"KV heads", "Qwen3-14B", {.tp = 5}, "8 KV heads can neither be cut nor replicated"},
      {"experts cut unevenly",
       "Qwen3-30B-A3B",
       {.tp = 1, .pp = 1, .dp = 5},
       "768 columns of an expert"},
      {"fp8 blocks",
       "MiniMax-M2.5",
       {.tp = 8},
       "leave 192, not a multiple of the fp8 block of 128"},
      {"more ranks than experts",
       "Mixtral-8x7B-v0.1",
       {.tp = 1, .pp = 1, .dp = 16, .expert_parallel = true},
       "8 experts cannot be spread over 16 GPUs"},
      {"copies that do not divide",
       "DeepSeek-V3",
       {.tp = 1, .pp = 1, .dp = 32, .expert_parallel = true, .redundant_experts = 10},
       "266 experts with their copies"},
      {"copies without experts whole",
       "DeepSeek-V3",
       {.tp = 8, .pp = 1, .dp = 1, .expert_parallel = false, .redundant_experts = 8},
       "need enable_expert_parallel"},
      {"stages", "Mixtral-8x7B-v0.1", {.tp = 1, .pp = 33}, "32 layers cannot be cut"},
      {"encoder-decoder", "switch-base-8", {.tp = 1, .pp = 2}, "one pipeline stage only"},
      {"zero", "Mixtral-8x7B-v0.1", {.tp = 0}, "at least 1"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const ModelSpec model = shipped(c.model);
    const std::string problem = make_shard(model, c.parallel, 0).problem;
    CHECK_MESSAGE(problem.find(c.problem) != std::string::npos, problem);
  }
  const ModelSpec minimax = shipped("MiniMax-M2.5");
  CHECK(
      make_shard(minimax, {.tp = 8, .pp = 1, .dp = 1, .expert_parallel = true}, 0).problem.empty());
  CHECK(make_shard(minimax, {.tp = 4}, 0).problem.empty());
}

TEST_CASE("the degree that is to blame is named, and copies where they would do") {
  const ModelSpec mixtral = shipped("Mixtral-8x7B-v0.1");
  const auto made = [&](Parallel parallel) { return make_shard(mixtral, parallel, 0); };
  const ShardResult data = made({.tp = 1, .pp = 1, .dp = 16, .expert_parallel = true});
  CHECK(std::string(data.key) == "data_parallel_size");
  CHECK(data.hint ==
        "write placement.eplb.num_redundant_experts: 8, or a smaller data_parallel_size");
  // As the hint says.
  const Parallel copied{
      .tp = 1, .pp = 1, .dp = 16, .expert_parallel = true, .redundant_experts = 8};
  CHECK(made(copied).problem.empty());
  const ShardResult tensor = made({.tp = 16, .pp = 1, .dp = 2, .expert_parallel = true});
  CHECK(std::string(tensor.key) == "tensor_parallel_size");
  CHECK(tensor.hint.find("num_redundant_experts: 24, or a smaller tensor") != std::string::npos);
  CHECK(std::string(made({.tp = 1, .pp = 1, .dp = 5}).key) == "data_parallel_size");
  CHECK(std::string(made({.tp = 1, .pp = 33}).key) == "pipeline_parallel_size");
}

TEST_CASE("an encoder keeps no KV; a decoder layer one slot per token of prompt or output") {
  const ModelSpec model = shipped("switch-base-8");
  const Shard shard = shard_of(model);
  CHECK(kv_bytes_per_token_layer(shard, model.layers.front()) == Bytes(0));
  CHECK(kv_bytes_per_token_layer(shard, model.layers.back()) == Bytes(2LL * 12 * 64 * 2));
}

TEST_CASE("any valid layout holds each expert weight exactly once over its group") {
  Rng rng(1, "sharding_test");
  const ModelSpec model = shipped("Qwen3-235B-A22B");
  const std::int64_t whole = weight_bytes(shard_of(model)).routed_experts.value();
  for (int i = 0; i < 200; ++i) {
    const Parallel parallel{.tp = 1 << rng.below(4),
                            .pp = 1 + static_cast<int>(rng.below(4)),
                            .dp = 1 << rng.below(4),
                            .expert_parallel = rng.below(2) == 1};
    std::int64_t sum = 0;
    bool valid = true;
    for (int stage = 0; stage < parallel.pp; ++stage) {
      const ShardResult result = make_shard(model, parallel, stage);
      valid = valid && result.problem.empty();
      if (valid) sum += parallel.moe_group() * weight_bytes(result.shard).routed_experts.value();
    }
    if (valid) CHECK(sum == whole);
  }
}
