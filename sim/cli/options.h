#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/cli/args.h"
#include "sim/cli/flags.h"

namespace moesim {

/// What CLI11 fills in.
struct Parsed {
  Arguments args;
  std::vector<std::string> sets;
  std::string format = "table", save_dir, out, json;
  std::optional<std::string> seed;
  FlagValues flags;
};

// The options commands share; each adds some to a command. Private to sim/cli.
void add_format(CLI::App& app, Parsed& parsed);
void add_quiet(CLI::App& app, Parsed& parsed);
void add_scenario_options(CLI::App& app, Parsed& parsed);
void add_jobs(CLI::App& app, Parsed& parsed);
void add_strict(CLI::App& app, Parsed& parsed);
void add_memory_options(CLI::App& app, Parsed& parsed);
void add_run_options(CLI::App& app, Parsed& parsed);
void add_import_options(CLI::App& app, Parsed& parsed);
void add_fit_options(CLI::App& app, Parsed& parsed);
void add_routing_options(CLI::App& app, Parsed& parsed);
void add_generate_options(CLI::App& app, Parsed& parsed);
void add_validate_options(CLI::App& app, Parsed& parsed);

}  // namespace moesim
