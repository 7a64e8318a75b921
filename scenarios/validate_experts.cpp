#include <algorithm>
#include <filesystem>
#include <fmt/format.h>

#include "scenarios/expert_routing.h"
#include "scenarios/layout.h"
#include "scenarios/load_parts.h"
#include "scenarios/load_table.h"

// The rules that span keys of experts: whether there are any, where they lie, how tokens choose.

namespace moesim {

bool uneven_slots(const Scenario& scenario, const Parallel& parallel) {
  if (scenario.placement.name != "eplb" || !parallel.expert_parallel) return false;
  const int slots = routing_shape(scenario.model).experts + parallel.redundant_experts;
  return slots % parallel.moe_ep() != 0;
}

namespace {

struct Rules {
  const Scenario& scenario;
  Reader& root;
  const Given<PlacementSpec>& placement;
  LoadContext& context;
};

/// What a dense model has no use for.
void check_dense(const Rules& rules) {
  if (rules.scenario.model.is_moe()) return;
  const RoutingSpec& routing = rules.scenario.routing;
  const bool routed = routing.policy.name != "uniform" || routing.capacity_factor ||
                      routing.fidelity != RoutingFidelity::kAuto;
  if (routed) {
    rules.root.fail("routing", "has no effect: the model has no experts",
                    "leave it out; a variant with a dense model sets routing to null");
  }
  if (!rules.root.is_map("precision")) return;
  Reader precision = rules.root.map("precision");
  if (precision.has("experts") && precision.raw("experts") != "auto") {
    rules.root.fail("precision.experts", "has no effect: the model has no experts", "leave it out");
  }
}

/// Experts are placed only where they stay whole.
void check_placement(const Rules& rules) {
  if (!rules.placement) return;
  const PlacementSpec& placement = *rules.placement.value;
  bool whole = false;
  for (const InstanceSpec& entry : rules.scenario.instances)
    whole = whole || entry.parallel.expert_parallel;
  if (!whole && placement.name != "linear") {
    fail(rules.context, rules.placement,
         fmt::format("{} has no effect: no instance keeps experts whole", placement.name),
         "turn engine.enable_expert_parallel on, or leave it out");
  }
  if (placement.name == "round_robin" && rules.scenario.model.router.groups <= 1) {
    fail(rules.context, rules.placement,
         "round_robin is for models that choose among groups of experts (vLLM)",
         "write linear, or leave it out");
  }
}

/// The balancer's slots divide over the ranks, as in vLLM and SGLang, and it can plan on its loads.
void check_eplb(const Rules& rules) {
  if (!rules.placement || rules.placement.value->name != "eplb") return;
  const RoutingShape shape = routing_shape(rules.scenario.model);
  for (const InstanceSpec& entry : rules.scenario.instances) {
    if (!uneven_slots(rules.scenario, entry.parallel)) continue;
    const int ranks = entry.parallel.moe_ep(), copies = entry.parallel.redundant_experts;
    const int over = (shape.experts + copies) % ranks, more = copies + ranks - over;
    fail(rules.context, rules.placement,
         fmt::format("eplb keeps equally many experts on each of {} ranks: {} and {} copies do not "
                     "divide",
                     ranks, shape.experts, copies),
         over <= copies ? fmt::format("write num_redundant_experts: {} or {}", copies - over, more)
                        : fmt::format("write num_redundant_experts: {}", more));
  }
  const std::string& init = rules.placement.value->init_expert_location;
  const bool file = init != "trivial" && init != "routing";
  if (!file || shape.layers == 0 || !std::filesystem::exists(init)) return;
  try {
    static_cast<void>(read_load_table(init, shape));
  } catch (const InputError& error) {
    for (const Diagnostic& diagnostic : error.diagnostics())
      rules.context.diagnostics.add(diagnostic);
  }
}

/// What routing is asked to follow, it must be able to.
void check_fidelity(const Rules& rules) {
  const RoutingSpec& routing = rules.scenario.routing;
  if (routing.fidelity == RoutingFidelity::kSampled && routing.capacity_factor &&
      !routing.expert_choice) {
    rules.root.fail("routing.fidelity", "sampled does not know which token finds an expert full",
                    "write exact, or leave capacity_factor out");
  }
}

/// Recorded steps say how many tokens an expert got, and nothing of any token.
void check_step_loads(const Rules& rules) {
  const RoutingSpec& routing = rules.scenario.routing;
  if (routing.policy.name != "step_loads") return;
  if (routing.expert_choice) {
    rules.root.fail("routing.router", "loads of steps do not say what tokens experts could choose",
                    "leave it out, or write kind: loads");
  } else if (routing.capacity_factor) {
    rules.root.fail("routing.capacity_factor",
                    "loads of steps do not say which token finds no room",
                    "leave it out, or write kind: loads");
  }
  if (routing.fidelity != RoutingFidelity::kAuto) {
    rules.root.fail("routing.fidelity", "has no effect: every step takes a recorded one",
                    "leave it out");
  }
}

/// What carries tokens to experts in some systems only.
struct Carrier {
  const char* name;    ///< or how it begins
  bool needs_nvlink;   ///< between all ranks: FlashInfer's kernels write to each other's memory
  bool inside_nvlink;  ///< between the ranks of a node: DeepEP's forwarding kernels
  bool needs_rdma;     ///< between nodes: NVSHMEM, IBGDA or GIN
  bool in_trtllm;      ///< which has NVLink's, DeepEP and all-gather (TRTLLM_FORCE_COMM_METHOD)
};
constexpr Carrier kCarriers[] = {{"flashinfer_nvlink", true, true, false, true},
                                 {"deepep_high_throughput", false, true, true, true},
                                 {"deepep_low_latency", false, false, true, true},
                                 {"deepep_v2", false, false, true, false},
                                 {"mori_", false, false, true, false},
                                 {"pplx", false, false, true, false},
                                 {"nixl_ep", false, false, false, false}};

/// A backend runs where its messages can go (serving-semantics 3.4).
void check_carrier(const Rules& rules, const InstanceSpec& entry, const NodeGroup& node,
                   const Given<std::string>& given) {
  const std::string& backend = entry.engine.all2all_backend;
  const auto carrier = std::ranges::find_if(
      kCarriers, [&](const Carrier& one) { return backend.starts_with(one.name); });
  if (carrier == std::end(kCarriers) || entry.parallel.dp == 1) return;
  const std::string other = "write allgather_reducescatter";
  if (entry.engine.backend == "trtllm" && !carrier->in_trtllm) {
    fail(rules.context, given, fmt::format("TensorRT-LLM has no {}", backend),
         other + ", flashinfer_nvlink_one_sided or deepep_low_latency");
    return;
  }
  const bool linked = node.system.node.nvlink;
  const NetworkSpec& network = rules.scenario.cluster.network;
  const bool between = entry.parallel.dp * entry.parallel.pp * entry.parallel.tp > node.gpus;
  if (!linked && carrier->inside_nvlink) {
    fail(rules.context, given,
         fmt::format("{} needs NVLink, and GPUs of {} have PCIe", backend, node.system.name),
         other);
  } else if (between && carrier->needs_nvlink && network.preset != NetworkPreset::kExplicit) {
    fail(rules.context, given,
         fmt::format("{} needs NVLink between all {} ranks, and a node has {}", backend,
                     entry.parallel.gpus(), node.gpus),
         "write deepep_low_latency or deepep_high_throughput");
  } else if (between && carrier->needs_rdma && network.link.name.starts_with("tcp")) {
    rules.context.warnings.push_back(
        fmt::format("engine.all2all_backend: {} sends by RDMA, and {} is plain sockets: times are "
                    "what its messages would take there",
                    backend, network.link.name));
  }
}

void check_carriers(const Rules& rules, const std::vector<EngineKeys>& engines) {
  const Layout layout = lay_out(rules.scenario.cluster, rules.scenario.instances);
  for (std::size_t i = 0; i < layout.node.size(); ++i) {
    if (layout.node[i] < 0 || !engines[i].all2all_backend) continue;
    check_carrier(rules, rules.scenario.instances[i],
                  rules.scenario.cluster.nodes[static_cast<std::size_t>(layout.node[i])],
                  engines[i].all2all_backend);
  }
}

/// Mixes of domains by time ask when requests arrive.
void check_mix_schedule(const Rules& rules) {
  const std::optional<Where>& where = rules.scenario.routing.mix_schedule;
  const WorkloadSpec& workload = rules.scenario.workload;
  const std::string& arrivals = workload.arrival.policy.name;
  if (!where || workload.trace || (arrivals != "closed_loop" && arrivals != "all_at_once")) return;
  rules.context.diagnostics.add(
      {*where, "routing.domain_mix",
       fmt::format("mixes by time of arrival have no effect: {} says no times", arrivals),
       "write one mix, or arrivals such as kind: poisson"});
}

}  // namespace

void check_experts(const ValidateInputs& inputs, LoadContext& context) {
  const Rules rules{inputs.scenario, inputs.root, inputs.placement, context};
  check_dense(rules);
  check_placement(rules);
  check_eplb(rules);
  check_fidelity(rules);
  check_step_loads(rules);
  check_mix_schedule(rules);
  if (inputs.has_system) check_carriers(rules, inputs.engines);
}

}  // namespace moesim
