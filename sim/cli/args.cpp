#include "sim/cli/args.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <fmt/format.h>
#include <functional>
#include <initializer_list>

#include "sim/base/diagnostic.h"
#include "sim/cli/flags.h"
#include "sim/cli/options.h"
#include "sim/report/report.h"

namespace moesim {
namespace {

constexpr const char* kHelp = R"(moesim - simulate and plan MoE serving clusters

usage: moesim <command> [options]

  run    SCENARIO        simulate; print a summary
  memory SCENARIO        GPU memory by part, KV room; no simulation
  check  FILE...         report every mistake in scenarios, systems, models or traces
  diff   A.json B.json   what changed between two reports, and why
  import KIND FILE...    convert a foreign trace, model or table (moesim list importers)
  routing VERB [FILE]    describe, convert, generate routing traces; compare placements
  list   [WHAT]          models, systems, links, collectives, schedulers, importers ...
  fit SAMPLES...         measured kernels to a kernel profile
  validate ops|runs|e2e DATA...  predict what was measured; print the errors

options:
  --set PATH=VALUE       override one scenario key, e.g. --set engine.max_num_seqs=64
  --seed N               override the seed
  --format table|json    what to print          --save-dir DIR  write report, requests, trace
  --strict               refuse to leave the calibrated range
  --check                verify invariants (slower)

Engine and load options follow vLLM: moesim run --help
try:  moesim run scenarios/01_quickstart.yaml
exit: 0 ok, 1 nothing feasible, 2 usage, 3 bad input file, 4 outside calibration (--strict),
      70 internal error, 130 interrupted
)";

// --- before CLI11 -----------------------------------------------------------------------------

/// vLLM's "-tp 2", which CLI11 would read as -t with the value "p".
const char* long_name(const std::string& argument) {
  if (argument == "-tp") return "--tensor-parallel-size";
  if (argument == "-pp") return "--pipeline-parallel-size";
  if (argument == "-dp") return "--data-parallel-size";
  return nullptr;
}

bool is_list_item(const std::string& flag, const std::string& argument) {
  if (flag == "--goodput") return argument.find(':') != std::string::npos && argument[0] != '-';
  return !argument.empty() &&
         std::all_of(argument.begin(), argument.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// Writes "--goodput a b" as "--goodput a --goodput b", so that a list does not swallow the
/// scenario.
std::vector<std::string> plain_arguments(int argc, const char* const* argv) {
  std::vector<std::string> result;
  std::string list;
  bool first = false;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const char* const name = long_name(argument);
    if (!list.empty() && !first) {
      if (is_list_item(list, argument)) {
        result.push_back(list);
      } else {
        list.clear();
      }
    }
    first = false;
    if (argument == "--goodput" || argument == "--cudagraph-capture-sizes") {
      list = argument;
      first = true;
    }
    result.push_back(name != nullptr ? name : argument);
  }
  return result;
}

// --- options by command -----------------------------------------------------------------------
constexpr std::size_t kMany = 1'000'000;

/// A command's shape: its arguments, and what may go with them.
struct CommandSpec {
  const char* name;
  const char* inputs;
  const char* description;
  std::size_t least, most;  ///< arguments
  std::vector<void (*)(CLI::App&, Parsed&)> options;
};
const std::array kCommands{
    CommandSpec{"run",
                "SCENARIO",
                "Simulate a scenario and its variants; print a summary.",
                1,
                1,
                {add_scenario_options, add_format, add_quiet, add_run_options}},
    CommandSpec{"memory",
                "SCENARIO",
                "GPU memory by part and KV room; no simulation.",
                1,
                1,
                {add_scenario_options, add_format, add_quiet, add_memory_options, add_strict}},
    CommandSpec{
        "check",
        "FILE...",
        "Report every mistake in scenarios, systems, model configs, traces, kernel profiles and\n"
        "samples, and what no kernel can do in the last two.",
        1,
        kMany,
        {add_format, add_quiet, add_jobs}},
    CommandSpec{"diff",
                "A.json B.json",
                "What changed between two reports, and in which terms.",
                2,
                2,
                {add_format}},
    CommandSpec{
        "fit",
        "SAMPLES...",
        "Fit a kernel profile to measured kernels: files of samples, tables, folders of tables.",
        1,
        kMany,
        {add_fit_options, add_quiet}},
    CommandSpec{
        "import",
        "KIND FILE...",
        "Convert a foreign trace, model or table of kernels to our format (moesim list importers).",
        2,
        kMany,
        {add_import_options, add_quiet}},
    CommandSpec{
        "list",
        "[WHAT]",
        "What is shipped and registered; everything, or one kind of models, families, systems,\n"
        "links, collectives, all2all_backends, engines, schedulers, request_routers, arrivals,\n"
        "generators, placements, importers.",
        0,
        1,
        {add_format}},
    CommandSpec{"routing",
                "stats|convert FILE | generate | place SCENARIO",
                "Routing traces: which experts tokens chose (JSONL, CSV, MRT).\n"
                "  stats     how even, how alike, how far tokens travel\n"
                "  convert   FILE as the file of -o, by its ending\n"
                "  generate  makes one (moesim list generators)\n"
                "  place     compares expert placements on a scenario's routing and cluster: would "
                "EPLB pay?",
                1,
                2,
                {add_routing_options, add_generate_options, add_format, add_quiet}},
    CommandSpec{"validate",
                "ops|runs|e2e DATA...",
                "Predict what was measured and print the errors: kernels, recorded runs request by "
                "request,\n"
                "or tables of published operating points (CSV files or folders of them).",
                2,
                kMany,
                {add_validate_options, add_format, add_quiet, add_jobs}},
};

void add_command(CLI::App& root, const CommandSpec& spec, Parsed& parsed) {
  CLI::App* app = root.add_subcommand(spec.name, spec.description);
  app->allow_extras();
  app->add_option(spec.inputs, parsed.args.inputs)->expected(0, kMany);
  for (const auto& add : spec.options) add(*app, parsed);
}

/// "--[no-]enforce-eager", "--seed N".
std::string option_text(const CLI::Option& option) {
  std::string text;
  for (const std::string& name : option.get_snames()) text += "-" + name + ", ";
  const std::vector<std::string>& names = option.get_lnames();
  const bool toggle = names.size() == 2 && names[1] == "no-" + names[0];
  text += (toggle ? "--[no-]" : "--") + names.front();
  const std::string with_range = option.get_type_name();  // "N:INT in [1 - 8]"
  const std::string type = with_range.substr(0, with_range.find(':'));
  return type.empty() || toggle ? text : text + " " + type;
}

std::string help_text(const CLI::App& app, const CommandSpec& spec) {
  std::string text = fmt::format("usage: moesim {} {}{}\n\n{}\n", spec.name, spec.inputs,
                                 spec.options.size() > 0 ? " [options]" : "", spec.description);
  for (const std::string& group : app.get_groups()) {
    std::string rows;
    for (const CLI::Option* option : app.get_options()) {
      if (option->get_group() != group || option->get_positional() ||
          option->get_name() == "--help")
        continue;
      const std::string row =
          fmt::format("  {:<36} {}", option_text(*option), option->get_description());
      rows += row.substr(0, row.find_last_not_of(' ') + 1) + "\n";
    }
    if (!rows.empty()) text += fmt::format("\n{}\n{}", group, rows);
  }
  return text;
}

// --- after CLI11 ------------------------------------------------------------------------------

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

/// An option nobody knows would be followed by a value that looks like a file; so this comes before
/// CLI11 reads anything.
void reject_unknown_options(const CLI::App& app, const std::vector<std::string>& arguments) {
  const std::vector<std::string> known = option_names(app);
  for (const std::string& argument : arguments) {
    const std::string name = argument.substr(0, argument.find('='));
    if (name.size() < 3 || !name.starts_with("--")) continue;
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::string hint = nearest_name_hint(name, known);
    if (!hint.starts_with("did you mean"))
      hint = fmt::format("see moesim {} --help", app.get_name());
    throw UsageError(fmt::format("{}: unknown option {}; {}", app.get_name(), name, hint));
  }
}

/// What CLI11 could not place, and too few or too many arguments.
void check_inputs(const CLI::App& app, const CommandSpec& spec, const Parsed& parsed) {
  const std::vector<std::string>& inputs = parsed.args.inputs;
  const auto fail = [&](const std::string& problem) {
    throw UsageError(
        fmt::format("{}: {}; usage: moesim {} {}", spec.name, problem, spec.name, spec.inputs));
  };
  if (!app.remaining().empty())
    fail(fmt::format("unexpected argument '{}'", app.remaining().front()));
  if (inputs.size() < spec.least) fail(inputs.empty() ? "no file given" : "too few arguments");
  if (inputs.size() > spec.most) fail(fmt::format("unexpected argument '{}'", inputs[spec.most]));
}

Override parse_set(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == 0 || equals == std::string::npos) {
    throw UsageError(fmt::format(
        "--set: '{}' is not PATH=VALUE; for instance --set engine.max_num_seqs=64", text));
  }
  return {text.substr(0, equals), text.substr(equals + 1)};
}

/// CLI11 would read -1 as 2^64 - 1.
const std::string& checked_seed(const std::string& text) {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end)
    throw UsageError(fmt::format("--seed: '{}' is not a non-negative integer", text));
  return text;
}

