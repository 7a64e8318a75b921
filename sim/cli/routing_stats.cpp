#include <algorithm>
#include <fmt/format.h>
#include <iostream>
#include <type_traits>
#include <utility>

#include "scenarios/group_limit.h"
#include "sim/base/diagnostic.h"
#include "sim/cli/exit_codes.h"
#include "sim/cli/routing.h"

namespace moesim {
namespace {

/// Decode rows of the longest sequence that is no repetition loop.
int longest_decode(const RoutingTable& table) {
  constexpr std::uint16_t kLoop = 2;
  std::uint32_t longest = 0;
  for (const RoutedSequence& sequence : table.sequences) {
    if ((sequence.flags & kLoop) == 0)
      longest = std::max(longest, sequence.rows - sequence.prompt_rows);
  }
  return static_cast<int>(std::min<std::uint32_t>(longest, 1'000'000));
}

/// Steps of a batch of the sequences; none if they have no output tokens.
std::optional<StepLoads> steps_of(const RoutingTable& table, const Arguments& args) {
  const int longest = longest_decode(table);
  if (longest == 0) {
    for (const char* const option : {"lockstep", "steps", "window"}) {
      if (std::find(args.given.begin(), args.given.end(), option) != args.given.end())
        throw UsageError(fmt::format(
            "routing stats: --{} has no effect: no sequence has output tokens", option));
    }
    return std::nullopt;
  }
  const int steps = args.routing.steps.value_or(std::min(kLockstepSteps, longest));
  StepLoads loads =
      lockstep_loads(table, args.routing.lockstep.value_or(kLockstepSequences), steps);
  warn_of_batch(args, loads, steps);
  return loads;
}

void describe_tokens(const RoutingTable& table, const Arguments& args, RoutingDescription& out) {
  const bool loops = args.routing.with_loops;
  out.model = table.model;
  out.shape = table.shape();
  out.tokens = routing_stats(table, loops);
  out.loads = out.tokens->counts;
  if (out.tokens->rows == 0)
    throw UsageError("routing stats: all sequences are repetition loops; --with-loops takes them");
  out.reach = reach_stats(table, linear_places(out.shape.experts, out.ranks, out.ranks), loops);
  out.node_reach = with_matrix_of(
      out.reach, reach_stats(table, linear_places(out.shape.experts, out.ranks, out.nodes), loops));
  const std::string remark = args.quiet ? "" : groups_remark(table);
  if (!remark.empty()) std::cerr << fmt::format("{}: warning: {}\n", args.inputs[1], remark);
}

int checked_ranks(const Arguments& args, const RoutingShape& shape) {
  constexpr int kDefault = 8;  // GPUs of a node of most systems
  const int ranks = args.routing.ranks.value_or(std::min(kDefault, shape.experts));
  if (ranks > shape.experts)
    throw UsageError(fmt::format("routing stats: --ranks {}: the trace has {} experts a layer",
                                 ranks, shape.experts));
  const int nodes = args.routing.nodes.value_or(1);
  if (ranks % nodes != 0)
    throw UsageError(
        fmt::format("routing stats: --nodes {} does not divide {} ranks", nodes, ranks));
  return ranks;
}

std::string row(const char* name, const Spread& spread) {
  return fmt::format("  {:<34} {:>9.4g} {:>9.4g} {:>9.4g}\n", name, spread.mean, spread.p50,
                     spread.max);
}

std::string line(const std::string& name, double value) {
  return fmt::format("  {:<34} {:>9.4g}\n", name, value);
}

std::string load_rows(const RoutingDescription& about) {
  std::vector<LoadStats> list;
  std::vector<double> ranks;
  for (const std::vector<double>& loads : about.loads) {
    list.push_back(load_stats(loads));
    ranks.push_back(max_over_mean(rank_loads(loads, about.ranks)));
  }
  const auto field = [&](double LoadStats::*member) {
    std::vector<double> values;
    values.reserve(list.size());
    for (const LoadStats& stats : list) values.push_back(stats.*member);
    return spread_of(std::move(values));
  };
  std::string text = "load by layer                              mean       p50       max\n";
  text += row("expert CV", field(&LoadStats::cv));
  text += row("expert max / mean", field(&LoadStats::max_over_mean));
  text += row("expert min / mean", field(&LoadStats::min_over_mean));
  text += row("entropy, 1 = even", field(&LoadStats::entropy_norm));
  text += row("Gini", field(&LoadStats::gini));
  text += row("share of the top 20 % experts", field(&LoadStats::top20_share));
  text += row("experts never chosen", field(&LoadStats::unused));
  text += row(fmt::format("rank max / mean, {} ranks", about.ranks).c_str(), spread_of(ranks));
  return text;
}

std::string token_rows(const RoutingStats& stats) {
  std::string text = row("auxiliary loss, 1 = even", spread_of(stats.auxiliary_loss));
  text += fmt::format("  (of {})\n", stats.loss_from_weights
                                         ? "recorded router weights"
                                         : "shares alone: no router weights recorded");
  if (stats.long_sequences > 0)
    text += row("expert CV in one sequence", spread_of(stats.sequence_cv));
  text += "\ntokens of a sequence                    overlap     first       any  (repeats)\n";
  for (const LagStats& lag : stats.lags) {
    if (lag.pairs == 0) continue;
    const std::string name = lag.lag == 1 ? "adjacent" : fmt::format("{} apart", lag.lag);
    text += row(name.c_str(),
                {mean_of(lag.overlap), mean_of(lag.first_repeat), mean_of(lag.any_repeat)});
  }
  text += line("any two of a sequence", stats.overlap_same_sequence);
  text += line("any two of the trace", stats.overlap_whole_trace);
  text += line("uniform choice", stats.overlap_uniform);
  if (!stats.next_layer_information.empty()) {
    text += "\nnext layer, from the first choice here\n";
    const double chance = mean_of(stats.next_layer_chance);
    text += line("information / entropy", mean_of(stats.next_layer_information));
    text += line("of that by chance", chance);
    text += line("best guess is right", mean_of(stats.next_layer_guess));
  }
  return text;
}

std::string reach_rows(const RoutingDescription& about) {
  const auto shares = [](const ReachStats& reach) {
    std::string text;
    for (std::size_t i = 0; i < reach.histogram.size(); ++i)
      text += fmt::format("  {}: {:.4g}", i + 1, reach.histogram[i]);
    return text;
  };
  std::string text = "\nwhere tokens go, experts in blocks          mean  (share of tokens)\n";
  text += fmt::format("  {:<34} {:>9.4g}{}\n", fmt::format("of {} ranks", about.ranks),
                      about.reach.mean, shares(about.reach));
  if (about.nodes > 1)
    text += fmt::format("  {:<34} {:>9.4g}{}\n", fmt::format("of {} nodes", about.nodes),
                        about.node_reach.mean, shares(about.node_reach));
  text += line("dispatch matrix, max row / mean", about.reach.max_row);
  text += line("dispatch matrix, max column / mean", about.reach.max_column);
  return text;
}

std::string step_rows(const RoutingDescription& about) {
  if (!about.steps) return "\nno steps: no sequence has output tokens to advance in lockstep\n";
  const StepStats& steps = *about.steps;
  const std::string title = about.batch > 0
                                ? fmt::format("{} steps of {} sequences", steps.steps, about.batch)
                                : fmt::format("{} recorded steps", steps.steps);
  std::string text = fmt::format("\n{:<36} {:>9} {:>9} {:>9}\n", title, "mean", "p50", "max");
  text += row("expert CV", steps.expert_cv);
  text += row("expert max / mean", steps.expert_max_over_mean);
  text += row("experts in use", steps.distinct);
  text +=
      row(fmt::format("rank max / mean, {} ranks", about.ranks).c_str(), steps.rank_max_over_mean);
  text += line("balancedness as SGLang logs it", steps.balancedness_sglang);
  text += line("balancedness as vLLM logs it", steps.balancedness_vllm);
  for (const Drift& drift : about.drift)
    text += line(
        fmt::format("drift over {} steps, JS", drift.lag * static_cast<std::size_t>(about.window)),
        drift.distance);
  return text;
}

std::string group_rows(const RoutingStats& stats) {
  if (stats.groups.size() < 2) return "";
  std::string text = "\ndomains                                tokens        CV   nearest  (JS)\n";
  for (std::size_t a = 0; a < stats.groups.size(); ++a) {
    std::size_t nearest = a == 0 ? 1 : 0;
    for (std::size_t b = 0; b < stats.groups.size(); ++b) {
      if (b != a && stats.group_distance[a][b] < stats.group_distance[a][nearest]) nearest = b;
    }
    text += fmt::format("  {:<32} {:>11} {:>9.4g} {:>9.4g}  {}\n", stats.groups[a].name,
                        stats.groups[a].rows, stats.groups[a].cv, stats.group_distance[a][nearest],
                        stats.groups[nearest].name);
  }
  return text;
}

RoutingDescription describe(const Arguments& args) {
  const RoutingTrace trace = read_routing_trace(args.inputs[1]);
  RoutingDescription out;
  out.file = args.inputs[1];
  out.shape = std::visit(
      [](const auto& data) {
        if constexpr (std::is_same_v<std::decay_t<decltype(data)>, RoutingTable>) {
          return data.shape();
        } else {
          return data.shape;
        }
      },
      trace);
  out.ranks = checked_ranks(args, out.shape);
  out.nodes = args.routing.nodes.value_or(1);
  constexpr int kWindow = 20;  // steps: far below a rebalancing interval, far above one token
  out.window = args.routing.window.value_or(kWindow);
  const auto summarise = [&](const StepLoads& loads) {
    out.steps = step_stats(loads, out.ranks);
    out.drift = drift_of(loads, static_cast<std::size_t>(out.window));
  };
  if (const auto* const table = std::get_if<RoutingTable>(&trace)) {
    describe_tokens(*table, args, out);
    if (const std::optional<StepLoads> loads = steps_of(*table, args)) {
      out.batch = loads->steps.front().decode_tokens;
      summarise(*loads);
    }
    return out;
  }
  for (const char* const option : {"lockstep", "steps", "with-loops", "nodes"}) {
    if (std::find(args.given.begin(), args.given.end(), option) != args.given.end())
      throw UsageError(fmt::format("routing stats: --{} has no effect on step loads", option));
  }
  const auto& loads = std::get<StepLoads>(trace);
  out.model = loads.model;
  out.loads = pooled_loads(loads);
  summarise(loads);
  return out;
}

}  // namespace

std::string routing_table_text(const RoutingDescription& about) {
  std::string text = fmt::format("{}: {}{} layers, top-{} of {} experts", about.file,
                                 about.model.empty() ? "" : about.model + ", ", about.shape.layers,
                                 about.shape.top_k, about.shape.experts);
  if (about.tokens) {
    text += fmt::format("\n{} tokens of {} sequences", about.tokens->rows, about.tokens->sequences);
    if (about.tokens->loops_left_out > 0)
      text += fmt::format("; {} repetition loops left out", about.tokens->loops_left_out);
  }
  text += "\n\n" + load_rows(about);
  if (about.tokens) text += token_rows(*about.tokens) + reach_rows(about);
  text += step_rows(about);
  if (about.tokens) text += group_rows(*about.tokens);
  return text;
}

int routing_stats_command(const Arguments& args) {
  const RoutingDescription about = describe(args);
  std::cout << (args.format == OutputFormat::kJson ? routing_json_text(about)
                                                   : routing_table_text(about));
  return kExitOk;
}

}  // namespace moesim
