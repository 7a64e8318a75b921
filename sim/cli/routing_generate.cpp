#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/hf_config.h"
#include "models/model.h"
#include "scenarios/expert_routing.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"
#include "sim/cli/exit_codes.h"
#include "sim/cli/routing.h"

namespace moesim {
namespace {

/// Whom the tokens are for.
struct Target {
  RoutingShape shape;
  std::string model;
  std::vector<int> layer_ids;
  int shared_experts = 0;
};

Target target_of_model(const std::string& id) {
  const ModelSpec model = load_model(id, "", {"--model", 0, 0});
  Target target;
  target.shape = routing_shape(model);
  target.model = model.id;
  if (target.shape.layers == 0)
    throw UsageError(fmt::format("routing generate: --model {} has no experts", id));
  for (std::size_t l = 0; l < model.layers.size(); ++l) {
    if (model.layers[l].moe) target.layer_ids.push_back(static_cast<int>(l));
  }
  return target;
}

void check_shape(const RoutingShape& shape) {
  if (shape.top_k < 1 || shape.top_k > shape.experts)
    throw UsageError(fmt::format("routing generate: a token cannot choose {} of {} experts",
                                 shape.top_k, shape.experts));
  if (shape.groups == 0 && shape.topk_groups == 0) return;
  if (shape.groups == 0)
    throw UsageError("routing generate: --topk-groups has no effect without --groups");
  const bool even = shape.experts % shape.groups == 0;
  if (!even || shape.topk_groups < 1 || shape.topk_groups > shape.groups ||
      shape.experts / shape.groups * shape.topk_groups < shape.top_k)
    throw UsageError(fmt::format(
        "routing generate: --groups {} --topk-groups {}: groups of equal size that hold top-k "
        "experts are needed",
        shape.groups, shape.topk_groups));
}

Target target_of(const RoutingArguments& args) {
  const bool own = args.layers || args.experts || args.top_k || args.groups || args.topk_groups;
  if (args.model && own)
    throw UsageError(
        "routing generate: --model says layers, experts, top-k and groups; give one or the other");
  if (args.model) return target_of_model(*args.model);
  if (!args.layers || !args.experts || !args.top_k)
    throw UsageError("routing generate: give --model, or --layers, --experts and --top-k");
  Target target;
  target.shape = {*args.layers, *args.experts, *args.top_k, args.groups.value_or(0),
                  args.topk_groups.value_or(0)};
  if (*args.layers == 0) throw UsageError("routing generate: --layers 0 leaves nothing to route");
  return target;
}

/// The kind's section, as a scenario would have it.
Document section_of(const Arguments& args) {
  if (!args.routing.kind)
    throw UsageError("routing generate: --kind is missing; moesim list generators shows them");
  Document section = Document::parse("{}", "--kind");
  section.set("kind", *args.routing.kind, {"--kind", 0, 0});
  for (const Override& change : args.overrides) {
    if (change.path != "seed") section.set(change.path, change.value, {change.origin, 0, 0});
  }
  return section;
}

/// With the range of a scenario's.
std::uint64_t read_seed(const Arguments& args, Diagnostics& diagnostics) {
  Document given = Document::parse("{}", "--seed");
  for (const Override& change : args.overrides) {
    if (change.path == "seed") given.set("seed", change.value, {change.origin, 0, 0});
  }
  Reader in(given, diagnostics);
  return static_cast<std::uint64_t>(in.integer_or("seed", 1, {.min = 0, .max = 9.2e18}));
}

/// Fields of kinds that say when, or how rows are replayed: a trace is rows alone, those of the
/// start.
struct LaterField {
  const char* name;
  const char* problem;
};
constexpr std::array kLater{
    LaterField{"drift", "has no effect: rows of a trace have no time, and loads are those of 0 s"},
    LaterField{"mode", "has no effect: it says how rows are replayed"},
    LaterField{"replace", "has no effect: it says how rows are replayed"},
    LaterField{"order", "has no effect: it says how steps are replayed"},
    LaterField{"scaling", "has no effect: it says how steps are replayed"},
};

/// Requests are drawn by the mix when a trace is replayed; a trace has its domains alike.
void refuse_mix(Reader& in) {
  bool named = in.is_map("domain_mix") && in.text_or("kind", "") != "trace";
  if (named) {
    Reader mix = in.map("domain_mix");
    for (const std::string& name : mix.keys())
      named = named && mix.number(name, {}) == mix.number(mix.keys().front(), {});
  }
  if (in.has("domain_mix") && !named)
    in.fail("domain_mix", "has no effect: requests are drawn by it when the trace is replayed",
            "leave it out; equal shares name the domains of latent_logit");
}

void refuse_later_fields(Reader& in) {
  for (const LaterField& field : kLater) {
    if (in.has(field.name))
      in.fail(field.name, field.problem, "leave it out; scenarios that replay the trace have it");
  }
  if (in.has("from_s") && in.number("from_s", {}) > 0)
    in.fail("from_s", "has no effect: rows of a trace have no time, and none would be hot",
            "leave it out for heat in all rows");
  refuse_mix(in);
  if (!in.is_map("base")) return;
  Reader base = in.map("base");
  refuse_later_fields(base);
}

std::unique_ptr<ExpertRouting> read_kind(const Document& section, Diagnostics& diagnostics) {
  Reader in(section, diagnostics);
  const std::size_t before = diagnostics.size();
  std::unique_ptr<ExpertRouting> routing = read_expert_routing(in);
  in.reject_unknown_keys();
  if (diagnostics.size() == before) refuse_later_fields(in);
  return routing;
}

TableSize size_of(const RoutingArguments& args) {
  TableSize size;
  size.sequences = args.sequences.value_or(size.sequences);
  size.decode_rows = args.tokens.value_or(size.decode_rows);
  size.prompt_rows = args.prompt_tokens.value_or(size.prompt_rows);
  if (size.sequences < 1 || size.prompt_rows + size.decode_rows < 1)
    throw UsageError("routing generate: no tokens are asked for");
  return size;
}

/// A recording has its own sequences, whatever is asked for.
void check_layout(const RoutingTable& table, const TableSize& size, const Arguments& args) {
  const auto as_asked = [&](const RoutedSequence& one) {
    return one.prompt_rows == static_cast<std::uint32_t>(size.prompt_rows) &&
           one.rows - one.prompt_rows == static_cast<std::uint32_t>(size.decode_rows);
  };
  if (table.sequences.size() == static_cast<std::size_t>(size.sequences) &&
      std::ranges::all_of(table.sequences, as_asked))
    return;
  for (const char* const option : {"sequences", "tokens", "prompt-tokens"}) {
    if (std::ranges::find(args.given, option) != args.given.end())
      throw UsageError(fmt::format(
          "routing generate: --{} has no effect: the recorded trace has its own sequences",
          option));
  }
}

}  // namespace

int routing_generate_command(const Arguments& args) {
  const std::filesystem::path out = routing_output(args);
  const Target target = target_of(args.routing);
  check_shape(target.shape);
  const TableSize size = size_of(args.routing);
  const Document section = section_of(args);
  Diagnostics diagnostics;
  const std::uint64_t seed = read_seed(args, diagnostics);
  const std::unique_ptr<ExpertRouting> routing = read_kind(section, diagnostics);
  diagnostics.throw_if_any();
  routing->check(target.shape);
  RoutingTable table = routing->table(target.shape, size, seed, 0);
  check_layout(table, size, args);
  table.check_all_rows();
  table.model = target.model;
  table.layer_ids = target.layer_ids;
  const nlohmann::ordered_json about = {
      {"source", "moesim routing generate"},
      {"routing", nlohmann::ordered_json::parse(section.to_json())},
      {"seed", seed}};
  table.metadata = about.dump();
  if (out.extension() != ".csv") {
    write_routing_trace(std::move(table), out, args.routing);
    return kExitOk;
  }
  if (size.decode_rows == 0)
    throw UsageError("routing generate: a CSV holds steps of output tokens; --tokens is 0");
  write_routing_trace(lockstep_loads(table, size.sequences, size.decode_rows), out, args.routing);
  return kExitOk;
}

}  // namespace moesim
