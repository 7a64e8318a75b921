// Mistakes in the deployment, between keys, in variants, and several at once.

#include <doctest/doctest.h>

#include "tests/scenarios/line_cases.h"

namespace moesim {
namespace {

void check(const std::vector<LineCase>& cases) {
  CHECK(differences(cases) == "");
}

TEST_CASE("mistakes in the deployment") {
  check({
      {"no instances",
       12,
       "    []",
       {{11, "deployment.instances", "the list is empty", "at least one"}}},
      {"a misspelt degree",
       12,
       "    - {tensor_paralel_size: 2}",
       {{12, "deployment.instances.0.tensor_paralel_size", "unknown key",
         "'tensor_parallel_size'"}}},
      {"data parallelism beyond the cluster",
       12,
       "    - {tensor_parallel_size: 2, data_parallel_size: 2}",
       {{12, "deployment.instances.0.tensor_parallel_size", "an instance of 4 GPUs", ""}}},
      {"an unknown role",
       12,
       "    - {tensor_parallel_size: 2, role: decoder}",
       {{12, "deployment.instances.0.role", "'decoder'", "did you mean 'decode'?"}}},
      {"sglang's parallelism",
       12,
       "    - {tensor_parallel_size: 2, moe_tensor_parallel_size: 2}",
       {{12, "deployment.instances.0.moe_tensor_parallel_size", "sglang and trtllm",
         "leave it out"}}},
      {"heads that do not divide",
       12,
       "    - {tensor_parallel_size: 3}",
       {{12, "deployment.instances.0.tensor_parallel_size", "32 query heads", "divides"},
        {12, "deployment.instances.0.tensor_parallel_size", "does not fit a cluster of 2 GPUs",
         "3 GPUs are needed"}}},
      {"part of a token",
       17,
       "    input_tokens: 1.5",
       {{17, "workload.synthetic.input_tokens", "1.5 is not a whole number of tokens",
         "a distribution"}}},
      {"more GPUs than there are",
       12,
       "    - {tensor_parallel_size: 4}",
       {{12, "deployment.instances.0.tensor_parallel_size",
         "an instance of 4 GPUs does not fit a cluster of 2", "4 GPUs are needed"}}},
      {"more replicas than there are GPUs",
       12,
       "    - {tensor_parallel_size: 2, data_parallel_size: 4}",
       {{12, "deployment.instances.0.data_parallel_size",
         "an instance of 8 GPUs does not fit a cluster of 2", "8 GPUs are needed"}}},
      {"more copies than fit",
       12,
       "    - {tensor_parallel_size: 2, count: 2}",
       {{12, "deployment.instances.0.count", "2 instances of 2 GPUs", "4 GPUs are needed"}}},
      {"the second entry does not fit",
       12,
       "    - {tensor_parallel_size: 2}\n    - {tensor_parallel_size: 1}",
       {{13, "deployment.instances.1.tensor_parallel_size", "an instance of 1 GPU",
         "1 GPUs are needed"}}},
      {"a kind of node that is not there",
       12,
       "    - {tensor_parallel_size: 2, node: 1}",
       {{12, "deployment.instances.0.node", "no kind of node 1", "0 to 0"}}},
      {"more stages than layers",
       12,
       "    - {pipeline_parallel_size: 64}",
       {{12, "deployment.instances.0.pipeline_parallel_size", "64 stages for 32 layers",
         "one stage a layer"},
        {12, "deployment.instances.0.pipeline_parallel_size", "64 GPUs does not fit", ""}}},
      {"an unknown router",
       10,
       "deployment:\n  request_router: random",
       {{11, "deployment.request_router", "'random'", "round_robin"}}},
      {"a router with one instance",
       10,
       "deployment:\n  request_router: least_loaded",
       {{11, "deployment.request_router", "no effect with one instance", "raise count"}}},
      {"an entry's own mistake",
       12,
       "    - {tensor_parallel_size: 2, engine: {max_num_seq: 1}}",
       {{12, "deployment.instances.0.engine.max_num_seq", "unknown key", "'max_num_seqs'"}}},
      {"a format for one entry",
       12,
       "    - {tensor_parallel_size: 2, engine: {kv_cache_dtype: fp8}}",
       {{12, "deployment.instances.0.engine.kv_cache_dtype", "whole scenario", "precision"}}},
      {"a placement for one entry",
       12,
       "    - {tensor_parallel_size: 2, engine: {enable_eplb: true}}",
       {{12, "deployment.instances.0.engine.enable_eplb", "whole scenario", "placement"}}},
      {"a strategy for one entry",
       12,
       "    - {tensor_parallel_size: 2, engine: {expert_placement_strategy: round_robin}}",
       {{12, "deployment.instances.0.engine.expert_placement_strategy", "whole scenario",
         "placement"}}},
  });
}

TEST_CASE("mistakes between engine keys") {
  check({
      {"more sequences than tokens",
       9,
       "  max_num_seqs: 4096",
       {{9, "engine.max_num_seqs", "4096, above max_num_batched_tokens, 2048",
         "raise max_num_batched_tokens"}}},
      {"fewer tokens than sequences",
       9,
       "  max_num_seqs: 64\n  max_num_batched_tokens: 32",
       {{9, "engine.max_num_seqs", "64, above max_num_batched_tokens, 32", "lower max_num_seqs"}}},
      {"longer than the model",
       9,
       "  max_model_len: 65536",
       {{9, "engine.max_model_len", "beyond the model's max_position_embeddings, 32768",
         "at most 32768"}}},
      {"whole prompts and a small step",
       9,
       "  enable_chunked_prefill: false\n  max_num_batched_tokens: 4096",
       {{10, "engine.max_num_batched_tokens", "4096 is below max_model_len, 32768",
         "enable_chunked_prefill"}}},
      {"a cap on chunks without chunks",
       9,
       "  enable_chunked_prefill: false\n  long_prefill_token_threshold: 100",
       {{10, "engine.long_prefill_token_threshold", "no effect with enable_chunked_prefill: false",
         ""}}},
      {"a cap above the step",
       9,
       "  long_prefill_token_threshold: 2048",
       {{9, "engine.long_prefill_token_threshold", "2048 has no effect", "smaller"}}},
      {"graphs of an eager engine",
       9,
       "  enforce_eager: true\n  cudagraph_capture_sizes: [1, 2]",
       {{10, "engine.cudagraph_capture_sizes", "no effect with enforce_eager: true", ""}}},
      {"a graph mode of an eager engine",
       9,
       "  enforce_eager: true\n  cudagraph_mode: FULL",
       {{10, "engine.cudagraph_mode", "no effect with enforce_eager: true", "leave it out"}}},
      {"a graph mode of a plain loop",
       9,
       "  backend: static_batch\n  cudagraph_mode: FULL",
       {{10, "engine.cudagraph_mode", "is a key of vllm, not of static_batch", ""}}},
      {"sizes of graphs that are not captured",
       9,
       "  cudagraph_mode: NONE\n  cudagraph_capture_sizes: [1, 2]",
       {{10, "engine.cudagraph_capture_sizes", "no effect with cudagraph_mode: NONE", ""}}},
      {"a graph mode vLLM does not have",
       9,
       "  cudagraph_mode: FULL_DECODE",
       {{9, "engine.cudagraph_mode", "FULL_DECODE", "FULL_DECODE_ONLY"}}},
      {"a graph mode of SGLang",
       9,
       "  backend: sglang\n  cudagraph_mode: FULL",
       {{10, "engine.cudagraph_mode", "is a key of vllm, not of sglang", "enforce_eager"}}},
      {"priorities nobody has",
       9,
       "  scheduling_policy: priority",
       {{9, "engine.scheduling_policy", "priority has no effect", "priority column"}}},
      {"a loop has no chunks",
       9,
       "  backend: static_batch\n  enable_chunked_prefill: true",
       {
           {10, "engine.enable_chunked_prefill", "no effect with backend: static_batch", ""},
       }},
      {"a loop keeps nothing",
       9,
       "  backend: static_batch\n  enable_prefix_caching: true",
       {{10, "engine.enable_prefix_caching", "no effect with backend: static_batch",
         "between batches"}}},
      {"a loop has no releases",
       9,
       "  backend: static_batch\n  backend_version: '0.19'",
       {{10, "engine.backend_version", "no effect with backend: static_batch", ""}}},
      {"a loop is not async",
       9,
       "  backend: static_batch\n  async_scheduling: true",
       {{10, "engine.async_scheduling", "no effect with backend: static_batch", ""}}},
  });
  CHECK(compare(mistakes_of(with_line(9, "  kv_cache_dtype: fp8"), {{"precision.kv_cache", "fp8"}}),
                {{9, "engine.kv_cache_dtype", "means the same as precision.kv_cache",
                  "keep one"}}) == "");
  CHECK(compare(mistakes_of(with_line(9, "  quantization: awq"), {{"precision.weights", "fp8"}}),
                {{9, "engine.quantization", "means the same as precision.weights", "keep one"}}) ==
        "");
  CHECK(compare(mistakes_of(with_line(9, "  dtype: half"), {{"precision.weights", "bf16"}}),
                {{9, "engine.dtype", "means the same as precision.weights", "keep one"}}) == "");
}

TEST_CASE("mistakes in variants are shown at the variant's line") {
  check({
      {"an unknown key",
       19,
       "variants:\n  - {name: v, set: {engine.max_num_seq: 8}}",
       {{20, "engine.max_num_seq", "unknown key (variant 'v')", "'max_num_seqs'"}}},
      {"a bad value",
       19,
       "variants:\n  - {name: v, set: {engine.max_num_seqs: many}}",
       {{20, "engine.max_num_seqs", "expected a whole number", ""}}},
      {"a path through a number",
       19,
       "variants:\n  - {name: v, set: {name.a: 1}}",
       {{20, "name.a", "cannot be set", ""}}},
      {"no name", 19, "variants:\n  - {set: {seed: 2}}", {{20, "variants.0.name", "missing", ""}}},
      {"nothing set", 19, "variants:\n  - {name: v}", {{20, "variants.0.set", "missing", ""}}},
      {"an empty set",
       19,
       "variants:\n  - {name: v, set: {}}",
       {{20, "variants.0.set", "changes nothing", ""}}},
      {"the same name twice",
       19,
       "variants:\n  - {name: v, set: {seed: 2}}\n  - {name: v, set: {seed: 3}}",
       {{21, "variants.1.name", "taken by an earlier variant", "another name"}}},
      {"variants of variants",
       19,
       "variants:\n  - {name: v, set: {variants: []}}",
       {{20, "variants.0.set.variants", "cannot be set by a variant", "top level"}}},
      {"a variant that does not fit",
       19,
       "variants:\n  - {name: v, set: {deployment.instances.0.count: 2}}",
       {{20, "deployment.instances.0.count", "do not fit a cluster of 2 GPUs (variant 'v')", ""}}},
  });
}

TEST_CASE("one pass reports every mistake") {
  const char* text =
      "schema_version: 1\n"
      "name: wrong\n"
      "model: mistralai/Mixtral-8x7B-v0.1\n"
      "precision: {weights: int5}\n"
      "system:\n"
      "  nodes: [{profile: a100_sxm, gpus: 2, gps: 1}]\n"
      "engine: {max_num_seqs: many, block_size: 17}\n"
      "deployment:\n"
      "  instances: [{tensor_parallel_size: 4, role: decode}]\n"
      "workload:\n"
      "  arrival: {kind: poisson, burstiness: 2}\n"
      "  synthetic: {num_prompts: 10, input_tokens: {uniform: [9, 1]}}\n"
      "slo: {percentile: 50}\n"
      "offload: {experts: {}}\n";
  CHECK(compare(mistakes_of(text),
                {{4, "precision.weights", "int5", ""},
                 {6, "system.nodes.0.gps", "unknown key", "gpus"},
                 {7, "engine.max_num_seqs", "whole number", ""},
                 {7, "engine.block_size", "17", ""},
                 {9, "deployment.instances.0.tensor_parallel_size", "does not fit", ""},
                 {11, "workload.arrival.request_rate", "missing", ""},
                 {11, "workload.arrival.burstiness", "no effect", ""},
                 {12, "workload.synthetic.input_tokens.uniform", "lowest", ""},
                 {12, "workload.synthetic.output_tokens", "missing", ""},
                 {13, "slo.percentile", "no effect", ""},
                 {14, "offload.experts.resident_fraction", "missing", ""}}) == "");
}

TEST_CASE(
    "a mistake that several entries share is reported once, and mistakes come in file order") {
  const auto found = mistakes_of(
      with_line(12,
                "    - {tensor_parallel_size: 1}\n    - {tensor_parallel_size: 1, engine: {x: 1}}"),
      {{"engine.max_num_seqs", "4096"}});
  CHECK(found.size() == 2);
  CHECK(found[0].key == "engine.max_num_seqs");
  CHECK(found[1].key == "deployment.instances.1.engine.x");
}

TEST_CASE("text that is not a scenario at all") {
  CHECK(compare(mistakes_of("- a\n- b\n"), {{1, "", "expected a mapping", ""}}) == "");
  CHECK(mistakes_of("").size() == 1);
  CHECK(mistakes_of("a: [1, 2").size() == 1);
  CHECK(compare(mistakes_of(small_scenario() + "seed: 2\n"),
                {{20, "seed", "duplicate key", "remove"}}) == "");
}

TEST_CASE("mistakes of the text are reported with all others") {
  CHECK(compare(mistakes_of(with_line(12, "    - {tensor_parallel_size: .nan, rol: mixed}") +
                            "seed: 2\nslo: {ttft_ms: !x 1, ttft_ms: 2, tpot: 3}\n"),
                {{12, "deployment.instances.0.tensor_parallel_size", ".nan is not allowed", ""},
                 {12, "deployment.instances.0.rol", "unknown key", "role"},
                 {20, "seed", "duplicate key", "remove"},
                 {21, "slo.ttft_ms", "tag", "remove"},
                 {21, "slo.ttft_ms", "duplicate key", "remove"},
                 {21, "slo.tpot", "unknown key", "tpot_ms"}}) == "");
}

}  // namespace
}  // namespace moesim
