#include <algorithm>
#include <fmt/format.h>

#include "scenarios/expert_routing.h"
#include "scenarios/layout.h"
#include "scenarios/load_parts.h"

// The rules that span keys, each one function: what it forbids, and why.

namespace moesim {
namespace {

std::string instance_key(std::size_t entry, const std::string& key) {
  return fmt::format("deployment.instances.{}.{}", entry, key);
}

/// Whether none of the keys of an entry has a mistake: one that could not be read has its default.
template <class Keys>
bool knows(const Reader& root, std::size_t entry, const Keys& keys) {
  return std::ranges::none_of(
      keys, [&](const char* key) { return root.faulty(instance_key(entry, key)); });
}

/// What rules may judge; asked before the first of them reports a mistake of its own.
struct Known {
  std::vector<bool> degrees;  ///< by entry
  bool sizes = true;          ///< of nodes and entries
  Known(const Scenario& scenario, const Reader& root) {
    constexpr const char* kDegrees[] = {"tensor_parallel_size", "pipeline_parallel_size",
                                        "data_parallel_size", "moe_tensor_parallel_size",
                                        "moe_expert_parallel_size"};
    constexpr const char* kOthers[] = {"count", "node"};
    for (std::size_t i = 0; i < scenario.instances.size(); ++i) {
      degrees.push_back(knows(root, i, kDegrees));
      sizes = sizes && degrees.back() && knows(root, i, kOthers);
    }
    for (std::size_t i = 0; i < scenario.cluster.nodes.size(); ++i) {
      const std::string node = fmt::format("system.nodes.{}.", i);
      sizes = sizes && !root.faulty(node + "count") && !root.faulty(node + "gpus");
    }
  }
};

struct Rules {
  const Scenario& scenario;
  Reader& root;
  LoadContext& context;
  const Known known;
};

/// Several nodes need a network between them; one node has none.
void check_network(const Rules& rules) {
  if (rules.root.faulty("system.nodes") || rules.root.faulty("system.network.preset")) return;
  const ClusterSpec& cluster = rules.scenario.cluster;
  const bool single = cluster.network.preset == NetworkPreset::kSingleNode;
  const int nodes = cluster.total_nodes();
  if (nodes > 1 && single) {
    rules.root.fail("system.network", fmt::format("{} nodes have no network between them", nodes),
                    "write network: {preset: leaf_spine, link: ndr_400g}, or use one node");
  }
  if (nodes == 1 && !single) {
    rules.root.fail("system.network.preset", "has no effect with one node", "leave network out");
  }
}

/// Heads, experts and layers must divide over the ranks.
void check_divides(const Rules& rules) {
  for (std::size_t i = 0; i < rules.scenario.instances.size(); ++i) {
    if (!rules.known.degrees[i]) continue;
    Parallel parallel = rules.scenario.instances[i].parallel;
    // check_eplb says it: taken as divided.
    if (uneven_slots(rules.scenario, parallel)) {
      const int slots = routing_shape(rules.scenario.model).experts + parallel.redundant_experts;
      parallel.redundant_experts += parallel.moe_ep() - slots % parallel.moe_ep();
    }
    const bool deep = parallel.pp > rules.scenario.model.num_layers();
    if (deep) {
      rules.root.fail(
          instance_key(i, "pipeline_parallel_size"),
          fmt::format("{} stages for {} layers", parallel.pp, rules.scenario.model.num_layers()),
          "use at most one stage a layer");
      continue;
    }
    const ShardResult shard = make_shard(rules.scenario.model, parallel, 0);
    if (shard.problem.empty()) continue;
    rules.root.fail(instance_key(i, shard.key), shard.problem, shard.hint);
  }
}

/// [stage][rank of its MoE group] node, counted from 0 in order of appearance.
std::vector<std::vector<int>> stage_nodes(const Parallel& parallel, const std::vector<int>& gpus,
                                          int gpus_per_node) {
  std::vector<std::vector<int>> stages;
  for (int stage = 0; stage < parallel.pp; ++stage) {
    std::vector<int> nodes, known;
    for (int rank = 0; rank < parallel.moe_group(); ++rank) {
      const int at = (rank / parallel.tp * parallel.pp + stage) * parallel.tp + rank % parallel.tp;
      // What is larger than a node begins with one.
      const int node = (gpus[static_cast<std::size_t>(at)] - gpus.front()) / gpus_per_node;
      const auto found = std::ranges::find(known, node);
      nodes.push_back(static_cast<int>(found - known.begin()));
      if (found == known.end()) known.push_back(node);
    }
    stages.push_back(std::move(nodes));
  }
  return stages;
}

/// Messages that go once to every node are counted for all stages alike.
void check_stage_nodes(const Rules& rules, const Layout& layout) {
  std::size_t copy = 0;
  for (std::size_t i = 0; i < layout.node.size(); ++i) {
    const InstanceSpec& entry = rules.scenario.instances[i];
    const std::string& backend = entry.engine.all2all_backend;
    const bool counts = backend == "deepep_high_throughput" || backend == "deepep_v2" ||
                        backend == "mori_high_throughput";
    const int size = rules.scenario.cluster.nodes[static_cast<std::size_t>(layout.node[i])].gpus;
    const auto stages = stage_nodes(entry.parallel, layout.gpus[copy], size);
    copy += static_cast<std::size_t>(entry.count);
    const bool alike = std::ranges::all_of(
        stages, [&](const std::vector<int>& nodes) { return nodes == stages.front(); });
    if (!counts || entry.parallel.dp == 1 || alike) continue;
    rules.root.fail(instance_key(i, "pipeline_parallel_size"),
                    fmt::format("{} stages lie differently over nodes of {} GPUs, and {} sends a "
                                "token once to every node",
                                entry.parallel.pp, size, backend),
                    "choose tensor x pipeline size to divide a node, or another all2all_backend");
  }
}

/// The key that makes an entry as large as it is: how many, else a degree given on the command
/// line, else the largest degree.
std::string size_key(const Rules& rules, std::size_t index) {
  const InstanceSpec& entry = rules.scenario.instances[index];
  if (entry.count > 1) return instance_key(index, "count");
  const Parallel& parallel = entry.parallel;
  std::vector<std::pair<int, std::string>> degrees = {
      {parallel.tp, instance_key(index, "tensor_parallel_size")},
      {parallel.pp, instance_key(index, "pipeline_parallel_size")},
      {parallel.dp, instance_key(index, "data_parallel_size")}};
  for (const auto& [size, key] : degrees) {
    if (size > 1 && rules.context.from_command_line(rules.root.where(key))) return key;
  }
  return std::ranges::max_element(degrees, {}, [](const auto& degree) { return degree.first; })
      ->second;
}

/// Every entry fits the cluster beside those before it.
void check_fits(const Rules& rules) {
  if (!rules.known.sizes) return;
  const ClusterSpec& cluster = rules.scenario.cluster;
  const Layout layout = lay_out(cluster, rules.scenario.instances);
  bool all_fit = true;
  for (std::size_t i = 0; i < layout.node.size(); ++i) {
    if (layout.node[i] >= 0) continue;
    all_fit = false;
    const Misfit misfit = why_no_room(cluster, rules.scenario.instances, i);
    rules.root.fail(size_key(rules, i), misfit.problem, misfit.hint);
  }
  if (all_fit) check_stage_nodes(rules, layout);
  const bool peers = rules.scenario.offload && rules.scenario.offload->tier == OffloadTier::kPeer;
  if (all_fit && layout.idle > 0 && !peers) {
    rules.context.warnings.push_back(fmt::format("{} of {} GPUs are idle: no instance uses them",
                                                 layout.idle, cluster.total_gpus()));
  }
}

/// `node` names a kind of node. Returns whether all do.
bool check_node_index(const Rules& rules) {
  bool good = true;
  const auto kinds = static_cast<int>(rules.scenario.cluster.nodes.size());
  for (std::size_t i = 0; i < rules.scenario.instances.size(); ++i) {
    const int node = rules.scenario.instances[i].node;
    if (node < kinds) continue;
    good = false;
    rules.root.fail(instance_key(i, "node"), fmt::format("there is no kind of node {}", node),
                    fmt::format("write 0 to {}, an index into system.nodes", kinds - 1));
  }
  return good;
}

/// A router has nothing to choose with one instance.
void check_router(const Rules& rules) {
  int instances = 0;
  for (std::size_t i = 0; i < rules.scenario.instances.size(); ++i) {
    if (rules.root.faulty(instance_key(i, "count"))) return;
    instances += rules.scenario.instances[i].count;
  }
  if (instances != 1 || rules.scenario.request_router.name == "round_robin") return;
  rules.root.fail(
      "deployment.request_router",
      fmt::format("{} has no effect with one instance", rules.scenario.request_router.name),
      "leave it out, or raise count");
}

/// Every kind of GPU in the system has a price, and nothing else has.
void check_cost(const Rules& rules) {
  const auto& prices = rules.scenario.gpu_hour_usd;
  if (prices.empty()) return;
  std::vector<std::string> names;
  for (const NodeGroup& group : rules.scenario.cluster.nodes) names.push_back(group.system.name);
  for (const auto& [name, price] : prices) {
    if (std::ranges::find(names, name) != names.end()) continue;
    rules.root.fail("cost.gpu_hour_usd." + name, "no such GPU in system.nodes",
                    nearest_name_hint(name, names));
  }
  for (const std::string& name : names) {
    if (prices.contains(name)) continue;
    rules.root.fail("cost.gpu_hour_usd", fmt::format("no price for {}", name),
                    fmt::format("write {}: PRICE", name));
  }
}

/// A warm-up that outlasts the run leaves nothing to report.
void check_warmup(const Rules& rules) {
  const WorkloadSpec& workload = rules.scenario.workload;
  double length = workload.duration_s.value_or(1e300);
  if (workload.trace && workload.trace->end_s) {
    length = std::min(
        length, (*workload.trace->end_s - workload.trace->start_s) / workload.trace->rate_scale);
  }
  if (workload.warmup_s <= 0 || workload.warmup_s < length) return;
  if (rules.root.faulty("workload.duration_s") || rules.root.faulty("workload.trace")) return;
  rules.root.fail(
      "workload.warmup_s",
      fmt::format("{:g} s of warm-up leave nothing of {:g} s", workload.warmup_s, length),
      "write a shorter warm-up");
}

/// Adapters on experts need experts.
void check_lora(const Rules& rules) {
  const LoraSpec& lora = rules.scenario.lora;
  const ModelSpec& model = rules.scenario.model;
  const bool on_experts =
      lora.targets == LoraTargets::kExperts || lora.targets == LoraTargets::kHotExperts;
  if (lora.adapters == 0 || !on_experts) return;
  if (!model.is_moe()) {
    rules.root.fail("lora.targets", "the model has no experts", "write attention or all_linear");
    return;
  }
  int most = 0;
  for (const LayerSpec& layer : model.layers) most = std::max(most, layer.num_experts);
  if (lora.targets == LoraTargets::kHotExperts && lora.hot_experts > most) {
    rules.root.fail("lora.hot_experts",
                    fmt::format("{} of {} experts a layer", lora.hot_experts, most),
                    fmt::format("write at most {}", most));
  }
}

/// A prefill or decode instance is one side of a split system; mixing sides needs their transfer.
void check_roles(const Rules& rules) {
  for (std::size_t i = 0; i < rules.scenario.instances.size(); ++i) {
    if (rules.scenario.instances[i].role == rules.scenario.instances.front().role) continue;
    rules.root.fail(instance_key(i, "role"),
                    "instances of different roles exchange KV, which is not modelled yet",
                    "give all instances the same role: each is a study of one side");
  }
}

}  // namespace

void validate(const ValidateInputs& inputs, LoadContext& context) {
  const Rules rules{inputs.scenario, inputs.root, context, Known(inputs.scenario, inputs.root)};
  check_warmup(rules);
  check_router(rules);
  if (inputs.has_system) {
    check_network(rules);
    check_cost(rules);
    if (check_node_index(rules)) check_fits(rules);
  }
  if (inputs.has_model) {
    check_divides(rules);
    check_lora(rules);
    check_experts(inputs, context);
    if (inputs.has_system) check_offload(inputs.scenario, inputs.offload, context);
  }
  check_roles(rules);
  if (!inputs.has_model || !inputs.has_system) return;
  check_engines(inputs, context);
  check_kernels(inputs, context);
}

}  // namespace moesim
