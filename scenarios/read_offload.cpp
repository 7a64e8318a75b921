#include <algorithm>
#include <fmt/format.h>
#include <utility>

#include "scenarios/expert_tiers.h"
#include "scenarios/load_parts.h"

namespace moesim {
namespace {

/// What the CPU computes is not copied.
void check_cpu(Reader& in, const ExpertOffload& offload) {
  if (offload.tier != OffloadTier::kHost)
    in.fail("compute", "cpu computes experts out of host memory, and tier says peer",
            "write tier: host, or compute: gpu");
  if (offload.learns()) {
    in.fail("policy",
            fmt::format("{} has no use with compute cpu: without copies nothing becomes resident",
                        to_text(offload.policy)),
            "write policy: pinned_hot or whole_layers");
  }
  if (offload.prefetch != OffloadPrefetch::kNone)
    in.fail("prefetch", "is not modelled together with compute cpu: experts stay where they lie",
            "write prefetch: none");
}

ExpertOffload read_experts(Reader in, LoadContext& context) {
  const auto choice = [&](const char* key, const std::vector<std::string>& allowed) {
    std::string value = in.choice_or(key, allowed, allowed.front());
    context.resolve(in.path(key), value, in.has(key) ? context.source(in.where(key)) : "default");
    return value;
  };
  ExpertOffload offload;
  const std::string tier = choice("tier", {"host", "peer"});
  offload.tier = tier == "host" ? OffloadTier::kHost : OffloadTier::kPeer;
  offload.resident_fraction = in.number("resident_fraction", {.min = 0, .max = 1});
  const std::string policy = choice("policy", {"pinned_hot", "lru", "lfu", "whole_layers"});
  offload.policy = policy == "lru"            ? OffloadPolicy::kLru
                   : policy == "lfu"          ? OffloadPolicy::kLfu
                   : policy == "whole_layers" ? OffloadPolicy::kWholeLayers
                                              : OffloadPolicy::kPinnedHot;
  const std::string prefetch = choice("prefetch", {"none", "next_layer"});
  offload.prefetch = prefetch == "none" ? OffloadPrefetch::kNone : OffloadPrefetch::kNextLayer;
  const std::string compute = choice("compute", {"gpu", "cpu"});
  offload.compute = compute == "gpu" ? OffloadCompute::kGpu : OffloadCompute::kCpu;
  const bool none = in.has("resident_fraction") && !offload.active();
  const std::pair<const char*, bool> others[] = {{"tier", tier != "host"},
                                                 {"policy", policy != "pinned_hot"},
                                                 {"prefetch", prefetch != "none"},
                                                 {"compute", compute != "gpu"}};
  for (const auto& [key, given] : others) {
    if (none && given)
      in.fail(key, "has no effect: resident_fraction 1 keeps all experts on the GPU",
              "leave it out, or write a smaller fraction");
  }
  if (!none && offload.compute == OffloadCompute::kCpu) check_cpu(in, offload);
  in.reject_unknown_keys();
  return offload;
}

/// Other ways to move experts or cut steps that we do not know how to combine with copies.
void check_combinations(const Scenario& scenario, const Given<ExpertOffload>& offload,
                        LoadContext& context) {
  if (scenario.placement.name == "eplb") {
    fail(context, offload, "is not modelled together with placement eplb",
         "leave one of the two out: both decide which experts a GPU holds");
  }
  const bool halves = std::ranges::any_of(
      scenario.instances, [](const InstanceSpec& entry) { return entry.engine.enable_dbo; });
  if (halves) {
    fail(context, offload, "is not modelled together with two half batches in turn",
         "turn engine.enable_dbo off");
  }
  if (offload.value->prefetch == OffloadPrefetch::kNextLayer &&
      scenario.model.num_moe_layers() < 2) {
    fail(context, offload, "prefetch next_layer has no effect: the model has one MoE layer",
         "write prefetch: none");
  }
}

void check_host(const Scenario& scenario, const Given<ExpertOffload>& offload,
                LoadContext& context) {
  for (const NodeGroup& node : scenario.cluster.nodes) {
    const SystemSpec& system = node.system;
    const std::pair<const char*, bool> needed[] = {
        {"node.host_mem_bw", system.node.host_mem_bw.value() > 0},
        {"node.host_flops", system.node.host_flops.value() > 0},
        {"efficiency.host_memory", system.efficiency.host_memory > 0}};
    for (const auto& [key, given] : needed) {
      if (given) continue;
      fail(context, offload, fmt::format("compute cpu: the system {} has no {}", system.name, key),
           fmt::format("add {} to the system's file, or write compute: gpu", key));
      return;
    }
  }
}

void check_peer(const Scenario& scenario, const Given<ExpertOffload>& offload,
                LoadContext& context) {
  for (const NodeGroup& node : scenario.cluster.nodes) {
    if (node.system.node.peer_access) continue;
    fail(context, offload,
         fmt::format("tier peer: a {} cannot read another one's memory", node.system.name),
         "write tier: host");
    return;
  }
  const Layout layout = lay_out(scenario.cluster, scenario.instances);
  for (const std::vector<int>& gpus : layout.gpus) {
    if (gpus.empty() || tier_link(scenario, layout, gpus)) continue;
    fail(context, offload, "tier peer needs an idle GPU in the node, and instances use them all",
         "add a GPU to the node (system.nodes), or write tier: host");
    return;
  }
}

}  // namespace

Given<ExpertOffload> read_offload(Reader& root, LoadContext& context) {
  const std::string key = "offload.experts";
  Given<ExpertOffload> given{.value = {}, .key = key, .where = {}};
  if (!root.has("offload")) return given;
  Reader section = root.map("offload");
  given.where = section.where("experts");
  if (!section.has("experts")) {
    section.fail("experts", "required key is missing",
                 "write experts: {tier: host, resident_fraction: 0.5}; KV tiers are not modelled");
  } else {
    given.value = read_experts(section.map("experts"), context);
  }
  section.reject_unknown_keys();
  return given;
}

void check_offload(const Scenario& scenario, const Given<ExpertOffload>& offload,
                   LoadContext& context) {
  if (!offload) return;
  if (!scenario.model.is_moe()) {
    fail(context, offload, "has no effect: the model has no experts", "leave offload out");
    return;
  }
  if (!offload.value->active())
    context.warnings.push_back(
        "offload.experts: resident_fraction 1 keeps all experts on the GPU: nothing is offloaded");
  check_combinations(scenario, offload, context);
  if (offload.value->tier == OffloadTier::kPeer) check_peer(scenario, offload, context);
  if (offload.value->on_cpu()) check_host(scenario, offload, context);
  const std::string& kind = scenario.routing.policy.name;
  const bool alike = kind == "uniform" || kind == "balanced";
  if (alike && offload.value->active() && offload.value->policy == OffloadPolicy::kPinnedHot) {
    context.warnings.push_back(fmt::format(
        "offload pins the hottest experts, but routing {} has none hotter than others", kind));
  }
}

}  // namespace moesim
