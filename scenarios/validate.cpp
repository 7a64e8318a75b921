#include <algorithm>
#include <fmt/format.h>

#include "scenarios/layout.h"
#include "scenarios/load_parts.h"

// The rules that span keys, each one function: what it forbids, and why.

namespace moesim {
namespace {

struct Rules {
  const Scenario& scenario;
  Reader& root;
  const std::vector<EngineKeys>& engines;
  LoadContext& context;
};

std::string instance_key(std::size_t entry, const std::string& key) {
  return fmt::format("deployment.instances.{}.{}", entry, key);
}

/// Several nodes need a network between them; one node has none.
void check_network(const Rules& rules) {
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
    Parallel parallel = rules.scenario.instances[i].parallel;
    // check_eplb says it.
    if (uneven_slots(rules.scenario, parallel)) parallel.redundant_experts = 0;
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
    rules.root.fail(instance_key(i, "tensor_parallel_size"), shard.problem,
                    "choose a power of two that divides the model");
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
  const ClusterSpec& cluster = rules.scenario.cluster;
  const Layout layout = lay_out(cluster, rules.scenario.instances);
  bool all_fit = true;
  for (std::size_t i = 0; i < layout.node.size(); ++i) {
    if (layout.node[i] >= 0) continue;
    all_fit = false;
    const InstanceSpec& entry = rules.scenario.instances[i];
    const int needed = entry.count * entry.parallel.gpus();
    rules.root.fail(
        size_key(rules, i),
        fmt::format(
            "{} fit a cluster of {} GPUs{}",
            entry.count == 1
                ? fmt::format("an instance of {} GPUs does not", entry.parallel.gpus())
                : fmt::format("{} instances of {} GPUs do not", entry.count, entry.parallel.gpus()),
            cluster.total_gpus(),
            entry.node >= 0 ? fmt::format(" (kind of node {})", entry.node) : ""),
        fmt::format("{} GPUs are needed here: fewer or smaller instances, or a larger system.nodes",
                    needed));
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

/// A step must have room for one token of every running request (vLLM refuses to start otherwise).
void check_batch(const Rules& rules, const EngineSpec& engine, const EngineKeys& keys) {
  if (engine.backend == "sglang") return;  // decodes are batches of their own
  if (engine.max_num_seqs <= engine.max_num_batched_tokens) return;
  const Given<int>& at = keys.max_num_seqs ? keys.max_num_seqs : keys.max_num_batched_tokens;
  fail(rules.context, at,
       fmt::format("max_num_seqs is {}, above max_num_batched_tokens, {}", engine.max_num_seqs,
                   engine.max_num_batched_tokens),
       "raise max_num_batched_tokens, or lower max_num_seqs");
}

/// Without chunked prefill the longest prompt must fit one step.
void check_chunking(const Rules& rules, const EngineSpec& engine, const EngineKeys& keys) {
  // SGLang runs one long prompt whole, TensorRT-LLM refuses it when it comes.
  if (engine.backend == "sglang" || engine.backend == "trtllm") return;
  if (!engine.enable_chunked_prefill && engine.max_num_batched_tokens < engine.max_model_len) {
    fail(rules.context, keys.max_num_batched_tokens,
         fmt::format("{} is below max_model_len, {}, and prompts are not chunked",
                     engine.max_num_batched_tokens, engine.max_model_len),
         "raise it, lower max_model_len, or turn enable_chunked_prefill on");
  }
  const int threshold = engine.long_prefill_token_threshold;
  if (threshold == 0) return;
  if (!engine.enable_chunked_prefill) {
    fail(rules.context, keys.long_prefill_token_threshold,
         "has no effect with enable_chunked_prefill: false", "leave one of the two out");
  } else if (threshold >= engine.max_num_batched_tokens) {
    fail(rules.context, keys.long_prefill_token_threshold,
         fmt::format("{} has no effect: a step has {} tokens anyway", threshold,
                     engine.max_num_batched_tokens),
         "write a smaller number, or leave it out");
  }
}

/// A model without positions beyond its training length cannot be asked for more.
void check_model_len(const Rules& rules, const EngineSpec& engine, const EngineKeys& keys) {
  const int limit = rules.scenario.model.max_position_embeddings;
  if (limit > 0 && engine.max_model_len > limit) {
    fail(rules.context, keys.max_model_len,
         fmt::format("{} is beyond the model's max_position_embeddings, {}", engine.max_model_len,
                     limit),
         fmt::format("write at most {}", limit));
  }
  if (engine.max_model_len > 0) return;
  rules.root.fail("engine.max_model_len",
                  "required key is missing: the model's config.json has no max_position_embeddings",
                  "write max_model_len: N");
}

/// A fixed prompt that no request could be served with is a mistake; a long tail is not.
void check_prompt_fits(const Rules& rules, const EngineSpec& engine) {
  const WorkloadSpec& workload = rules.scenario.workload;
  const Distribution& input = workload.synthetic.input_tokens;
  if (workload.trace || input.kind != Distribution::Kind::kFixed) return;
  const double prompt = input.a + workload.synthetic.shared_prefix_tokens;
  if (prompt < engine.max_model_len || engine.max_model_len <= 0) return;
  rules.root.fail("workload.synthetic.input_tokens",
                  fmt::format("prompts of {:g} tokens leave no room in max_model_len, {}", prompt,
                              engine.max_model_len),
                  "shorten the prompt, or raise engine.max_model_len");
}

/// Pipelines of SGLang and TensorRT-LLM schedule each micro-batch by itself.
void check_pipeline(const Rules& rules, std::size_t entry) {
  const InstanceSpec& instance = rules.scenario.instances[entry];
  const std::string& backend = instance.engine.backend;
  if (instance.parallel.pp == 1 || (backend != "sglang" && backend != "trtllm")) return;
  rules.root.fail(instance_key(entry, "pipeline_parallel_size"),
                  fmt::format("pipelines of {} are not modelled yet", backend),
                  "use tensor_parallel_size, or backend: vllm");
}

/// Priorities come with a trace, whose reader tells whether it has some; drawn requests have none.
void check_priority(const Rules& rules, const EngineSpec& engine, const EngineKeys& keys) {
  if (!engine.priority_scheduling || rules.scenario.workload.trace) return;
  rules.context.diagnostics.add(
      no_priorities(keys.scheduling_policy, "requests of a synthetic workload"));
}

/// A router has nothing to choose with one instance.
void check_router(const Rules& rules) {
  int instances = 0;
  for (const InstanceSpec& entry : rules.scenario.instances) instances += entry.count;
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

void check_engines(const Rules& rules) {
  for (std::size_t i = 0; i < rules.scenario.instances.size(); ++i) {
    const EngineSpec& engine = rules.scenario.instances[i].engine;
    const EngineKeys& keys = rules.engines[i];
    check_pipeline(rules, i);
    check_batch(rules, engine, keys);
    check_chunking(rules, engine, keys);
    check_priority(rules, engine, keys);
    check_model_len(rules, engine, keys);
    check_prompt_fits(rules, engine);
  }
}

}  // namespace

Diagnostic no_priorities(const Given<std::string>& policy, const std::string& requests) {
  return {policy.where, policy.key, fmt::format("priority has no effect: {} have none", requests),
          "write fcfs, or replay a trace with a priority column"};
}

void validate(const ValidateInputs& inputs, LoadContext& context) {
  const Rules rules{inputs.scenario, inputs.root, inputs.engines, context};
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
  check_engines(rules);
  check_kernels(inputs, context);
}

}  // namespace moesim
