#include <algorithm>
#include <fmt/format.h>
#include <optional>
#include <utility>

#include "scenarios/load_parts.h"

namespace moesim {
namespace {

const std::vector<std::string> kRouters = {"round_robin", "least_loaded", "power_of_two",
                                           "prefix_affinity"};

int read_degree(Reader& in, const std::string& key) {
  return static_cast<int>(in.integer_or(key, 1, {.min = 1, .max = 1024}));
}

void read_parallel(Reader& in, InstanceSpec& instance) {
  Parallel& parallel = instance.parallel;
  parallel.tp = read_degree(in, "tensor_parallel_size");
  parallel.pp = read_degree(in, "pipeline_parallel_size");
  parallel.dp = read_degree(in, "data_parallel_size");
  const auto given = [&in](const char* key) {
    std::optional<int> degree;
    if (const auto value = in.optional_integer(key, {.min = 1, .max = 4096}))
      degree = static_cast<int>(*value);
    return degree;
  };
  instance.moe_tp = given("moe_tensor_parallel_size");
  instance.moe_ep = given("moe_expert_parallel_size");
}

/// Sizes that are given: a flag may have set them.
void resolve_degrees(const Reader& in, const Parallel& parallel, LoadContext& context) {
  const std::pair<const char*, int> degrees[] = {{"tensor_parallel_size", parallel.tp},
                                                 {"pipeline_parallel_size", parallel.pp},
                                                 {"data_parallel_size", parallel.dp}};
  for (const auto& [key, degree] : degrees) {
    if (in.has(key))
      context.resolve(in.path(key), std::to_string(degree), context.source(in.where(key)));
  }
}

InstanceSpec read_instance(Reader& in) {
  InstanceSpec instance;
  instance.where = in.where();
  const std::string role = in.choice_or("role", {"mixed", "prefill", "decode"}, "mixed");
  instance.role = role == "prefill"  ? Role::kPrefill
                  : role == "decode" ? Role::kDecode
                                     : Role::kMixed;
  instance.count = static_cast<int>(in.integer_or("count", 1, {.min = 1, .max = 10000}));
  read_parallel(in, instance);
  instance.node = static_cast<int>(in.integer_or("node", -1, {.min = 0, .max = 10000}));
  return instance;
}

/// Keys of `engine` that an entry may not override, and the section that says the same.
struct ScenarioWide {
  const char *key, *section;
};
constexpr ScenarioWide kScenarioWide[] = {
    {"dtype", "precision"},          {"quantization", "precision"},
    {"kv_cache_dtype", "precision"}, {"expert_placement_strategy", "placement"},
    {"enable_eplb", "placement"},    {"eplb_config", "placement"},
};

void reject_scenario_wide(Reader& engine) {
  for (const auto& [key, section] : kScenarioWide) {
    if (!engine.has(key)) continue;
    engine.fail(key, "is one for the whole scenario",
                fmt::format("write it in engine, or use {}", section));
  }
}

}  // namespace

DeploymentSection read_deployment(Reader in, LoadContext& context) {
  DeploymentSection section;
  for (Reader& entry : in.maps("instances")) {
    section.instances.push_back(read_instance(entry));
    resolve_degrees(entry, section.instances.back().parallel, context);
    Reader engine = entry.map_or_empty("engine");
    reject_scenario_wide(engine);
    section.engines.push_back(read_engine(std::move(engine), context));
    entry.reject_unknown_keys();
  }
  section.request_router = {.name = in.choice_or("request_router", kRouters, "round_robin"),
                            .params = "{}",
                            .where = in.where("request_router")};
  context.resolve(
      "deployment.request_router", section.request_router.name,
      in.has("request_router") ? context.source(in.where("request_router")) : "default");
  in.reject_unknown_keys();
  return section;
}

}  // namespace moesim