Arguments finish(Parsed& parsed, const CLI::App& app, const std::string& command) {
  Arguments args = std::move(parsed.args);
  args.command = command;
  args.format = parsed.format == "json" ? OutputFormat::kJson : OutputFormat::kTable;
  if (!parsed.save_dir.empty()) args.save_dir = parsed.save_dir;
  if (!parsed.out.empty()) args.out = parsed.out;
  if (!parsed.json.empty()) args.json = parsed.json;
  if (!args.save_dir && (args.per_request || args.timeline)) {
    throw UsageError(fmt::format("--{} has no effect without --save-dir",
                                 args.per_request ? "per-request" : "timeline"));
  }
  for (const CLI::Option* option : app.get_options()) {
    if (option->count() > 0 && !option->get_lnames().empty())
      args.given.push_back(option->get_lnames().front());
  }
  args.overrides = flag_overrides(parsed.flags);
  if (parsed.seed) args.overrides.push_back({"seed", checked_seed(*parsed.seed), "--seed"});
  // --set last: it may widen what a flag has set (--dataset-path, then workload.trace.start_s).
  for (const std::string& set : parsed.sets) args.overrides.push_back(parse_set(set));
  reject_overridden(args.overrides);
  return args;
}

const CommandSpec& find_command(const std::vector<std::string>& arguments) {
  if (arguments.empty()) throw UsageError(fmt::format("no command\n\n{}", kHelp));
  const std::string& name = arguments.front();
  std::vector<std::string> known;
  for (const CommandSpec& spec : kCommands) {
    if (name == spec.name) return spec;
    known.emplace_back(spec.name);
  }
  throw UsageError(fmt::format("unknown command '{}'; {}", name, nearest_name_hint(name, known)));
}

bool asks_for(const std::vector<std::string>& arguments, std::initializer_list<const char*> names) {
  return !arguments.empty() && std::any_of(names.begin(), names.end(), [&](const char* name) {
    return arguments.front() == name;
  });
}

}  // namespace

std::variant<Arguments, Information> parse_arguments(int argc, const char* const* argv) {
  std::vector<std::string> arguments = plain_arguments(argc, argv);
  if (asks_for(arguments, {"--help", "-h", "help"})) return Information{kHelp};
  if (asks_for(arguments, {"--version"}))
    return Information{fmt::format("moesim {}\n", tool_version())};
  const CommandSpec& spec = find_command(arguments);

  Parsed parsed;
  CLI::App root("", "moesim");
  add_command(root, spec, parsed);
  const CLI::App* const app = root.get_subcommand(spec.name);
  reject_unknown_options(*app, arguments);
  try {
    std::reverse(arguments.begin(), arguments.end());
    root.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    return Information{help_text(*app, spec)};
  } catch (const CLI::ParseError& error) {
    throw UsageError(fmt::format("{}: {}", spec.name, error.what()));
  }
  check_inputs(*app, spec, parsed);
  return finish(parsed, *app, spec.name);
}

}  // namespace moesim
