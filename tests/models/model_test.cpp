#include "models/model.h"

#include <doctest/doctest.h>

#include "models/hf_config.h"
#include "models/sharding.h"

using namespace moesim;

TEST_CASE("bits per weight are those of the formats' block layouts") {
  struct Case {
    const char* why;
    NumberFormat format;
    int payload;
    double bits;
  };
  const Case cases[] = {
      {"plain", NumberFormat::kFp32, 32, 32},
      {"plain", NumberFormat::kBf16, 16, 16},
      {"plain", NumberFormat::kFp16, 16, 16},
      {"scales per channel are counted apart", NumberFormat::kFp8, 8, 8},
      {"an fp32 scale per 128x128", NumberFormat::kFp8Block, 8, 8.001953125},
      {"scales per channel are counted apart", NumberFormat::kInt8, 8, 8},
      {"fp16 scale and int4 zero per 128", NumberFormat::kAwqInt4, 4, 4.15625},
      {"fp16 scale and int4 zero per 128", NumberFormat::kGptqInt4, 4, 4.15625},
      {"16-bit scale per 32", NumberFormat::kInt4Group32, 4, 4.5},
      {"mixture of Q4_K and Q6_K", NumberFormat::kQ4KM, 4, 4.85},
      {"8-bit scale per 32", NumberFormat::kMxfp4, 4, 4.25},
      {"8-bit scale per 16", NumberFormat::kNvfp4, 4, 4.5},
  };
  for (const Case& c : cases) {
    CAPTURE(to_text(c.format));
    CAPTURE(std::string(c.why));
    CHECK(bits_per_weight(c.format) == c.bits);
    CHECK(payload_bits(c.format) == c.payload);
    CHECK(expert_bits_per_weight(c.format) == (c.format == NumberFormat::kQ4KM ? 4.5 : c.bits));
  }
}

TEST_CASE("number formats have names that read back") {
  for (const std::string& name : number_format_names()) {
    NumberFormat format = NumberFormat::kFp32;
    CHECK(parse_number_format(name, format));
    CHECK(to_text(format) == name);
  }
  NumberFormat format = NumberFormat::kMxfp4;
  CHECK_FALSE(parse_number_format("int3", format));
  CHECK(format == NumberFormat::kMxfp4);
}

TEST_CASE("storage is rounded to whole bytes") {
  CHECK(storage_bytes(3, 4) == Bytes(2));  // 1.5 bytes
  CHECK(storage_bytes(16384, 8.001953125) == Bytes(16388));
  CHECK(storage_bytes(0, 16) == Bytes(0));
}

TEST_CASE("Mixtral-8x7B counts to the last parameter, as published") {
  const ModelSpec model = load_model("Mixtral-8x7B-v0.1", ".", {});
  const ParameterCounts counts = count_parameters(model);
  CHECK(counts.total() == 46'702'792'704);
  CHECK(counts.routed_experts == 45'097'156'608);  // 90.194 GB in bf16
  CHECK(counts.attention == 32LL * 41'943'040);
  CHECK(counts.router == 32LL * 4096 * 8);
  CHECK(counts.embedding == 32000LL * 4096);
  CHECK(counts.lm_head == counts.embedding);
  CHECK(counts.norms == 65LL * 4096);
  CHECK(counts.active == counts.total() - 6 * 32LL * 176'160'768);  // 6 of 8 experts are idle
}

TEST_CASE("counts of the worked examples") {
  struct Case {
    const char* id;
    double total_e9, experts_e9_bytes, bytes_e9;
  };
  const Case cases[] = {
      // serving-semantics 2.9
      {"Mixtral-8x7B-v0.1", 46.7028, 90.194, 93.406},
      {"DeepSeek-V3", 671.026, 653.9, 673.2},
      {"Qwen3-235B-A22B", 235.094, 454.2, 470.19},
      {"gpt-oss-120b", 116.8, 60.91, 65.25},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.id));
    const ModelSpec model = load_model(c.id, ".", {});
    const WeightBytes bytes = weight_bytes(make_shard(model, {}, 0).shard);
    CHECK(static_cast<double>(count_parameters(model).total()) / 1e9 ==
          doctest::Approx(c.total_e9).epsilon(0.0005));
    CHECK(static_cast<double>(bytes.routed_experts.value()) / 1e9 ==
          doctest::Approx(c.experts_e9_bytes).epsilon(0.0005));
    CHECK(static_cast<double>(bytes.total().value()) / 1e9 ==
          doctest::Approx(c.bytes_e9).epsilon(0.0015));
  }
}

TEST_CASE("the KV cache of Mixtral at 32K by 32 is 137.4 GB in 16 bit and 68.7 GB in fp8") {
  ModelSpec model = load_model("Mixtral-8x7B-v0.1", ".", {});
  const auto gigabytes = [&model](std::int64_t tokens) {
    return static_cast<double>((tokens * kv_bytes_per_token(model)).value()) / 1e9;
  };
  CHECK(gigabytes(32768 * 32) == doctest::Approx(137.44).epsilon(0.0005));
  apply_precision(model, {.weights = "auto", .experts = "auto", .kv_cache = "fp8"});
  CHECK(gigabytes(32768 * 32) == doctest::Approx(68.72).epsilon(0.0005));
  CHECK(gigabytes(32000 * 32) == doctest::Approx(67.11).epsilon(0.0005));
}

TEST_CASE("layers may have attention dimensions of their own") {
  ModelSpec model;
  model.heads = 64;
  model.kv_heads = 4;
  model.head_dim = 192;
  model.v_head_dim = 128;
  LayerSpec layer;
  CHECK(model.attention_shape(layer).kv_heads == 4);
  layer.kv_heads = 8;
  layer.v_head_dim = 64;
  const AttentionShape shape = model.attention_shape(layer);
  CHECK(shape.heads == 64);
  CHECK(shape.kv_heads == 8);
  CHECK(shape.head_dim == 192);
  CHECK(shape.v_head_dim == 64);
}
