#include "sim/cli/options.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fmt/format.h>

namespace moesim {

namespace {

void add_flag(CLI::App& app, const Flag& flag, const std::string& group, FlagValues& values) {
  const std::string name = flag.name;
  const auto store = [&values, name](const std::string& value) {
    std::string& text = values[name];
    text += (text.empty() ? "" : " ") + value;
  };
  CLI::Option* option = nullptr;
  if (flag.kind == Flag::Kind::kToggle || name == "enable-lora") {
    const std::string names = name == "enable-lora" ? "--" + name : "--" + name + ",!--no-" + name;
    option = app.add_flag_function(
        names, [store](std::int64_t count) { store(count > 0 ? "true" : "false"); }, flag.help);
  } else if (flag.kind == Flag::Kind::kList) {
    option = app.add_option_function<std::vector<std::string>>(
        "--" + name,
        [store](const std::vector<std::string>& list) {
          for (const std::string& value : list) store(value);
        },
        flag.help);
    option->allow_extra_args(false);
  } else {
    option = app.add_option_function<std::string>("--" + name, store, flag.help);
  }
  option->group(group);
  if (flag.kind == Flag::Kind::kNumber) option->type_name("N");
  if (flag.kind == Flag::Kind::kYaml) option->type_name("JSON");
  if (flag.kind == Flag::Kind::kText || flag.kind == Flag::Kind::kSpecial)
    option->type_name("VALUE");
  if (flag.kind == Flag::Kind::kList) option->type_name("VALUE...");
  if (name == "enable-lora") option->type_name("");
}

}  // namespace

void add_format(CLI::App& app, Parsed& parsed) {
  app.add_option("--format", parsed.format, "what to print: table or json [table]")
      ->check(CLI::IsMember({"table", "json"}))
      ->type_name("FORMAT")
      ->group("output");
}

void add_quiet(CLI::App& app, Parsed& parsed) {
  app.add_flag("--quiet", parsed.args.quiet, "nothing on standard error but errors")
      ->group("output");
}

void add_scenario_options(CLI::App& app, Parsed& parsed) {
  app.add_option("--set", parsed.sets, "override one scenario key (repeatable)")
      ->allow_extra_args(false)
      ->type_name("PATH=VALUE")
      ->group("scenario");
  app.add_option("--seed", parsed.seed, "override the seed")->type_name("N")->group("scenario");
  for (const Flag& flag : engine_flags())
    add_flag(app, flag, "engine (vLLM's names and meanings)", parsed.flags);
  for (const Flag& flag : load_flags())
    add_flag(app, flag, "load (vllm bench's names and meanings)", parsed.flags);
}

void add_jobs(CLI::App& app, Parsed& parsed) {
  app.add_option("--jobs", parsed.args.jobs, "simulations at a time; changes no result [1]")
      ->check(CLI::Range(1, 1024))
      ->type_name("N")
      ->group("run");
}

void add_strict(CLI::App& app, Parsed& parsed) {
  app.add_flag("--strict", parsed.args.strict, "refuse to leave the calibrated range")
      ->group("run");
}

void add_memory_options(CLI::App& app, Parsed& parsed) {
  app.add_option("--save-dir", parsed.save_dir, "write memory.json here")
      ->type_name("DIR")
      ->group("output");
  add_jobs(app, parsed);
}

void add_run_options(CLI::App& app, Parsed& parsed) {
  app.add_option("--save-dir", parsed.save_dir, "write report.json and metrics.prom here")
      ->type_name("DIR")
      ->group("output");
  app.add_flag("--per-request", parsed.args.per_request, "also requests.jsonl; needs --save-dir")
      ->group("output");
  app.add_flag("--timeline", parsed.args.timeline, "also trace.json for Perfetto; needs --save-dir")
      ->group("output");
  add_strict(app, parsed);
  app.add_flag("--check", parsed.args.check, "verify invariants (slower)")->group("run");
  add_jobs(app, parsed);
}

/// A day of the calendar, as YYYY-MM-DD; what is wrong with it if not.
std::string is_date(const std::string& text) {
  int year = 0;
  unsigned month = 0, day = 0;
  char rest = 0;
  const bool digits = text.find_first_not_of("0123456789-") == std::string::npos &&
                      std::ranges::count(text, '-') == 2;
  const bool form = text.size() == 10 && digits &&
                    std::sscanf(text.c_str(), "%4d-%2u-%2u%c", &year, &month, &day, &rest) == 3;
  const std::chrono::year_month_day date{std::chrono::year{year}, std::chrono::month{month},
                                         std::chrono::day{day}};
  return form && date.ok() ? "" : fmt::format("'{}' is no date; write it as 2026-08-21", text);
}

/// --source and --date, which importers of kernel tables and fits take.
void add_origin_options(CLI::App& app, Parsed& parsed, const char* group) {
  app.add_option("--source", parsed.args.sources,
                 "NAME,COMMIT,LICENCE of a measurement; repeatable")
      ->allow_extra_args(false)
      ->type_name("TEXT")
      ->group(group);
  app.add_option("--date", parsed.args.date, "when the measurements were published, YYYY-MM-DD")
      ->type_name("DATE")
      ->check(is_date)
      ->group(group);
}

void add_output_option(CLI::App& app, Parsed& parsed, const char* help) {
  app.add_option("-o,--out", parsed.out, help)->type_name("FILE")->group("output");
}

void add_import_options(CLI::App& app, Parsed& parsed) {
  add_origin_options(app, parsed, "tables of kernels");
  add_output_option(app, parsed, "file to write; - is standard output [-]");
}

void add_routing_options(CLI::App& app, Parsed& parsed) {
  RoutingArguments& routing = parsed.args.routing;
  const auto count = [&](const char* name, std::optional<int>& value, const char* help) {
    app.add_option(name, value, help)
        ->check(CLI::Range(1, 1'000'000))
        ->type_name("N")
        ->group("routing");
  };
  count("--ranks", routing.ranks, "stats: ranks the experts lie on, in blocks [8]");
  count("--nodes", routing.nodes, "stats: nodes of those ranks, in blocks [1]");
  count("--window", routing.window, "stats: steps whose loads are compared for drift [20]");
  count("--lockstep", routing.lockstep,
        "sequences advanced together; convert: to step loads [stats 64]");
  count("--steps", routing.steps, "tokens of each of them [200]");
  app.add_flag("--with-loops", routing.with_loops, "stats: repetition loops, too")
      ->group("routing");
  app.add_option("--codec", routing.codec,
                 "of an MRT file that is written: zstd, zlib or none [zstd]")
      ->check(CLI::IsMember({"zstd", "zlib", "none"}))
      ->type_name("NAME")
      ->group("routing");
  app.add_option("--level", routing.level, "of its codec, 1 to 22 or, of zlib, 1 to 9 [3]")
      ->check(CLI::Range(1, 22))
      ->type_name("N")
      ->group("routing");
  app.add_option("--map", routing.map,
                 "convert: experts in the slots of a trace of stored copies, JSON [layer][slot]")
      ->type_name("FILE")
      ->group("routing");
  app.add_option("--redundant-experts", routing.redundant,
                 "place: redundant experts EPLB may use, one or more [none, one a rank]")
      ->check(CLI::Range(0, 4096))
      ->type_name("N")
      ->group("routing");
  add_output_option(app, parsed,
                    "file to write: .mrt, .jsonl or .csv; - is text on standard output");
}

void add_generate_options(CLI::App& app, Parsed& parsed) {
  RoutingArguments& routing = parsed.args.routing;
  const char* const group = "generate";
  const auto text = [&](const char* name, std::optional<std::string>& value, const char* help) {
    app.add_option(name, value, help)->type_name("NAME")->group(group);
  };
  const auto count = [&](const char* name, std::optional<int>& value, int most, const char* help) {
    app.add_option(name, value, help)->check(CLI::Range(0, most))->type_name("N")->group(group);
  };
  text("--kind", routing.kind, "as routing.kind of a scenario");
  app.add_option("--set", parsed.sets,
                 "a field of the kind, e.g. exponent=0.7; place: a scenario key (repeatable)")
      ->allow_extra_args(false)
      ->type_name("NAME=VALUE")
      ->group(group);
  app.add_option("--seed", parsed.seed, "of all draws [1]; place: the scenario's")
      ->type_name("N")
      ->group(group);
  text("--model", routing.model, "layers, experts, top-k and groups of a model");
  count("--layers", routing.layers, 1000, "MoE layers, instead of a model");
  count("--experts", routing.experts, 4096, "experts of a layer");
  count("--top-k", routing.top_k, 64, "experts of a token");
  count("--groups", routing.groups, 4096, "groups of experts, for group-limited choice [0]");
  count("--topk-groups", routing.topk_groups, 4096, "groups that a token keeps");
  count("--sequences", routing.sequences, 10'000'000, "sequences to make [64]");
  count("--tokens", routing.tokens, 10'000'000, "output tokens of each [256]");
  count("--prompt-tokens", routing.prompt_tokens, 10'000'000, "prompt tokens of each [0]");
}

void add_fit_options(CLI::App& app, Parsed& parsed) {
  app.add_option("--system", parsed.args.system, "system the samples were measured on")
      ->required()
      ->type_name("NAME")
      ->group("fit");
  app.add_option("--kernels", parsed.args.kernels,
                 "framework and version, e.g. vllm-0.24 [as the samples say]")
      ->type_name("NAME")
      ->group("fit");
  add_origin_options(app, parsed, "fit");
  app.add_option("--notes", parsed.args.notes, "a sentence for the profile")
      ->type_name("TEXT")
      ->group("fit");
  app.add_option("--report", parsed.args.report, "errors by curve, Markdown")
      ->type_name("FILE")
      ->group("output");
  app.add_option("-o,--out", parsed.out, "profile to write; - is standard output")
      ->type_name("FILE")
      ->group("output");
}

void add_validate_options(CLI::App& app, Parsed& parsed) {
  app.add_option("--json", parsed.json, "also write the JSON here; - is standard output")
      ->type_name("FILE")
      ->group("output");
  app.add_option("--markdown", parsed.args.markdown, "also write a section of ACCURACY.md here")
      ->type_name("FILE")
      ->group("output");
  app.add_option("--save-dir", parsed.save_dir, "write validation.json and validation.html here")
      ->type_name("DIR")
      ->group("output");
}

}  // namespace moesim
