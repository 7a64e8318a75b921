#include "sim/cli/routing.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fmt/format.h>
#include <iostream>
#include <utility>

#include "scenarios/routing_map.h"
#include "sim/base/diagnostic.h"
#include "sim/base/files.h"
#include "sim/cli/commands.h"
#include "sim/cli/exit_codes.h"

namespace moesim {
namespace {

struct Verb {
  const char* name;
  int (*run)(const Arguments&);
  std::size_t files;                 ///< it reads
  std::vector<std::string> options;  ///< it takes; another is a mistake
};
const std::array kVerbs{
    Verb{"stats",
         routing_stats_command,
         1,
         {"format", "ranks", "nodes", "window", "lockstep", "steps", "with-loops", "quiet"}},
    Verb{"convert",
         routing_convert_command,
         1,
         {"out", "codec", "level", "lockstep", "steps", "map", "quiet"}},
    Verb{"generate",
         routing_generate_command,
         0,
         {"out", "codec", "level", "kind", "set", "seed", "model", "layers", "experts", "top-k",
          "groups", "topk-groups", "sequences", "tokens", "prompt-tokens", "quiet"}},
    Verb{"place",
         routing_place_command,
         1,
         {"out", "format", "redundant-experts", "set", "seed", "quiet"}},
};

const Verb& find_verb(const std::string& name) {
  std::vector<std::string> known;
  for (const Verb& verb : kVerbs) {
    if (name == verb.name) return verb;
    known.emplace_back(verb.name);
  }
  throw UsageError(
      fmt::format("routing: unknown verb '{}'; {}", name, nearest_name_hint(name, known)));
}

MrtOptions mrt_options(const RoutingArguments& args) {
  MrtOptions options;
  const std::string codec = args.codec.value_or("zstd");
  options.codec = codec == "zlib"   ? MrtCodec::kZlib
                  : codec == "none" ? MrtCodec::kNone
                                    : MrtCodec::kZstd;
  if (options.codec == MrtCodec::kNone && args.level)
    throw UsageError("routing: --level has no effect without compression");
  constexpr int kMostZlib = 9;
  if (options.codec == MrtCodec::kZlib && args.level.value_or(1) > kMostZlib)
    throw UsageError(
        fmt::format("routing: --level {}: levels of zlib are 1 to {}", *args.level, kMostZlib));
  options.level = args.level.value_or(options.level);
  return options;
}

/// The trace as the content of a file with this ending.
std::string content_of(const RoutingTrace& trace, const std::string& ending,
                       const RoutingArguments& args) {
  const auto* const table = std::get_if<RoutingTable>(&trace);
  if (ending == ".mrt") {
    return std::visit([&](const auto& data) { return write_mrt(data, mrt_options(args)); }, trace);
  }
  if (args.codec || args.level) throw UsageError("routing: --codec and --level are for .mrt files");
  if (ending == ".jsonl") {
    if (table == nullptr)
      throw UsageError(
          "routing convert: step loads do not say what each token chose; write .csv or .mrt");
    return write_routing_jsonl(*table);
  }
  if (table != nullptr)
    throw UsageError(
        "routing convert: a CSV holds step loads; --lockstep N makes them from N sequences, or "
        "write .jsonl or .mrt");
  return write_routing_csv(std::get<StepLoads>(trace));
}

}  // namespace

int routing_command(const Arguments& args) {
  const Verb& verb = find_verb(args.inputs.front());
  const std::size_t files = args.inputs.size() - 1;
  if (files != verb.files)
    throw UsageError(files > verb.files ? fmt::format("routing {}: unexpected argument '{}'",
                                                      verb.name, args.inputs.back())
                                        : fmt::format("routing {}: no file given", verb.name));
  for (const std::string& option : args.given) {
    if (std::find(verb.options.begin(), verb.options.end(), option) == verb.options.end())
      throw UsageError(fmt::format("routing {}: --{} has no effect", verb.name, option));
  }
  return verb.run(args);
}

std::filesystem::path routing_output(const Arguments& args) {
  std::filesystem::path out = args.out.value_or("");
  const std::string ending = out.extension().string();
  if (out != "-" && ending != ".mrt" && ending != ".jsonl" && ending != ".csv")
    throw UsageError(
        fmt::format("routing {}: -o names the file to write; it ends in .mrt, .jsonl or .csv, or "
                    "is - for text on standard output",
                    args.inputs.front()));
  return out;
}

void write_routing_trace(const RoutingTrace& trace, const std::filesystem::path& path,
                         const RoutingArguments& args) {
  const bool tokens = std::holds_alternative<RoutingTable>(trace);
  const std::string text = tokens ? ".jsonl" : ".csv";
  write_file(path, content_of(trace, path == "-" ? text : path.extension().string(), args));
}

void warn_of_batch(const Arguments& args, const StepLoads& loads, int steps) {
  const std::uint32_t batch = loads.steps.front().decode_tokens;
  if (args.quiet || !args.routing.lockstep ||
      batch >= static_cast<std::uint32_t>(*args.routing.lockstep))
    return;
  std::cerr << fmt::format(
      "moesim: --lockstep {}: only {} sequences have {} output tokens; steps are of these\n",
      *args.routing.lockstep, batch, steps);
}

int routing_convert_command(const Arguments& args) {
  const std::filesystem::path out = routing_output(args);
  if (args.routing.steps && !args.routing.lockstep)
    throw UsageError("routing convert: --steps has no effect without --lockstep");
  RoutingTrace trace = read_routing_trace(args.inputs[1]);
  if (args.routing.map) {
    trace = to_logical(std::move(trace), args.inputs[1], *args.routing.map);
  } else if (!args.quiet && std::visit([](const auto& data) { return data.physical; }, trace)) {
    std::cerr << "moesim: the ids are of stored copies and stay so; --map FILE makes them those of "
                 "the model's experts\n";
  }
  if (const auto* const table = std::get_if<RoutingTable>(&trace)) {
    table->check_all_rows();
    if (!table->weights.empty() && out.extension() == ".mrt" && !args.quiet)
      std::cerr << "moesim: MRT has no place for router weights; they are left out\n";
    if (table->sequences_with_gaps > 0 && !args.quiet)
      std::cerr << fmt::format(
          "moesim: {} sequences leave out positions, which are not kept: their rows are written as "
          "following each other\n",
          table->sequences_with_gaps);
    if (args.routing.lockstep) {
      const int steps = args.routing.steps.value_or(kLockstepSteps);
      StepLoads loads = lockstep_loads(*table, *args.routing.lockstep, steps);
      warn_of_batch(args, loads, steps);
      trace = std::move(loads);
    }
  } else if (args.routing.lockstep) {
    throw UsageError("routing convert: --lockstep has no effect on step loads");
  }
  write_routing_trace(trace, out, args.routing);
  return kExitOk;
}

}  // namespace moesim
