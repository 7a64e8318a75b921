#pragma once

#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "scenarios/scenario.h"

namespace moesim {

/// The command line is wrong: exit code 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class OutputFormat { kTable, kJson };

/// Options of `moesim routing`; each verb takes some of them (sim/cli/routing.h).
struct RoutingArguments {
  std::optional<int> ranks, nodes;                      ///< stats: where experts lie
  std::optional<int> window;                            ///< stats: steps of a window of drift
  std::optional<std::string> kind, model;               ///< generate
  std::optional<int> layers, experts, top_k;            ///< generate: without a model
  std::optional<int> groups, topk_groups;               ///< generate: likewise
  std::optional<int> sequences, tokens, prompt_tokens;  ///< generate
  std::optional<int> lockstep, steps;  ///< stats, convert: sequences together, tokens of each
  std::optional<std::string> codec;    ///< convert, generate: of an MRT file
  std::optional<int> level;            ///< convert, generate: of the codec
  std::optional<std::string> map;      ///< convert: logical experts of physical ones
  bool with_loops = false;             ///< stats: repetition loops, too
  std::vector<int> redundant;          ///< place: redundant experts to try
};

/// A command line, read but not yet acted on.
struct Arguments {
  std::string command;
  std::vector<std::string> inputs;  ///< positional arguments
  std::vector<Override> overrides;  ///< engine and load flags, then --set, then --seed
  OutputFormat format = OutputFormat::kTable;
  std::optional<std::filesystem::path> save_dir;
  std::optional<std::string> out;       ///< -o: one output file
  std::string system, kernels;          ///< fit: of the samples; "h100_sxm", "vllm-0.24"
  std::string date, notes;              ///< fit: for the profile's provenance
  std::vector<std::string> sources;     ///< fit: "repository,commit,licence"
  std::optional<std::string> report;    ///< fit: errors by curve, Markdown
  std::optional<std::string> json;      ///< --json: the result as JSON, whatever is printed
  std::optional<std::string> markdown;  ///< --markdown: the same as a section of a page
  bool strict = false, check = false, per_request = false, timeline = false, quiet = false;
  int jobs = 1;
  RoutingArguments routing;
  std::vector<std::string> given;  ///< options on the command line, without dashes
};

/// --help or --version: text for standard output.
struct Information {
  std::string text;
};

/// Throws UsageError with what is wrong and a hint.
[[nodiscard]] std::variant<Arguments, Information> parse_arguments(int argc,
                                                                   const char* const* argv);

}  // namespace moesim
