#include <doctest/doctest.h>
#include <string>

#include "tests/models/models_support.h"

using namespace moesim;
using test::shard_of;
using test::shipped;
using test::small_model;

TEST_CASE("a uniform model is one group of all layers") {
  const ModelSpec model = shipped("Mixtral-8x7B-v0.1");
  const KvLayout kv = kv_layout(shard_of(model, {.tp = 2}), 16, true);
  REQUIRE(kv.groups.size() == 1);
  CHECK(kv.layers_per_group == 32);
  CHECK(kv.bytes_per_token == Bytes(65536));
  CHECK(kv.bytes_per_block == Bytes(16 * 65536));
  CHECK(kv.blocks_per_request(4096, 2048) == 256);
  CHECK(kv.blocks_per_request(4097, 2048) == 257);
  CHECK(kv.blocks_per_request(0, 2048) == 0);
}

TEST_CASE("gpt-oss alternates: two groups of 18 layers share pages of 32 KiB") {
  const ModelSpec model = shipped("gpt-oss-120b");
  const KvLayout kv = kv_layout(shard_of(model), 16, true);
  REQUIRE(kv.groups.size() == 2);
  CHECK(kv.groups[0].kind == AttentionKind::kSliding);
  CHECK(kv.groups[0].window == 128);
  CHECK(kv.groups[1].kind == AttentionKind::kFull);
  CHECK(kv.groups[1].layers == 18);
  CHECK(kv.layers_per_group == 18);
  CHECK(kv.bytes_per_block == Bytes(576 * 1024));
  CHECK(kv.bytes_per_token == Bytes(73728));
  // 512 blocks of the full group; the sliding one holds 127 + 2048 tokens and a partial block.
  CHECK(kv.blocks_per_request(8192, 2048) == 512 + 137);
  CHECK(kv.blocks_per_request(64, 2048) == 4 + 4);
}

TEST_CASE("without the hybrid manager a window saves nothing") {
  const ModelSpec model = shipped("gpt-oss-120b");
  const KvLayout kv = kv_layout(shard_of(model), 16, false);
  REQUIRE(kv.groups.size() == 1);
  CHECK(kv.groups[0].kind == AttentionKind::kFull);
  CHECK(kv.bytes_per_block == Bytes(16 * 73728));
  CHECK(kv.blocks_per_request(8192, 2048) == 512);
}

TEST_CASE("Llama-4: one full and three chunked groups of 12") {
  const ModelSpec model = shipped("Llama-4-Scout-17B-16E");
  const KvLayout kv = kv_layout(shard_of(model, {.tp = 8}), 16, true);
  REQUIRE(kv.groups.size() == 4);
  CHECK(kv.layers_per_group == 12);
  int full = 0;
  for (const KvGroup& group : kv.groups) full += group.kind == AttentionKind::kFull ? 1 : 0;
  CHECK(full == 1);
  // 65536 tokens: 4096 blocks full; chunked 8192 + 8192 tokens and one more block.
  CHECK(kv.blocks_per_request(65536, 8192) == 4096 + 3 * 1025);
}

TEST_CASE(
    "kinds of nearly equal size are padded up, others cut into groups with padding in the last") {
  const std::string body =
      R"("hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "intermediate_size": 128, "sliding_window": 512, )";
  const auto types = [](int full, int sliding) {
    std::string list;
    for (int i = 0; i < full + sliding; ++i) {
      list += std::string(i > 0 ? ", " : "") +
              (i < full ? R"("full_attention")" : R"("sliding_attention")");
    }
    return R"("num_hidden_layers": )" + std::to_string(full + sliding) + R"(, "layer_types": [)" +
           list + "]";
  };
  const ModelSpec nearly = small_model("mistral", body + types(9, 10));
  const KvLayout padded = kv_layout(shard_of(nearly), 16, true);
  CHECK(padded.layers_per_group == 10);
  CHECK(padded.groups.size() == 2);
  const ModelSpec uneven = small_model("mistral", body + types(4, 10));
  const KvLayout cut = kv_layout(shard_of(uneven), 16, true);
  CHECK(cut.layers_per_group == 4);
  REQUIRE(cut.groups.size() == 4);
  CHECK(cut.groups[3].layers == 2);
  // 128 bytes a token and layer, 16 tokens, 4 layers
  CHECK(cut.bytes_per_block == Bytes(128 * 16 * 4));
}

TEST_CASE("linear layers enlarge the attention block until it holds their state") {
  const ModelSpec model = shipped("Qwen3-Next-80B-A3B-Instruct");
  const KvLayout kv = kv_layout(shard_of(model), 16, true);
  // State (524288 + 24576) x 2 bytes over 2048 bytes a token: 536 tokens, rounded up to 16.
  CHECK(kv.block_size == 544);
  REQUIRE(kv.groups.size() == 4);
  CHECK(kv.layers_per_group == 12);
  CHECK(kv.bytes_per_block == Bytes(544LL * 2048 * 12));
  CHECK(kv.state_per_sequence == Bytes(36LL * 1097728));
  for (int i = 0; i < 3; ++i) {
    CHECK(kv.groups[static_cast<std::size_t>(i)].kind == AttentionKind::kSliding);
    CHECK(kv.groups[static_cast<std::size_t>(i)].window == 1);
  }
  // A state is one block; while a prompt is computed in chunks, the blocks of a chunk are held.
  CHECK(kv.blocks_per_request(10000, 544) == 19 + 3 * 2);
}

TEST_CASE("there are at most eight groups: beyond that they grow, with padding") {
  const std::string body = R"("hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "intermediate_size": 128, "sliding_window": 512, "num_hidden_layers": 21, )";
  std::string list = R"("full_attention")";
  for (int i = 0; i < 20; ++i) list += R"(, "sliding_attention")";
  const ModelSpec model = small_model("mistral", body + R"("layer_types": [)" + list + "]");
  const KvLayout kv = kv_layout(shard_of(model), 16, true);
  CHECK(kv.groups.size() == 8);
  CHECK(kv.layers_per_group == 3);
  const ModelSpec jamba = shipped("AI21-Jamba-1.5-Large");
  CHECK(kv_layout(shard_of(jamba), 16, true).groups.size() == 8);
}

TEST_CASE("a pipeline stage lays out its own layers only") {
  const ModelSpec model = shipped("gpt-oss-20b");
  const Shard last = make_shard(model, {.tp = 1, .pp = 5}, 4).shard;  // 4 of 24 layers
  const KvLayout kv = kv_layout(last, 16, true);
  CHECK(kv.layers_per_group == 2);
  CHECK(kv.bytes_per_token == Bytes(4 * 2048));
}
