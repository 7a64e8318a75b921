#include "sim/report/deployment.h"

#include <fmt/format.h>

#include "scenarios/expert_tiers.h"
#include "scenarios/layout.h"
#include "scenarios/other_defaults.h"
#include "sim/base/check.h"

namespace moesim {
namespace {

MemoryInputs memory_inputs(const Scenario& scenario, const InstanceSpec& spec,
                           const SystemSpec& system, int gpus_per_node) {
  const EngineSpec& engine = spec.engine;
  MemoryInputs inputs;
  inputs.device_total = system.gpu.reported_capacity;
  inputs.rules = engine.profile.memory;
  inputs.rules.utilization = engine.gpu_memory_utilization;
  inputs.rules.enforce_eager = engine.cudagraph_capture_sizes.empty();
  inputs.rules.graph_sizes = static_cast<int>(engine.cudagraph_capture_sizes.size());
  // Blackwell multiplies MXFP4 natively; older cards go through Marlin, which pads
  // (serving-semantics 2.3).
  inputs.rules.pad_mxfp4 = system.gpu.sm_version < 100;
  inputs.lora = scenario.lora;
  inputs.max_num_batched_tokens = engine.max_num_batched_tokens;
  inputs.max_num_seqs = engine.max_num_seqs;
  // SGLang plans for the decodes of its largest graph, whatever may run.
  if (engine.max_num_seqs_by_memory && !engine.cudagraph_capture_sizes.empty())
    inputs.max_num_seqs = engine.cudagraph_capture_sizes.back();
  inputs.max_model_len = engine.max_model_len;
  inputs.block_size = engine.block_size;
  inputs.all2all_backend = engine.all2all_backend;
  inputs.gpus_per_node = gpus_per_node;
  inputs.num_gpu_blocks_override = engine.num_gpu_blocks_override;
  return inputs;
}

/// One instance, or for dense models one for each data-parallel rank: those meet nowhere
/// (serving-semantics 1.10).
void add_copies(const std::vector<int>& gpus, InstanceInfo info, Deployment& deployment) {
  const auto each = static_cast<std::ptrdiff_t>(info.parallel.gpus());
  for (auto first = gpus.begin(); first != gpus.end(); first += each) {
    info.name = fmt::format("{}", deployment.instances.size());
    info.gpus.assign(first, first + each);
    deployment.instances.push_back(info);
  }
}

}  // namespace

Deployment lay_out(const Scenario& scenario) {
  const Layout layout = lay_out(scenario.cluster, scenario.instances);
  Deployment deployment;
  std::size_t next = 0;
  for (std::size_t i = 0; i < scenario.instances.size(); ++i) {
    const InstanceSpec& spec = scenario.instances[i];
    MOESIM_CHECK(layout.node[i] >= 0, "a loaded scenario fits its cluster");
    const NodeGroup& node = scenario.cluster.nodes[static_cast<std::size_t>(layout.node[i])];
    InstanceInfo info;
    info.spec = static_cast<int>(i);
    info.engine = spec.engine;
    info.parallel = spec.parallel;
    if (!scenario.model.is_moe()) info.parallel.dp = 1;
    info.memory_inputs = memory_inputs(scenario, spec, node.system, node.gpus);
    if (scenario.offload && scenario.offload->active()) {
      info.memory_inputs.offload = *scenario.offload;
      const auto link = tier_link(scenario, layout, layout.gpus[next]);
      MOESIM_CHECK(link, "a loaded scenario has the peers it offloads to");
      info.memory_inputs.offload_room = link->room;
    }
    info.memory = plan_memory(scenario.model, info.parallel, info.memory_inputs);
    if (spec.engine.max_num_seqs_by_memory) {
      info.engine.max_num_seqs =
          sglang_max_running(info.memory.num_kv_tokens, spec.engine.max_model_len);
    }
    for (int copy = 0; copy < spec.count; ++copy) add_copies(layout.gpus[next++], info, deployment);
  }
  return deployment;
}

}  // namespace moesim
