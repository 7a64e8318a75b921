#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "scenarios/routing_stats.h"
#include "scenarios/routing_step_stats.h"
#include "scenarios/routing_trace.h"
#include "sim/cli/args.h"

namespace moesim {

// What `moesim routing VERB FILE` does, one function a verb: sim/cli/routing.cpp has the table.
// They return an exit code and throw InputError or UsageError; args.inputs holds the verb, then its
// arguments.
[[nodiscard]] int routing_stats_command(const Arguments& args);
[[nodiscard]] int routing_convert_command(const Arguments& args);
[[nodiscard]] int routing_generate_command(const Arguments& args);
[[nodiscard]] int routing_place_command(const Arguments& args);

/// The file that -o names, after a look at its ending: .mrt, .jsonl or .csv.
[[nodiscard]] std::filesystem::path routing_output(const Arguments& args);
/// Writes a trace as its ending says. Throws UsageError if that cannot hold it.
void write_routing_trace(const RoutingTrace& trace, const std::filesystem::path& path,
                         const RoutingArguments& args);

/// Says on standard error that a batch is smaller than --lockstep asks for.
void warn_of_batch(const Arguments& args, const StepLoads& loads, int steps);

/// Sequences a batch is made of, and tokens of each, unless the command line says otherwise: as in
/// the statistics published with the real trace.
inline constexpr int kLockstepSequences = 64, kLockstepSteps = 200;

/// Everything `moesim routing stats` tells of a trace.
struct RoutingDescription {
  std::string file, model;
  RoutingShape shape;
  int ranks = 0, nodes = 0, window = 0;
  std::optional<RoutingStats> tokens;      ///< of a per-token trace, with
  ReachStats reach, node_reach;            ///< how many ranks and nodes a token reaches
  std::vector<std::vector<double>> loads;  ///< [layer][expert] of all rows or steps
  std::size_t batch = 0;                   ///< sequences in lockstep; 0: recorded steps
  std::optional<StepStats> steps;          ///< none without output tokens
  std::vector<Drift> drift;
};
[[nodiscard]] std::string routing_table_text(const RoutingDescription& description);
[[nodiscard]] std::string routing_json_text(const RoutingDescription& description);

}  // namespace moesim
