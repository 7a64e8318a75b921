// Mistakes in how experts are spread, placed, sent to and followed.

#include <doctest/doctest.h>

#include "tests/scenarios/line_cases.h"

namespace moesim {
namespace {

constexpr int kEngine = 9, kInstance = 12, kEnd = 19;

void check(const std::vector<LineCase>& cases) {
  CHECK(differences(cases) == "");
}

TEST_CASE("mistakes in expert parallelism") {
  check({
      {"SGLang: the product must be the group",
       kInstance,
       "    - {tensor_parallel_size: 2, moe_tensor_parallel_size: 4, engine: {backend: sglang}}",
       {{kInstance, "deployment.instances.0.moe_tensor_parallel_size",
         "4 x 0 is not tensor x data parallel size, 2 x 1",
         "moe_tensor_parallel_size x moe_expert_parallel_size must be 2"}}},
      {"vLLM has no degrees of its own",
       kInstance,
       "    - {tensor_parallel_size: 2, moe_expert_parallel_size: 2}",
       {{kInstance, "deployment.instances.0.moe_expert_parallel_size",
         "belongs to sglang and trtllm", "enable_expert_parallel"}}},
      {"on and off at once",
       kInstance,
       "    - {tensor_parallel_size: 2, moe_expert_parallel_size: 1, engine: {backend: trtllm, "
       "enable_expert_parallel: true}}",
       {{kInstance, "deployment.instances.0.moe_expert_parallel_size",
         "1 contradicts engine.enable_expert_parallel", "leave one of the two out"}}},
      {"a shared expert that the model has not",
       kInstance,
       "    - {engine: {backend: sglang, fuse_shared_experts: true}}",
       {{kInstance, "deployment.instances.0.engine.fuse_shared_experts",
         "no shared expert as wide as a routed one", "leave it out"}}},
      {"SGLang's key",
       kInstance,
       "    - {engine: {fuse_shared_experts: false}}",
       {{kInstance, "deployment.instances.0.engine.fuse_shared_experts",
         "is a key of sglang, not of vllm", "leave it out"}}},
      {"one GPU",
       kInstance,
       "    - {engine: {enable_expert_parallel: true}}",
       {{kInstance, "deployment.instances.0.engine.enable_expert_parallel",
         "has no effect on one GPU", "raise tensor_parallel_size or data_parallel_size"}}},
      {"a loop without an engine",
       kInstance,
       "    - {tensor_parallel_size: 2, engine: {backend: static_batch, enable_expert_parallel: "
       "true}}",
       {{kInstance, "deployment.instances.0.engine.enable_expert_parallel",
         "knows neither data nor expert parallelism", "backend: vllm"}}},
      {"copies that do not divide",
       kEngine,
       "  enable_expert_parallel: true\n  enable_eplb: true\n  eplb_config: "
       "{num_redundant_experts: 1}",
       {{10, "engine.enable_eplb",
         "eplb keeps equally many experts on each of 2 ranks: 8 and 1 copies do not divide",
         "write num_redundant_experts: 0 or 2"}}},
      {"two sides of a split system",
       kInstance,
       "    - {role: prefill}\n    - {role: decode}",
       {{13, "deployment.instances.1.role", "exchange KV, which is not modelled yet",
         "the same role"}}},
  });
}

TEST_CASE("more ranks than experts: copies fill them, and that is said once") {
  const auto mistakes = [](const std::string& placement) {
    return mistakes_of(
        "schema_version: 1\nname: sixteen\nmodel: mistralai/Mixtral-8x7B-v0.1\n"
        "system: {nodes: [{profile: h200_sxm, count: 2}], network: {preset: rail_optimized, link: "
        "ndr_400g}}\nengine: {enable_expert_parallel: true, max_model_len: 2048}\n"
        "deployment: {instances: [{data_parallel_size: 16}]}\nworkload: {arrival: {kind: poisson, "
        "request_rate: 5}, synthetic: {num_prompts: 20, input_tokens: 100, output_tokens: 20}}\n" +
        placement);
  };
  CHECK(compare(mistakes(""),
                {{6, "deployment.instances.0.data_parallel_size",
                  "8 experts cannot be spread over 16 GPUs",
                  "placement.eplb.num_redundant_experts: 8, or a smaller data_parallel_size"}}) ==
        "");
  CHECK(
      compare(mistakes("placement: {eplb: {}}\n"), {{8, "placement", "8 and 0 copies do not divide",
                                                     "write num_redundant_experts: 8"}}) == "");
  CHECK(mistakes("placement: {eplb: {num_redundant_experts: 8}}\n").empty());
}

TEST_CASE("mistakes in messages to experts") {
  check({
      {"nobody to send to",
       kEngine,
       "  all2all_backend: pplx",
       {{kEngine, "engine.all2all_backend", "has no effect with data_parallel_size 1",
         "raise data_parallel_size"}}},
      {"no whole experts to send to",
       kInstance,
       "    - {data_parallel_size: 2, engine: {all2all_backend: deepep_low_latency}}",
       {{kInstance, "deployment.instances.0.engine.all2all_backend", "needs whole experts on ranks",
         "enable_expert_parallel"}}},
      {"a name nobody has",
       kEngine,
       "  all2all_backend: deep_ep",
       {{kEngine, "engine.all2all_backend", "unknown choice 'deep_ep'", "deepep_low_latency"}}},
      {"nothing to overlap",
       kInstance,
       "    - {data_parallel_size: 2, engine: {enable_expert_parallel: true, enable_dbo: true}}",
       {{kInstance, "deployment.instances.0.engine.enable_dbo",
         "needs data parallelism with a deepep all2all_backend", "deepep_low_latency"}}},
      {"a threshold of nothing",
       kEngine,
       "  dbo_decode_token_threshold: 8",
       {{kEngine, "engine.dbo_decode_token_threshold", "has no effect without enable_dbo: true",
         "leave it out"}}},
  });
}

// Six GPUs over nodes of four: stage 0 has GPUs 0 and 3, both in the first node, stage 1 has 1
// and 4.
TEST_CASE("pipeline stages that lie differently over nodes have no count of nodes to send to") {
  const auto mistakes = [](const std::string& sizes, const std::string& backend) {
    return mistakes_of(
        "schema_version: 1\nname: stages\nmodel: mistralai/Mixtral-8x7B-v0.1\n"
        "system: {nodes: [{profile: h200_sxm, count: 2, gpus: 4}], network: {preset: "
        "rail_optimized, link: ndr_400g}}\n"
        "engine: {enable_expert_parallel: true, all2all_backend: " +
        backend + "}\ndeployment: {instances: [{" + sizes +
        "}]}\nworkload: {arrival: {kind: poisson, request_rate: 5}, synthetic: {num_prompts: 20, "
        "input_tokens: 100, output_tokens: 20}}\n");
  };
  const std::string three = "pipeline_parallel_size: 3, data_parallel_size: 2";
  CHECK(compare(mistakes(three, "deepep_high_throughput"),
                {{6, "deployment.instances.0.pipeline_parallel_size",
                  "3 stages lie differently over nodes of 4 GPUs", "another all2all_backend"}}) ==
        "");
  CHECK(mistakes(three, "deepep_low_latency").empty());
  CHECK(mistakes("pipeline_parallel_size: 2, data_parallel_size: 4", "deepep_high_throughput")
            .empty());
}

TEST_CASE("mistakes in placements and routing") {
  check({
      {"routing of a model without experts",
       3,
       "model: meta-llama/Llama-3.1-8B\nrouting: {kind: zipf, exponent: 1}",
       {{4, "routing", "has no effect: the model has no experts", "leave it out"}}},
      {"exactness of a model without experts",
       3,
       "model: meta-llama/Llama-3.1-8B\nrouting: {fidelity: exact}",
       {{4, "routing", "has no effect: the model has no experts", "leave it out"}}},
      {"no whole experts to place",
       kEnd,
       "placement: {eplb: {}}",
       {{kEnd, "placement", "eplb has no effect: no instance keeps experts whole",
         "turn engine.enable_expert_parallel on"}}},
      {"under its other name",
       kEngine,
       "  enable_eplb: true",
       {{kEngine, "engine.enable_eplb", "eplb has no effect: no instance keeps experts whole",
         "turn engine.enable_expert_parallel on"}}},
      {"a model without groups",
       kEngine,
       "  enable_expert_parallel: true\n  expert_placement_strategy: round_robin",
       {{10, "engine.expert_placement_strategy", "for models that choose among groups", "linear"}}},
      {"two placements",
       kEngine,
       "  enable_expert_parallel: true\n  enable_eplb: true\n  expert_placement_strategy: "
       "round_robin",
       {{10, "engine.enable_eplb", "places experts itself", "leave one of the two out"}}},
      {"said twice",
       kEngine,
       "  enable_expert_parallel: true\n  enable_eplb: true\nplacement: {eplb: {}}",
       {{11, "placement", "says the same as engine.enable_eplb", "leave one of the two out"}}},
      {"numbers of nothing",
       kEngine,
       "  eplb_config: {window_size: 5}",
       {{kEngine, "engine.eplb_config", "has no effect without enable_eplb: true", "turn it on"}}},
      {"a window beyond the interval",
       kEngine,
       "  enable_expert_parallel: true\n  enable_eplb: true\n  eplb_config: {window_size: 10, "
       "step_interval: 5}",
       {{11, "engine.eplb_config.window_size", "10 steps are more than step_interval, 5",
         "at most the interval"}}},
      {"a balancer that never starts and has no plan",
       kEngine,
       "  enable_expert_parallel: true\n  enable_eplb: true\n  eplb_config: {step_interval: 0, "
       "window_size: 5, use_async: true}",
       {{11, "engine.eplb_config.window_size", "has no effect: step_interval 0", "leave it out"},
        {11, "engine.eplb_config.use_async", "has no effect: step_interval 0", "leave it out"},
        {11, "engine.eplb_config.step_interval", "nothing says where that is",
         "write init_expert_location"}}},
      {"a plan on loads that are not there",
       kEngine,
       "  enable_expert_parallel: true\n  enable_eplb: true\n  eplb_config: "
       "{init_expert_location: none.csv}",
       {{11, "engine.eplb_config.init_expert_location", "there is no file", ""}}},
      {"a placement file that is not there",
       kEngine,
       "  enable_expert_parallel: true\n  expert_placement_strategy: 'file:none.json'",
       {{10, "engine.expert_placement_strategy", "there is no file", "start at its folder"}}},
      {"no placement at all",
       kEnd,
       "placement: {}",
       {{kEnd, "placement", "names no placement", "round_robin"}}},
      {"full experts from draws",
       kEnd,
       "routing: {fidelity: sampled, capacity_factor: 1.25}",
       {{kEnd, "routing.fidelity", "does not know which token finds an expert full",
         "leave capacity_factor out"}}},
  });
}

}  // namespace
}  // namespace moesim
