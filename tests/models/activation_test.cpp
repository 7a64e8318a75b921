#include <doctest/doctest.h>
#include <string>

#include "tests/models/models_support.h"

using namespace moesim;
using test::h100;
using test::shard_of;
using test::shipped;

TEST_CASE("activation peaks worked out by hand") {
  MemoryInputs inputs = h100();  // 2048 tokens, 128 sequences
  SUBCASE("Llama-2-7B: the second embedding is largest") {
    const ModelSpec model = shipped("Llama-2-7b-hf");
    CHECK(activation_peak(shard_of(model), inputs) ==
          Bytes(32000LL * 4096 * 2 + 2LL * 2048 * 4096 * 2));
  }
  SUBCASE("Mixtral on two GPUs: two workspaces for 4096 rows and the output") {
    const ModelSpec model = shipped("Mixtral-8x7B-v0.1");
    const std::int64_t workspaces = 4096LL * (7168 + 14336) * 2 + 2048LL * 4096 * 2;
    CHECK(activation_peak(shard_of(model, {.tp = 2}), inputs) ==
          Bytes(workspaces + 2LL * 2048 * 4096 * 2));
  }
  SUBCASE("a thousand sampled rows: the sampler is largest") {
    inputs.max_num_seqs = 1024;
    const ModelSpec model = shipped("Llama-3.1-8B");
    const double logits = 1024.0 * 128256 * 4 * 9.5;
    CHECK(static_cast<double>(activation_peak(shard_of(model), inputs).value()) ==
          doctest::Approx(logits + 2.0 * 2048 * 4096 * 2).epsilon(1e-9));
  }
}

TEST_CASE("MLA adds the context workspace of chunked prefill") {
  const ModelSpec model = shipped("DeepSeek-V3");
  MemoryInputs inputs = h100();
  inputs.max_model_len = 163840;
  const auto workspace = [&](int tp) {
    const Shard shard = shard_of(model, {.tp = tp});
    MemoryInputs with = inputs;
    with.rules.sampler_copies = 0;
    MemoryInputs none = with;  // a context too short for any workspace
    none.max_model_len = 1;
    none.max_num_seqs = 1;
    none.block_size = 1;
    return static_cast<double>(
               (activation_peak(shard, with) - activation_peak(shard, none)).value()) /
           1e9;
  };
  // 65536 tokens x 128 heads x 256 x 2 bytes = 4.29 GB, and 75 MB of latents
  CHECK(workspace(1) == doctest::Approx(4.37).epsilon(0.005));
  CHECK(workspace(8) == doctest::Approx(0.537 + 0.0755).epsilon(0.005));
}

TEST_CASE("data parallelism multiplies the rows of the worst case, chunking caps them") {
  const ModelSpec model = shipped("DeepSeek-V3");
  const Shard shard = shard_of(model, {.tp = 1, .pp = 1, .dp = 8, .expert_parallel = true});
  MemoryInputs inputs = h100();
  inputs.max_num_batched_tokens = 8192;
  inputs.rules.fused_moe_chunk = 0;
  const auto gigabytes = [&] {
    return static_cast<double>(forward_workspace(shard, inputs, 8192).value()) / 1e9;
  };
  // 8 x 8192 x 8 rows of 7168: two workspaces of 7.5 GB, output and its fp8 copy, shared expert,
  // residual
  CHECK(gigabytes() == doctest::Approx(2 * 7.516 + 1.41 + 0.1 + 0.235).epsilon(0.005));
  inputs.rules.fused_moe_chunk = 16384;
  CHECK(gigabytes() == doctest::Approx((2 * 7.516 + 1.41) / 4 + 0.1 + 0.235).epsilon(0.005));
  inputs.rules.fused_moe_chunk = 0;
  inputs.rules.worst_case_moe_workspace = false;
  CHECK(gigabytes() == doctest::Approx((2 * 7.516 + 1.41) / 8 + 0.1 + 0.235).epsilon(0.005));
}

TEST_CASE("DeepEP: balanced receives for high throughput, static room for low latency") {
  const ModelSpec model = shipped("DeepSeek-V3");
  const Shard shard = shard_of(model, {.tp = 1, .pp = 1, .dp = 8, .expert_parallel = true});
  MemoryInputs inputs = h100();
  inputs.rules.fused_moe_chunk = 0;
  const Bytes gathered = forward_workspace(shard, inputs, 4096);
  inputs.all2all_backend = "deepep_high_throughput";
  // A token visits 8 x (1 - C(224, 8) / C(256, 8)) = 5.28 of 8 ranks.
  CHECK(forward_workspace(shard, inputs, 4096) / gathered ==
        doctest::Approx(5.28 / 8).epsilon(0.02));
  inputs.all2all_backend = "deepep_low_latency";
  // 32 experts x 128 tokens x 8 ranks x (7168 + 2048 + 7168) x 2 bytes, shared expert, residual
  const double rows = 32.0 * 128 * 8;
  CHECK(static_cast<double>(forward_workspace(shard, inputs, 128).value()) ==
        doctest::Approx(rows * 16384 * 2 + 128 * 3 * 2048 * 2 + 2 * 128 * 7168 * 2).epsilon(1e-6));
}

TEST_CASE("activations grow with tokens and never with tensor parallelism") {
  for (const std::string name :
       {"Mixtral-8x7B-v0.1", "DeepSeek-V3", "gpt-oss-120b", "Llama-3.1-70B"}) {
    CAPTURE(name);
    const ModelSpec model = shipped(name);
    MemoryInputs inputs = h100();
    Bytes before;
    for (const int tokens : {256, 1024, 4096, 16384}) {
      inputs.max_num_batched_tokens = tokens;
      const Bytes peak = activation_peak(shard_of(model), inputs);
      CHECK(peak >= before);
      CHECK(activation_peak(shard_of(model, {.tp = 4}), inputs) <= peak);
      before = peak;
    }
  }
}
