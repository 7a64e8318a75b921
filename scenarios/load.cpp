#include "scenarios/load.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>
#include <tuple>
#include <utility>

#include "scenarios/expert_routing.h"
#include "scenarios/layout.h"
#include "scenarios/load_parts.h"
#include "sim/base/files.h"

namespace moesim {

bool LoadContext::from_command_line(const Where& where) const {
  return std::ranges::find(origins, where.file) != origins.end();
}

const char* LoadContext::source(const Where& where) const {
  return from_command_line(where) ? "cli" : "file";
}

std::filesystem::path LoadContext::folder(const Where& where) const {
  return from_command_line(where) ? std::filesystem::current_path() : base_dir;
}

std::filesystem::path LoadContext::file(Reader& in, const std::string& key) const {
  const std::string text = in.text(key);
  if (text.empty() || text == "-") return text;
  std::filesystem::path path = (folder(in.where(key)) / text).lexically_normal();
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    in.fail(key, fmt::format("there is no file '{}'", path.string()),
            "paths in a scenario start at its folder, paths of --set at the current one");
  }
  return path;
}

void LoadContext::report(const InputError& error, const Reader& in, const std::string& key) const {
  const Where at = in.where(key);
  for (Diagnostic diagnostic : error.diagnostics()) {
    const Where& where = diagnostic.where;
    const bool here = where.file == at.file && where.line == at.line && where.column == at.column;
    if (here) diagnostic.key = in.path(key);
    diagnostics.add(std::move(diagnostic));
  }
}

