#include <array>
#include <fmt/format.h>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "hardware/collective.h"
#include "hardware/dispatch_maker.h"
#include "hardware/system.h"
#include "models/family.h"
#include "models/hf_config.h"
#include "models/placement.h"
#include "scenarios/arrivals.h"
#include "scenarios/engine_profile.h"
#include "scenarios/expert_routing.h"
#include "scenarios/importer.h"
#include "sim/base/registry.h"
#include "sim/cli/commands.h"
#include "sim/cli/exit_codes.h"
#include "sim/engine/request_router.h"
#include "sim/engine/scheduler.h"

namespace moesim {
namespace {

struct Item {
  std::string name, description;
};

template <class Interface>
std::vector<Item> registered() {
  std::vector<Item> items;
  for (const auto& [name, entry] : Registry<Interface>::entries())
    items.push_back({name, entry.description});
  return items;
}

std::vector<Item> list_models() {
  std::vector<Item> items;
  for (const std::string& id : shipped_models()) {
    const ModelSpec model = load_model(id, "", {});
    const ParameterCounts count = count_parameters(model);
    std::string text =
        fmt::format("{:.4g} B parameters", static_cast<double>(count.total()) * 1e-9);
    if (model.is_moe())
      text += fmt::format(", {:.4g} B active", static_cast<double>(count.active) * 1e-9);
    if (model.hypothetical) text += ", hypothetical";
    items.push_back({id, text});
  }
  return items;
}

std::vector<Item> list_systems() {
  std::vector<Item> items;
  for (const std::string& name : shipped_systems()) {
    const SystemSpec system = load_system(name, "", {});
    items.push_back(
        {name, fmt::format("{}, {}, {:.4g} TFLOP/s bf16, {} GPUs a node",
                           to_gib_text(system.gpu.mem_capacity), to_text(system.gpu.mem_bw),
                           system.gpu.bf16_peak.value() * 1e-12, system.node.gpus)});
  }
  return items;
}

std::vector<Item> list_links() {
  std::vector<Item> items;
  for (const std::string& name : shipped_links()) {
    const LinkSpec link = load_link(name, {});
    items.push_back(
        {name, fmt::format("{} one way, {}", to_text(link.bandwidth), to_text(link.latency))});
  }
  return items;
}

std::vector<Item> list_engines() {
  std::vector<Item> items;
  for (const std::string& backend : known_backends()) {
    std::string versions;
    for (const std::string& version : known_versions(backend))
      versions += (versions.empty() ? "" : " ") + version;
    items.push_back({backend, versions.empty() ? "" : "releases " + versions});
  }
  return items;
}

struct Kind {
  const char* name;
  std::vector<Item> (*list)();
};
constexpr std::array kKinds{
    Kind{"models", list_models},
    Kind{"families", registered<Family>},
    Kind{"systems", list_systems},
    Kind{"links", list_links},
    Kind{"collectives", registered<CollectiveAlgorithm>},
    Kind{"all2all_backends", registered<DispatchMaker>},
    Kind{"engines", list_engines},
    Kind{"schedulers", registered<Scheduler>},
    Kind{"request_routers", registered<RequestRouter>},
    Kind{"arrivals", registered<Arrivals>},
    Kind{"generators", registered<ExpertRouting>},
    Kind{"placements", registered<Placement>},
    Kind{"importers", registered<Importer>},
};

std::vector<const Kind*> chosen_kinds(const Arguments& args) {
  std::vector<const Kind*> kinds;
  std::vector<std::string> names;
  for (const Kind& kind : kKinds) {
    names.emplace_back(kind.name);
    if (args.inputs.empty() || args.inputs.front() == kind.name) kinds.push_back(&kind);
  }
  if (kinds.empty()) {
    throw UsageError(fmt::format("list: unknown kind '{}'; {}", args.inputs.front(),
                                 nearest_name_hint(args.inputs.front(), names)));
  }
  return kinds;
}

void print_table(const std::vector<const Kind*>& kinds) {
  for (const Kind* kind : kinds) {
    const bool only = kinds.size() == 1;
    if (!only) std::cout << kind->name << '\n';
    const std::vector<Item> items = kind->list();
    std::size_t width = 0;
    for (const Item& item : items) width = std::max(width, item.name.size());
    for (const Item& item : items)
      std::cout << fmt::format("{}{:<{}}  {}\n", only ? "" : "  ", item.name, width,
                               item.description);
    if (!only) std::cout << '\n';
  }
}

void print_json(const std::vector<const Kind*>& kinds) {
  nlohmann::ordered_json json = {{"schema_version", 1}};
  for (const Kind* kind : kinds) {
    json[kind->name] = nlohmann::ordered_json::array();
    for (const Item& item : kind->list())
      json[kind->name].push_back({{"name", item.name}, {"description", item.description}});
  }
  std::cout << json.dump(2) << '\n';
}

}  // namespace

int list_command(const Arguments& args) {
  const std::vector<const Kind*> kinds = chosen_kinds(args);
  if (args.format == OutputFormat::kJson) {
    print_json(kinds);
  } else {
    print_table(kinds);
  }
  return kExitOk;
}

}  // namespace moesim
