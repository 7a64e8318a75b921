#include <algorithm>
#include <deque>
#include <exception>
#include <filesystem>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "calibrate/fit/sample_file.h"
#include "calibrate/fit/sample_physics.h"
#include "hardware/profile.h"
#include "hardware/profile_physics.h"
#include "hardware/system.h"
#include "models/hf_config.h"
#include "models/placement.h"
#include "scenarios/group_limit.h"
#include "scenarios/load.h"
#include "scenarios/request_trace.h"
#include "scenarios/routing_trace.h"
#include "sim/base/files.h"
#include "sim/base/reader.h"
#include "sim/build.h"
#include "sim/cli/cases.h"
#include "sim/cli/commands.h"
#include "sim/cli/exit_codes.h"
#include "sim/report/json_text.h"
#include "sim/report/report.h"

namespace moesim {
namespace {

namespace fs = std::filesystem;

std::string extension(const fs::path& path) {
  fs::path name = path.filename();
  if (name.extension() == ".gz" || name.extension() == ".zst") name.replace_extension();
  return name.extension().string();
}

[[noreturn]] void unknown_kind(const std::string& file) {
  Diagnostic mistake;
  mistake.where.file = file;
  mistake.problem =
      "is neither a scenario, a system, a kernel profile, a model config, a placement, samples nor "
      "a "
      "trace";
  mistake.hint =
      "a scenario has schema_version and workload, a system gpu, a kernel profile framework and "
      "ops, "
      "a model config architectures or model_type; traces end in .csv or .jsonl (.gz), routing "
      "traces also in .mrt";
  throw InputError({mistake});
}

std::string check_scenario(const std::string& text, const std::string& file) {
  const fs::path folder = file == "-" ? fs::current_path() : fs::absolute(file).parent_path();
  const Scenario scenario = load_scenario_text(text, file, folder);
  const Deployment deployment = lay_out(scenario);
  std::deque<Scenario> variants;
  std::vector<const Scenario*> all{&scenario};
  for (const VariantSpec& variant : scenario.variants)
    all.push_back(
        &variants.emplace_back(load_scenario_text(text, file, folder, variant_overrides(variant))));
  static_cast<void>(Recordings(all));
  std::string what = fmt::format("scenario {}", scenario.name);
  for (const InstanceInfo& instance : deployment.instances) {
    if (!instance.memory.feasible) return what + ", which does not fit its GPUs (moesim memory)";
  }
  return what;
}

void warn(const std::string& file, const std::string& text) {
  std::cerr << fmt::format("{}: warning: {}\n", file, text);
}

std::string check_routing(const RoutingTrace& trace, const std::string& file) {
  if (const auto* const loads = std::get_if<StepLoads>(&trace))
    return fmt::format("routing trace of {} steps", loads->steps.size());
  const auto& table = std::get<RoutingTable>(trace);
  table.check_all_rows();
  if (const std::string remark = groups_remark(table); !remark.empty()) warn(file, remark);
  return fmt::format("routing trace of {} tokens in {} sequences", table.rows(),
                     table.sequences.size());
}

std::string check_samples(const std::string& text, const std::string& file) {
  const SampleFile read = read_samples(text, file);
  for (const std::string& warning : read.warnings) warn(file, warning);
  for (const std::string& finding : check_sample_physics(read.samples)) warn(file, finding);
  return fmt::format("{} kernel samples", read.samples.size());
}

std::string check_profile(const std::string& text, const std::string& file) {
  const KernelProfile profile = read_profile(text, file);
  const std::vector<std::string> systems = shipped_systems();
  if (std::ranges::find(systems, profile.system) == systems.end()) {
    warn(file, fmt::format("system {} is not shipped: its physics are not judged", profile.system));
  } else {
    Diagnostics errors;
    for (PhysicsFinding& found : check_physics(profile, load_system(profile.system, "", {}))) {
      if (found.error)
        errors.add({{file, 0, 0}, found.key, found.problem, found.hint});
      else
        warn(file, fmt::format("{}: {}; {}", found.key, found.problem, found.hint));
    }
    errors.throw_if_any();
  }
  return fmt::format("kernel profile {}/{}-{} of {} curves", profile.system, profile.framework,
                     profile.version, profile.curves.size());
}

/// `[[...], ...]`, or an object with it: where experts lie, as `routing place -o` writes it.
bool is_placement(const std::string& text) {
  constexpr const char* kBlank = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string::npos) return false;
  if (text[first] == '{') return text.find("\"physical_to_logical_map\"") != std::string::npos;
  const std::size_t second = text.find_first_not_of(kBlank, first + 1);
  return text[first] == '[' && second != std::string::npos && text[second] == '[';
}

/// Of as many layers and experts as it names; a scenario says whether that is its model.
std::string check_placement(const std::string& text, const std::string& file) {
  nlohmann::json map = nlohmann::json::parse(text, nullptr, false);
  if (map.is_object()) map = map.value("physical_to_logical_map", nlohmann::json());
  PlacementInput input{.ranks = 1};
  if (map.is_array()) input.layers = static_cast<int>(map.size());
  int slots = 0;
  for (const nlohmann::json& row : map) {
    if (!row.is_array()) continue;
    slots = std::max(slots, static_cast<int>(row.size()));
    for (const nlohmann::json& id : row) {
      constexpr std::uint64_t kMost = 65535;
      if (id.is_number_unsigned())
        input.experts =
            std::max(input.experts, 1 + static_cast<int>(std::min(id.get<std::uint64_t>(), kMost)));
    }
  }
  if (slots == 0)
    throw_input_error({{file, 1, 1},
                       "physical_to_logical_map",
                       "no layer has a slot",
                       "write a list of expert numbers for each layer"});
  input.redundant = std::max(0, slots - input.experts);
  static_cast<void>(make_placement({.name = "file", .file = file})->place(input));
  return fmt::format("placement of {} experts in {} slots of {} layers", input.experts, slots,
                     input.layers);
}

/// A .csv or .jsonl file.
std::string check_table(const std::string& file) {
  std::string content = read_file(file);
  if (is_sample_file(content)) return check_samples(content, file);
  if (is_routing_trace(content))
    return check_routing(parse_routing_trace(std::move(content), file), file);
  if (is_blocks_file(content))
    return fmt::format("prefix blocks of {} requests; NAME.blocks.jsonl belongs beside NAME.csv",
                       check_blocks_file(content, file));
  TraceSpec trace;
  trace.path = file;
  return fmt::format("trace of {} requests", read_request_trace(trace).size());
}

/// Loads a file as what it is; says what it was.
std::string check_file(const std::string& named) {
  std::error_code none;
  const bool folder = fs::is_directory(named, none);  // of a model, as `model` of a scenario
  const std::string file = folder ? (fs::path(named) / "config.json").string() : named;
  const std::string kind = extension(file);
  if (kind == ".mrt") return check_routing(read_routing_trace(file), file);
  if (kind == ".csv" || kind == ".jsonl") return check_table(file);
  const std::string text = read_file(file);  // once: it may be standard input
  if (is_sample_file(text)) return check_samples(text, file);
  if (is_routing_trace(text)) return check_routing(parse_routing_trace(text, file), file);
  if (is_placement(text)) return check_placement(text, file);
  const Document document = Document::parse(text, file);
  const auto has = [&](const char* key) { return document.get(key).has_value(); };
  if (has("architectures") || has("model_type"))
    return fmt::format("model {}", read_hf_config(text, file, file).model_type);
  if (has("framework") && has("ops")) return check_profile(text, file);
  if (has("gpu") && !has("workload"))
    return fmt::format("system {}", load_system(fs::absolute(file), "", {file, 0, 0}).name);
  if (has("schema_version") || has("workload") || has("deployment"))
    return check_scenario(text, file);
  unknown_kind(file);
}

/// What came of one file.
struct CheckedFile {
  std::string file, what;  ///< `what` it is, if it is good
  std::vector<Diagnostic> mistakes;
};

CheckedFile check_one(const std::string& file) {
  CheckedFile out{file, "", {}};
  try {
    out.what = check_file(file);
  } catch (const InputError& error) {
    out.mistakes = error.diagnostics();
  }
  return out;
}

void print(const CheckedFile& checked) {
  for (const Diagnostic& diagnostic : checked.mistakes) std::cerr << to_text(diagnostic) << '\n';
  if (checked.mistakes.empty())
    std::cout << fmt::format("{}: ok: {}\n", checked.file, checked.what);
}

std::string json_text(const Diagnostic& mistake) {
  std::string out = fmt::format("{{\"file\": {}", json_quote(mistake.where.file));
  if (mistake.where.line > 0) out += fmt::format(", \"line\": {}", mistake.where.line);
  if (mistake.where.column > 0) out += fmt::format(", \"column\": {}", mistake.where.column);
  return out + fmt::format(", \"key\": {}, \"problem\": {}, \"hint\": {}}}",
                           json_quote(mistake.key), json_quote(mistake.problem),
                           json_quote(mistake.hint));
}

void print_json(const std::vector<CheckedFile>& files) {
  std::vector<std::string> entries;
  for (const CheckedFile& checked : files) {
    std::string entry = fmt::format("    {{\"file\": {}, \"ok\": {}", json_quote(checked.file),
                                    checked.mistakes.empty());
    if (checked.mistakes.empty()) entry += fmt::format(", \"what\": {}", json_quote(checked.what));
    std::vector<std::string> mistakes;
    for (const Diagnostic& mistake : checked.mistakes)
      mistakes.push_back("\n      " + json_text(mistake));
    if (!mistakes.empty()) entry += fmt::format(", \"mistakes\": [{}]", fmt::join(mistakes, ","));
    entries.push_back(entry + "}");
  }
  std::cout << fmt::format(
      "{{\n  \"schema_version\": {},\n  \"tool_version\": {},\n  \"files\": [\n{}\n  ]\n}}\n",
      kReportSchemaVersion, json_quote(tool_version()), fmt::join(entries, ",\n"));
}

}  // namespace

int check_command(const Arguments& args) {
  int code = kExitOk;
  std::vector<CheckedFile> files;
  for (const std::string& file : args.inputs) {
    CheckedFile checked = check_one(file);
    if (!checked.mistakes.empty()) code = kExitBadInput;
    if (args.format == OutputFormat::kTable) print(checked);
    files.push_back(std::move(checked));
  }
  if (args.format == OutputFormat::kJson) print_json(files);
  return code;
}

}  // namespace moesim