namespace {

namespace fs = std::filesystem;

constexpr const char* kVariantOrigin = "variant '";

/// One level of changes: all of the command line, or all of one variant.
struct Change {
  std::string path, value;
  Where where;
};

bool below(const std::string& path, const std::string& key) {
  return path == key || path.starts_with(key + ".");
}

bool is_null(const std::string& value) {
  return value.empty() || value == "null" || value == "~";
}

bool sets_trace(const Change& change) {
  return !is_null(change.value) && below(change.path, "workload.trace");
}

/// What a trace has of its own.
bool sets_load(const Change& change) {
  return !is_null(change.value) &&
         (below(change.path, "workload.arrival") || below(change.path, "workload.synthetic"));
}

/// Whether changes say all that replaces a trace.
bool replace_trace(const std::vector<Change>& changes) {
  const auto some_below = [&](const char* key) {
    return std::ranges::any_of(changes, [key](const Change& change) {
      return !is_null(change.value) && below(change.path, key);
    });
  };
  return some_below("workload.arrival") && some_below("workload.synthetic");
}

/// A trace replaces arrival and synthetic, and these two a trace. In one level they contradict each
/// other, and one of the two alone contradicts a trace given before: a mistake of those that mean
/// arrival or synthetic, which are then not applied. Returns whether it is so.
bool make_room(Document& document, const std::vector<Change>& changes, Diagnostics& diagnostics) {
  const auto trace = std::ranges::find_if(changes, sets_trace);
  const bool given = trace != changes.end();
  if (given) {
    document.erase("workload.arrival");
    document.erase("workload.synthetic");
  }
  if (std::ranges::none_of(changes, sets_load)) return false;
  const std::optional<std::string> before = document.get("workload.trace");
  if (!given && (!before || is_null(*before) || replace_trace(changes))) {
    document.erase("workload.trace");
    return false;
  }
  const bool by_flag = given && trace->where.line == 0;
  for (const Change& change : changes) {
    if (!sets_load(change)) continue;
    diagnostics.add({change.where, change.path,
                     "contradicts the recorded trace" + (by_flag ? " of " + trace->where.file : ""),
                     "leave one of the two out: a trace has times and lengths of its own "
                     "(workload.trace.rate_scale makes it faster)"});
  }
  return true;
}

/// `trace: FILE` is short for `trace: {path: FILE}`; written out before anything is set inside it.
void write_out_trace(Document& document, Diagnostics& diagnostics) {
  const std::optional<std::string> trace = document.get("workload.trace");
  if (!trace || is_null(*trace) || trace->starts_with("{") || trace->starts_with("[")) return;
  const Reader root(document, diagnostics);
  document.set("workload.trace", "{path: " + *trace + "}", root.where("workload.trace"));
}

void apply(Document& document, const std::vector<Change>& changes, Diagnostics& diagnostics) {
  const bool contradictory = make_room(document, changes, diagnostics);
  for (const Change& change : changes) {
    if (contradictory && sets_load(change)) continue;
    try {
      if (change.path.starts_with("workload.trace.")) write_out_trace(document, diagnostics);
      document.set(change.path, change.value, change.where);
    } catch (const InputError& error) {
      for (const Diagnostic& diagnostic : error.diagnostics()) diagnostics.add(diagnostic);
    }
  }
}

/// Overrides in levels of one origin kind each: the command line first, then a variant.
struct Levels {
  std::vector<Change> command_line, variant;
};

Levels levels_of(const std::vector<Override>& overrides) {
  Levels levels;
  for (const Override& change : overrides) {
    const bool variant = change.origin.starts_with(kVariantOrigin);
    (variant ? levels.variant : levels.command_line)
        .push_back({change.path, change.value, {change.origin, 0, 0}});
  }
  return levels;
}

std::vector<Change> changes_of(const VariantSpec& variant) {
  std::vector<Change> changes;
  for (std::size_t i = 0; i < variant.set.size(); ++i) {
    changes.push_back({variant.set[i].first, variant.set[i].second, variant.set_where[i]});
  }
  return changes;
}

void read_header(Reader& root, Scenario& scenario, LoadContext& context) {
  if (!root.has("schema_version")) {
    root.fail("schema_version", "required key is missing", "write schema_version: 1");
  }
  const auto version = root.optional_integer("schema_version", {.min = 0, .max = 1e6});
  if (version.value_or(1) != 1) {
    root.fail("schema_version", fmt::format("version {} is not known", *version),
              "write schema_version: 1");
  }
  scenario.name = read_safe_name(root, "name");
  scenario.description = root.text_or("description", "");
  scenario.seed = static_cast<std::uint64_t>(root.integer_or("seed", 1, {.min = 0, .max = 9.2e18}));
  context.resolve("seed", std::to_string(scenario.seed),
                  root.has("seed") ? context.source(root.where("seed")) : "default");
}

/// The engines need the card an entry runs on: the first kind of node with room for it.
void resolve_instances(Scenario& scenario, const std::vector<EngineKeys>& engines, Reader& root,
                       LoadContext& context) {
  for (std::size_t i = 0; i < scenario.instances.size(); ++i)
    resolve_parallel(scenario.instances[i], i, engines[i], scenario, root, context);
  const Layout layout = lay_out(scenario.cluster, scenario.instances);
  const bool single = scenario.instances.size() == 1;
  for (std::size_t i = 0; i < scenario.instances.size(); ++i) {
    InstanceSpec& entry = scenario.instances[i];
    const auto kinds = static_cast<int>(scenario.cluster.nodes.size());
    const int node = layout.node[i] >= 0 ? layout.node[i] : std::clamp(entry.node, 0, kinds - 1);
    const std::string prefix = single ? "engine" : fmt::format("deployment.instances.{}.engine", i);
    const EngineInputs inputs{
        .keys = engines[i],
        .model = scenario.model,
        .system = scenario.cluster.nodes[static_cast<std::size_t>(node)].system,
        .parallel = entry.parallel,
        .prefix = prefix};
    entry.engine = resolve_engine(inputs, context);
    resolve_fusion(entry, inputs, context);
  }
}

/// Nodes by index, once nothing can go wrong any more.
void assign_nodes(Scenario& scenario) {
  const Layout layout = lay_out(scenario.cluster, scenario.instances);
  for (std::size_t i = 0; i < scenario.instances.size(); ++i)
    scenario.instances[i].node = layout.node[i];
}

/// The trace is read when it is replayed: it is told here what it must have.
void ask_for_priorities(Scenario& scenario, const std::vector<EngineKeys>& engines) {
  if (!scenario.workload.trace) return;
  for (std::size_t i = 0; i < scenario.instances.size(); ++i) {
    if (!scenario.instances[i].engine.priority_scheduling) continue;
    scenario.workload.trace->without_priority =
        no_priorities(engines[i].scheduling_policy, "requests of the trace");
    return;
  }
}

/// Whether every engine is one we have: of another nobody can say which keys are its own.
bool knows_engines(const Reader& root, std::size_t instances) {
  if (root.faulty("engine.backend")) return false;
  for (std::size_t i = 0; i < instances; ++i) {
    if (root.faulty(fmt::format("deployment.instances.{}.engine.backend", i))) return false;
  }
  return true;
}

/// Reads one document into a scenario; mistakes go to the context.
Scenario read_scenario(Document document, LoadContext& context) {
  Scenario scenario;
  const bool has_files = name_routing_files_absolutely(document, context);
  scenario.base_dir = context.base_dir;
  Reader root(document, context.diagnostics);
  read_header(root, scenario, context);
  reject_not_modelled(root, {"plan", "sweep", "faults"}, "leave it out");
  const EngineKeys engine = read_engine(root.map_or_empty("engine"), context);
  std::optional<ModelSpec> model = read_model(root, engine, context);
  if (model) scenario.model = *std::move(model);
  scenario.lora = read_lora(root);
  SystemSection system = read_system(root.map("system"), context);
  scenario.cluster = std::move(system.cluster);
  scenario.kernels = std::move(system.kernels);
  DeploymentSection deployment = read_deployment(root.map("deployment"), context);
  scenario.instances = std::move(deployment.instances);
  scenario.request_router = deployment.request_router;
  scenario.workload = read_workload(root.map("workload"), context);
  scenario.routing =
      read_routing(root, has_files ? routing_shape(scenario.model) : RoutingShape(), context);
  const Given<PlacementSpec> placement = read_placement(root, engine, context);
  if (placement) scenario.placement = *placement.value;
  const Given<ExpertOffload> offload = read_offload(root, context);
  scenario.offload = offload.value;
  scenario.slo = read_slo(root.map_or_empty("slo"));
  scenario.gpu_hour_usd = read_cost(root.map_or_empty("cost"));
  scenario.uncertainty_replicas = read_uncertainty(root.map_or_empty("uncertainty"));
  scenario.variants = read_variants(root);
  root.reject_unknown_keys();
  // What a refused value would have been is unknown: rules that span keys would judge its default.
  if (document.has_refused_values() || !knows_engines(root, scenario.instances.size()))
    return scenario;

  std::vector<EngineKeys> engines;
  for (const EngineKeys& entry : deployment.engines) engines.push_back(merged(engine, entry));
  const bool has_model = scenario.model.num_layers() > 0;
  if (has_model && system.complete) resolve_instances(scenario, engines, root, context);
  ask_for_priorities(scenario, engines);
  validate({.scenario = scenario,
            .root = root,
            .engines = engines,
            .placement = placement,
            .offload = offload,
            .has_model = has_model,
            .has_system = system.complete},
           context);
  return scenario;
}

std::vector<Diagnostic> list_of(const Diagnostics& diagnostics) {
  try {
    diagnostics.throw_if_any();
  } catch (const InputError& error) {
    return error.diagnostics();
  }
  return {};
}

/// What makes two mistakes the same one: a variant shares most of the base's.
using DiagnosticKey = std::tuple<std::string, int, int, std::string, std::string>;
DiagnosticKey key_of(const Diagnostic& d) {
  return {d.where.file, d.where.line, d.where.column, d.key, d.problem};
}

/// Each mistake once (two entries of one bad engine make two), in the order of the file.
void throw_if_any(const Diagnostics& diagnostics) {
  std::vector<Diagnostic> list;
  std::set<DiagnosticKey> known;
  for (Diagnostic& diagnostic : list_of(diagnostics)) {
    if (known.insert(key_of(diagnostic)).second) list.push_back(std::move(diagnostic));
  }
  if (list.empty()) return;
  std::ranges::stable_sort(list, {}, [](const Diagnostic& d) {
    return std::tuple(d.where.file, d.where.line, d.where.column);
  });
  throw InputError(std::move(list));
}

std::vector<std::string> without_repeats(const std::vector<std::string>& texts) {
  std::vector<std::string> result;
  for (const std::string& text : texts) {
    if (std::ranges::find(result, text) == result.end()) result.push_back(text);
  }
  return result;
}

/// Loads every variant for its mistakes.
void check_variants(const Document& document, const Scenario& scenario, LoadContext& context) {
  std::set<DiagnosticKey> known;
  for (const Diagnostic& diagnostic : list_of(context.diagnostics))
    known.insert(key_of(diagnostic));
  for (const VariantSpec& variant : scenario.variants) {
    Document changed = document;
    changed.erase("variants");
    Diagnostics mistakes;
    apply(changed, changes_of(variant), mistakes);
    LoadContext own{context.base_dir, context.origins, mistakes, {}, {}, context.cache};
    static_cast<void>(read_scenario(changed, own));
    for (Diagnostic& diagnostic : list_of(mistakes)) {
      if (!known.insert(key_of(diagnostic)).second) continue;
      if (!variant.name.empty()) diagnostic.problem += fmt::format(" (variant '{}')", variant.name);
      context.diagnostics.add(std::move(diagnostic));
    }
  }
}

/// The document with the defaults it leaves out filled in, for the report: two files that mean the
/// same look the same. The capture sizes (51 numbers that follow from two others) stay in
/// `engine.resolved`.
std::string resolved_json(Document document, const std::vector<ResolvedOption>& resolved) {
  for (const ResolvedOption& option : resolved) {
    const bool list = option.value.starts_with('[');
    const bool derived = option.value.starts_with("by ");  // what decides it is no value
    if (option.source != "default" || list || derived || document.get(option.key)) continue;
    const bool text = option.key.ends_with("backend_version");
    document.set(option.key, text ? fmt::format("\"{}\"", option.value) : option.value, {});
  }
  return document.to_json();
}

Scenario load(Document document, const fs::path& base_dir, const std::vector<Override>& overrides) {
  Diagnostics diagnostics;
  LoadContext::Cache cache;
  LoadContext context{fs::absolute(base_dir), {}, diagnostics, {}, {}, cache};
  for (const Override& change : overrides) {
    if (!change.origin.starts_with(kVariantOrigin)) context.origins.push_back(change.origin);
  }
  const Levels levels = levels_of(overrides);
  apply(document, levels.command_line, diagnostics);
  if (!levels.variant.empty()) document.erase("variants");
  apply(document, levels.variant, diagnostics);
  Scenario scenario = read_scenario(document, context);
  if (!document.has_refused_values()) check_variants(document, scenario, context);
  throw_if_any(diagnostics);
  assign_nodes(scenario);
  scenario.resolved = std::move(context.resolved);
  scenario.warnings = without_repeats(context.warnings);
  scenario.resolved_json = resolved_json(std::move(document), scenario.resolved);
  return scenario;
}

}  // namespace

Scenario load_scenario(const fs::path& path, const std::vector<Override>& overrides) {
  const fs::path folder = path == "-" ? fs::current_path() : fs::absolute(path).parent_path();
  return load(Document::load(path), folder, overrides);
}

Scenario load_scenario_text(const std::string& text, const std::string& file_name,
                            const fs::path& base_dir, const std::vector<Override>& overrides) {
  return load(Document::parse(text, file_name), base_dir, overrides);
}

std::vector<Override> variant_overrides(const VariantSpec& variant) {
  std::vector<Override> overrides;
  for (const auto& [path, value] : variant.set) {
    overrides.push_back({path, value, kVariantOrigin + variant.name + "'"});
  }
  return overrides;
}

}  // namespace moesim
