#include <algorithm>
#include <filesystem>
#include <fmt/format.h>

#include "models/placement.h"
#include "scenarios/expert_routing.h"
#include "scenarios/load_parts.h"
#include "sim/base/diagnostic.h"

namespace moesim {
namespace {

std::string key_of(std::size_t index, const char* key) {
  return fmt::format("deployment.instances.{}.{}", index, key);
}

/// SGLang and TensorRT-LLM: moe_tp x moe_ep = tp x dp, either may be left out.
void split_experts(InstanceSpec& entry, std::size_t index, bool enabled, Reader& root) {
  Parallel& parallel = entry.parallel;
  const int group = parallel.moe_group();
  const int usual = enabled ? group : 1;
  const int ep = entry.moe_ep.value_or(entry.moe_tp ? group / *entry.moe_tp : usual);
  const int tp = entry.moe_tp.value_or(ep > 0 ? group / ep : group);
  if (tp * ep != group) {
    root.fail(key_of(index, entry.moe_ep ? "moe_expert_parallel_size" : "moe_tensor_parallel_size"),
              fmt::format("{} x {} is not tensor x data parallel size, {} x {}", tp, ep,
                          parallel.tp, parallel.dp),
              fmt::format("moe_tensor_parallel_size x moe_expert_parallel_size must be {}", group));
    return;
  }
  if (enabled && ep == 1 && group > 1) {
    root.fail(key_of(index, "moe_expert_parallel_size"),
              "1 contradicts engine.enable_expert_parallel", "leave one of the two out");
  }
  parallel.expert_parallel = ep > 1;
  parallel.moe_tp = parallel.expert_parallel ? tp : 1;
}

/// SGLang's own rule (determine_num_fused_shared_experts, and server_args: not with TensorRT-LLM's
/// kernels, which are its choice on Blackwell).
bool fuses_by_default(const EngineSpec& engine, const EngineInputs& inputs) {
  constexpr int kBlackwell = 100, kAmpere = 80;
  const int sm = inputs.system.gpu.sm_version;
  const bool generated =
      engine.moe_backend == "trtllm_gen" || (engine.moe_backend == "auto" && sm >= kBlackwell);
  const std::string names = ',' + engine.profile.fused_shared_expert_models + ',';
  return sm >= kAmpere && !generated &&
         names.find(',' + inputs.model.model_type + ',') != std::string::npos;
}

/// Copies of experts beyond E: what the balancer is given, or the further slots of a file's map.
/// Mistakes in the file are reported.
int redundant_experts(const Parallel& parallel, const Scenario& scenario, LoadContext& context) {
  const PlacementSpec& placement = scenario.placement;
  if (!parallel.expert_parallel) return 0;
  if (placement.name == "eplb") return placement.num_redundant_experts;
  std::error_code error;
  if (placement.name != "file" || !std::filesystem::is_regular_file(placement.file, error))
    return 0;  // a name without a file is a mistake of its own
  const RoutingShape shape = routing_shape(scenario.model);
  try {
    return make_placement(placement)
               ->place({.layers = shape.layers,
                        .experts = shape.experts,
                        .ranks = parallel.moe_ep(),
                        .groups = shape.groups})
               .slots -
           shape.experts;
  } catch (const InputError& mistakes) {
    for (const Diagnostic& diagnostic : mistakes.diagnostics()) context.diagnostics.add(diagnostic);
    return 0;
  }
}

}  // namespace

void resolve_fusion(InstanceSpec& entry, const EngineInputs& inputs, LoadContext& context) {
  if (entry.engine.backend != "sglang") return;
  const ModelSpec& model = inputs.model;
  const bool alike = std::ranges::all_of(model.layers, [](const LayerSpec& layer) {
    return !layer.moe || layer.shared_intermediate == layer.expert_intermediate;
  });
  const bool possible =
      model.is_moe() && alike && !entry.parallel.expert_parallel && !model.shared_gate;
  bool fused = possible && fuses_by_default(entry.engine, inputs);
  if (const Given<bool>& given = inputs.keys.fuse_shared_experts) {
    fused = *given.value && possible;
    context.resolve(inputs.prefix + "." + own_name("sglang", "fuse_shared_experts"),
                    fused ? "true" : "false", context.source(given.where));
    if (*given.value && !possible) {
      fail(context, given,
           entry.parallel.expert_parallel
               ? "shared experts are fused with experts cut over all ranks only"
               : "the model has no shared expert as wide as a routed one",
           "leave it out");
    }
  }
  entry.engine.fuse_shared_expert = entry.parallel.fused_shared_expert = fused;
}

void resolve_parallel(InstanceSpec& entry, std::size_t index, const EngineKeys& keys,
                      const Scenario& scenario, Reader& root, LoadContext& context) {
  Parallel& parallel = entry.parallel;
  const std::string backend = keys.backend ? *keys.backend.value : "vllm";
  const bool enabled = keys.enable_expert_parallel && *keys.enable_expert_parallel.value;
  const bool own_degrees = entry.moe_tp || entry.moe_ep;
  const char* degree = entry.moe_ep ? "moe_expert_parallel_size" : "moe_tensor_parallel_size";
  if (!scenario.model.is_moe()) {
    if (enabled)
      fail(context, keys.enable_expert_parallel, "has no effect: the model has no experts",
           "leave it out");
    if (own_degrees)
      root.fail(key_of(index, degree), "has no effect: the model has no experts", "leave it out");
    return;
  }
  if (backend == "static_batch" && (enabled || parallel.dp > 1)) {
    const char* problem = "a plain generate() loop knows neither data nor expert parallelism";
    const char* hint = "use backend: vllm, or count: N";
    if (enabled) {
      fail(context, keys.enable_expert_parallel, problem, hint);
    } else {
      root.fail(key_of(index, "data_parallel_size"), problem, hint);
    }
    return;
  }
  if (enabled && parallel.moe_group() == 1) {
    fail(context, keys.enable_expert_parallel, "has no effect on one GPU: it has all experts",
         "leave it out, or raise tensor_parallel_size or data_parallel_size");
    return;
  }
  if (backend == "sglang" || backend == "trtllm") {
    split_experts(entry, index, enabled, root);
  } else {
    if (own_degrees)
      root.fail(key_of(index, degree), "belongs to sglang and trtllm",
                "leave it out: vllm derives it from engine.enable_expert_parallel");
    parallel.expert_parallel = enabled;
  }
  parallel.redundant_experts = redundant_experts(parallel, scenario, context);
}

}  // namespace moesim
