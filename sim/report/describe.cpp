#include <algorithm>
#include <cstddef>
#include <fmt/format.h>
#include <utility>

#include "scenarios/layout.h"
#include "sim/report/report.h"

namespace moesim {
namespace {

Bytes used(const GpuMemory& gpu) {
  return gpu.capacity - gpu.free;
}

bool alike(const GpuMemory& a, const GpuMemory& b) {
  return a.capacity == b.capacity && a.weights.total() == b.weights.total() &&
         a.kv_cache == b.kv_cache && a.activation_peak == b.activation_peak &&
         a.cuda_graph == b.cuda_graph && a.comm_buffer == b.comm_buffer &&
         a.framework == b.framework;
}

GpuMemory fullest(const MemoryPlan& plan) {
  if (plan.gpus.empty()) return {};
  return *std::max_element(
      plan.gpus.begin(), plan.gpus.end(),
      [](const GpuMemory& a, const GpuMemory& b) { return used(a) < used(b); });
}

KvRoom kv_room(const MemoryPlan& plan) {
  return {plan.num_gpu_blocks, plan.kv.block_size, plan.num_kv_tokens, plan.kv.bytes_per_token,
          plan.max_concurrency_at_max_model_len};
}

/// The first instance of every kind.
std::vector<const InstanceInfo*> kinds(const Deployment& deployment) {
  std::vector<const InstanceInfo*> result;
  for (const InstanceInfo& instance : deployment.instances) {
    const bool known = std::any_of(result.begin(), result.end(), [&](const InstanceInfo* other) {
      return other->spec == instance.spec;
    });
    if (!known) result.push_back(&instance);
  }
  return result;
}

/// What to add to a remedy that takes more GPUs than the cluster has, or others than it has.
std::string missing_gpus(const Scenario& scenario, const InstanceInfo& kind,
                         const Parallel& parallel) {
  std::vector<InstanceSpec> instances = scenario.instances;
  Parallel& changed = instances[static_cast<std::size_t>(kind.spec)].parallel;
  if (changed.tp == parallel.tp && changed.pp == parallel.pp) return "";
  changed.tp = parallel.tp;
  changed.pp = parallel.pp;
  int needed = 0;
  for (const InstanceSpec& entry : instances) needed += entry.count * entry.parallel.gpus();
  const int all = scenario.cluster.total_gpus();
  if (needed > all) return fmt::format("; takes {} GPUs, the cluster has {}", needed, all);
  const std::vector<int> nodes = lay_out(scenario.cluster, instances).node;
  const bool fits = std::ranges::none_of(nodes, [](int node) { return node < 0; });
  return fits ? "" : fmt::format("; takes {} GPUs, which have no room on these nodes", needed);
}

}  // namespace

ModelInfo model_info(const ModelSpec& model) {
  ModelInfo out;
  out.id = model.id;
  out.family = model.family;
  out.layers = model.num_layers();
  out.moe_layers = model.num_moe_layers();
  for (const LayerSpec& layer : model.layers) {
    out.num_experts = std::max(out.num_experts, layer.num_experts);
    out.top_k = std::max(out.top_k, layer.top_k);
  }
  const ParameterCounts parameters = count_parameters(model);
  out.total_params = parameters.total();
  out.active_params = parameters.active;
  out.kv_bytes_per_token = kv_bytes_per_token(model);
  out.weights = to_text(model.precisions.attention);
  out.experts = to_text(model.precisions.experts);
  out.kv_cache = to_text(model.precisions.kv_cache);
  out.hypothetical = model.hypothetical;
  return out;
}

std::vector<NodeInfo> node_infos(const ClusterSpec& cluster) {
  std::vector<NodeInfo> out;
  for (const NodeGroup& group : cluster.nodes)
    out.push_back({group.system.name, group.system.source, group.count, group.gpus});
  return out;
}

std::vector<InstanceSummary> instance_summaries(const Deployment& deployment) {
  std::vector<InstanceSummary> out;
  for (const InstanceInfo& instance : deployment.instances) {
    const Parallel& parallel = instance.parallel;
    out.push_back({instance.name, parallel.tp, parallel.pp, parallel.dp, instance.gpus,
                   instance.engine.backend, instance.engine.backend_version});
  }
  return out;
}

MemorySection memory_section(const Deployment& deployment) {
  MemorySection out;
  if (deployment.instances.empty()) return out;
  for (const InstanceInfo* kind : kinds(deployment)) {
    for (const GpuMemory& gpu : kind->memory.gpus) out.gpus.push_back({kind->name, gpu});
    out.instances.push_back({kind->name, fullest(kind->memory), kv_room(kind->memory)});
  }
  static_cast<KvRoom&>(out) = out.instances.front().kv;
  out.per_gpu = out.instances.front().per_gpu;
  if (out.instances.size() == 1) out.instances.clear();
  const bool all_alike =
      std::all_of(out.gpus.begin(), out.gpus.end(),
                  [&](const GpuMemoryEntry& gpu) { return alike(gpu.memory, out.per_gpu); });
  if (all_alike) out.gpus.clear();
  return out;
}

MemoryReport make_memory_report(const Scenario& scenario, const Deployment& deployment) {
  MemoryReport out;
  out.model = model_info(scenario.model);
  out.nodes = node_infos(scenario.cluster);
  out.instances = instance_summaries(deployment);
  out.memory = memory_section(deployment);
  out.warnings = scenario.warnings;
  out.warnings.insert(out.warnings.end(), deployment.warnings.begin(), deployment.warnings.end());
  for (const InstanceInfo* kind : kinds(deployment)) {
    const MemoryPlan& plan = kind->memory;
    if (plan.feasible) continue;
    std::vector<Remedy> remedies =
        find_remedies(scenario.model, kind->parallel, kind->memory_inputs);
    for (Remedy& remedy : remedies) remedy.why += missing_gpus(scenario, *kind, remedy.parallel);
    out.problems.push_back({kind->name, plan.reason, plan.shortfall, std::move(remedies)});
  }
  return out;
}

}  // namespace moesim
