#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "sim/report/number_text.h"
#include "sim/report/report.h"
#include "sim/report/text_parts.h"

namespace moesim {
namespace {

constexpr std::size_t kTopTerms = 6;

std::string optional_number(const std::optional<double>& value) {
  return value ? short_number(*value) : "-";
}

void write_throughput(const RunResult& result, std::ostream& out) {
  const SummarySection& s = result.summary;
  row(out, "requests",
      fmt::format("{} completed, {} failed in {} s", s.completed, s.failed,
                  short_number(s.duration)));
  if (s.output_throughput) {
    row(out, "throughput",
        fmt::format(
            "{} requests/s, {} output tokens/s ({} per GPU, {} per user), {} tokens/s in all",
            optional_number(s.request_throughput), optional_number(s.output_throughput),
            optional_number(s.output_throughput_per_gpu),
            optional_number(s.output_token_throughput_per_user),
            optional_number(s.total_token_throughput)));
  }
  const SaturationSection& load = result.saturation;
  std::string text = to_text(load.verdict);
  if (load.offered_rps) {
    text += fmt::format(": {} requests/s offered", short_number(*load.offered_rps));
    if (load.completed_rps)
      text += fmt::format(", {} completed", short_number(*load.completed_rps));
  }
  if (load.verdict == Verdict::kOverloaded && load.latency_trend.value_or(0) > 0)
    text += fmt::format("; waiting grows by {} s a second", short_number(*load.latency_trend));
  if (load.still_queued + load.still_running > 0)
    text +=
        fmt::format("; {} queued and {} running at the end", load.still_queued, load.still_running);
  if (load.dropped_unservable > 0)
    text += fmt::format("; {} dropped as longer than max_model_len", load.dropped_unservable);
  row(out, "load", text);
}

void write_latency(const LatencySection& latency, std::ostream& out) {
  out << fmt::format("\n{:<17} {:>10} {:>10} {:>10} {:>10}\n", "milliseconds", "mean", "p50", "p90",
                     "p99");
  const auto line = [&out](const char* name, const std::optional<Summary>& summary) {
    if (!summary) return;
    out << fmt::format("{:<17} {:>10} {:>10} {:>10} {:>10}\n", name, short_number(summary->mean),
                       short_number(summary->p50), short_number(summary->p90),
                       short_number(summary->p99));
  };
  line("TTFT", latency.time_to_first_token);
  line("TPOT", latency.time_per_output_token);
  line("ITL", latency.inter_token_latency);
  line("end to end", latency.request_latency);
  line("queued", latency.queue_time);
  out << '\n';
}

/// Targets that a request meets or not.
std::string targets_text(const SloSpec& slo) {
  std::vector<std::string> parts;
  const auto add = [&parts](const char* name, const std::optional<double>& ms) {
    if (ms) parts.push_back(fmt::format("{} {:.6g} ms", name, *ms));
  };
  add("TTFT", slo.ttft_ms);
  add("TPOT", slo.tpot_ms);
  add("end to end", slo.e2el_ms);
  return fmt::format("{}", fmt::join(parts, ", "));
}

void write_slo_and_cost(const RunResult& result, std::ostream& out) {
  if (result.slo) {
    const SloSection& slo = *result.slo;
    if (slo.attainment_ratio)
      row(out, "SLO",
          fmt::format("{} of requests within {} (asked: {:.6g} %); goodput {} requests/s",
                      percent(*slo.attainment_ratio), targets_text(slo.targets),
                      slo.targets.percentile, optional_number(slo.goodput_rps)));
    if (slo.itl_attainment_ratio)
      row(out, slo.attainment_ratio ? "" : "SLO",
          fmt::format("{} of gaps between tokens within ITL {:.6g} ms (asked: {:.6g} %)",
                      percent(*slo.itl_attainment_ratio), *slo.targets.itl_ms,
                      slo.targets.percentile));
  }
  if (result.cost) {
    row(out, "cost",
        fmt::format("{} USD an hour, {} USD per million output tokens",
                    short_number(result.cost->usd_per_hour),
                    optional_number(result.cost->usd_per_million_output_tokens)));
  }
}

void write_utilization(const UtilizationSection& u, std::ostream& out) {
  std::string text = fmt::format("GPU {}, {} running, {} waiting", percent(u.busy_ratio),
                                 short_number(u.running_mean), short_number(u.waiting_mean));
  if (u.kv_usage_mean_ratio && u.kv_usage_peak_ratio) {
    text += fmt::format(", KV {} (peak {})", percent(*u.kv_usage_mean_ratio),
                        percent(*u.kv_usage_peak_ratio));
  }
  if (u.prefix_cache_hit_ratio.value_or(0) > 0)
    text += fmt::format(", prefix hits {}", percent(*u.prefix_cache_hit_ratio));
  if (u.preemptions > 0) text += fmt::format(", {} preemptions", u.preemptions);
  row(out, "in use, mean", text);
}

/// Terms by their share of all step time, largest first.
std::vector<std::size_t> top_terms(const std::vector<PhaseBreakdown>& phases) {
  std::array<double, kTermCount> total{};
  for (const PhaseBreakdown& phase : phases) {
    for (std::size_t i = 0; i < total.size(); ++i)
      total[i] += phase.term_ms[i] * static_cast<double>(phase.steps);
  }
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < total.size(); ++i) {
    if (total[i] > 0) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return total[a] > total[b]; });
  if (order.size() > kTopTerms) order.resize(kTopTerms);
  return order;
}

void write_breakdown(const std::vector<PhaseBreakdown>& phases, std::ostream& out) {
  if (phases.empty()) return;
  const auto line = [&](const std::string& name, auto&& cell) {
    out << fmt::format("{:<17}", name);
    for (const PhaseBreakdown& phase : phases) out << fmt::format(" {:>10}", cell(phase));
    out << '\n';
  };
  out << '\n';
  line("mean step, ms", [](const PhaseBreakdown& phase) { return phase.phase; });
  line("share of time", [](const PhaseBreakdown& phase) { return percent(phase.time_share); });
  line("step time", [](const PhaseBreakdown& phase) { return short_number(phase.step_time_ms); });
  for (const std::size_t term : top_terms(phases)) {
    line(fmt::format("  {}", term_name(static_cast<Term>(term))),
         [term](const PhaseBreakdown& phase) { return short_number(phase.term_ms[term]); });
  }
  // What runs beside something else is in two terms above; without this line they exceed the step.
  constexpr auto kBeside = static_cast<std::size_t>(Term::kOverlapped);
  const bool any = std::ranges::any_of(
      phases, [](const PhaseBreakdown& phase) { return phase.term_ms[kBeside] < 0; });
  if (any) {
    line(fmt::format("  {}", term_name(Term::kOverlapped)),
         [](const PhaseBreakdown& phase) { return short_number(phase.term_ms[kBeside]); });
  }
  line("cpu gap", [](const PhaseBreakdown& phase) { return short_number(phase.cpu_gap_ms); });
}

/// Intervals of the numbers people quote, and the family that widens the first of them most.
void write_intervals(const UncertaintySection& section, std::ostream& out) {
  std::vector<std::string> parts;
  const HeadlineInterval* widest = nullptr;
  for (const auto& [headline, label] :
       {std::pair<std::string, std::string>{"mean_ttft_ms", "mean TTFT {} to {} ms"},
        {"mean_tpot_ms", "mean TPOT {} to {} ms"},
        {"output_throughput", "{} to {} output tokens/s"}}) {
    for (const HeadlineInterval& interval : section.intervals) {
      if (interval.headline != headline) continue;
      parts.push_back(
          fmt::format(fmt::runtime(label), short_number(interval.p10), short_number(interval.p90)));
      if (headline == "mean_tpot_ms") widest = &interval;
    }
  }
  if (parts.empty()) return;
  std::string text = fmt::format("{}", fmt::join(parts, ", "));
  if (widest != nullptr && !widest->drivers.empty())
    text += fmt::format("; TPOT mostly by {} ({})", widest->drivers.front().name,
                        percent(widest->drivers.front().share));
  row(out, "P10 to P90", text);
}

/// "a100_sxm/vllm-0.14; norm, sampler from rtx_4090/vllm-0.19": whose curves, what was borrowed.
std::string kernel_profiles(const std::vector<KernelOrigin>& kernels) {
  std::vector<std::string> parts;
  std::vector<std::pair<std::string, std::vector<std::string>>> borrowed;  // profile, operators
  for (const KernelOrigin& origin : kernels) {
    if (!origin.donor) {
      if (std::ranges::find(parts, origin.profile) == parts.end()) parts.push_back(origin.profile);
      continue;
    }
    auto from = std::ranges::find(borrowed, origin.profile, [](const auto& b) { return b.first; });
    if (from == borrowed.end()) from = borrowed.insert(from, {origin.profile, {}});
    const std::string& name = origin.op == "stream" ? origin.kernel : origin.op;
    if (std::ranges::find(from->second, name) == from->second.end()) from->second.push_back(name);
  }
  for (const auto& [profile, names] : borrowed)
    parts.push_back(fmt::format("{} from {}", fmt::join(names, ", "), profile));
  return fmt::format("{}", fmt::join(parts, "; "));
}

void write_origin(const RunResult& result, std::ostream& out) {
  if (!result.provenance.empty()) {
    std::vector<std::string> parts;
    for (const auto& [name, share] : result.provenance)
      parts.push_back(fmt::format("{} {}", name, percent(share)));
    out << '\n';
    row(out, "times are", fmt::format("{}", fmt::join(parts, ", ")));
    if (!result.kernels.empty()) row(out, "kernels", kernel_profiles(result.kernels));
  }
  if (result.uncertainty) write_intervals(*result.uncertainty, out);
  const SimulatorSection& s = result.simulator;
  row(out, "simulated",
      fmt::format("{} steps in {} s; seed {}, digest {:016x}",
                  short_number(static_cast<double>(s.steps)), short_number(s.wall_time_ms * 1e-3),
                  result.seed, result.digest));
}

/// How even the experts' load was, and who was waited for; nothing for balanced cards of one.
void write_experts(const MoeSection& moe, std::ostream& out) {
  if (moe.ranks <= 1) return;
  double p99 = 0;
  for (const MoeLayerReport& layer : moe.layers) p99 = std::max(p99, layer.rank_imbalance_p99);
  std::string text = fmt::format(
      "{} over {} ranks, {} routing ({}): the fullest rank has {} times the mean "
      "(over steps {}, p99 {})",
      moe.placement.empty() ? "cut" : moe.placement, moe.ranks, moe.routing, moe.fidelity,
      short_number(moe.rank_imbalance_by_tokens()), short_number(moe.mean_rank_imbalance()),
      short_number(p99));
  if (moe.straggler && moe.straggler->over_fair() > 2) {
    const MoeStraggler& s = *moe.straggler;
    text += fmt::format(
        "; rank {}{} is last in {} of layers, expert {} of layer {} has {} times the "
        "mean load",
        s.rank, s.instance.empty() ? "" : " of instance " + s.instance, percent(s.share_ratio),
        s.expert, s.layer, short_number(s.expert_load_ratio));
  }
  row(out, "experts", text);
  if (moe.all_to_all_bytes() > 0) {
    std::string sent =
        fmt::format("{} KB a token and MoE layer", short_number(moe.all_to_all_bytes() * 1e-3));
    if (const double between = moe.all_to_all_bytes_between_nodes(); between > 0)
      sent += fmt::format(", {} KB of it between nodes", short_number(between * 1e-3));
    row(out, "all-to-all", sent);
  }
  if (moe.rebalances.empty()) return;
  const MoeRebalance& last = moe.rebalances.back();
  row(out, "EPLB",
      fmt::format("{} rebalances, the last moved {} GB in {} ms: fullest rank {} "
                  "before, {} planned{}",
                  moe.rebalances.size(), short_number(last.moved_bytes * 1e-9),
                  short_number(last.copy_ms), short_number(last.imbalance_before),
                  short_number(last.imbalance_after),
                  last.imbalance_next ? ", " + short_number(*last.imbalance_next) + " since" : ""));
}

/// How far draws of steps are from the steps themselves, as the run itself has measured.
void write_sampled_error(const MoeSection& moe, std::ostream& out) {
  if (!moe.sampled_error) return;
  const auto value = [](const MoeSampledError::Value& one) {
    return fmt::format("{:+.2f} +- {:.2f} %", 100 * one.mean, 100 * one.standard_error);
  };
  const MoeSampledError& error = *moe.sampled_error;
  std::string text = fmt::format("against exact counts of {} steps: active experts {}", error.steps,
                                 value(error.active_experts));
  if (moe.ranks > 1) text += fmt::format(", fullest rank {}", value(error.rank_imbalance));
  row(out, "sampled", text + fmt::format(", time of experts {}", value(error.expert_time)));
}

/// What experts outside the GPU cost.
void write_offload(const MoeOffload& offload, std::ostream& out) {
  std::string text = fmt::format(
      "{} of the experts resident ({}), the others in {} memory: {} of uses find theirs on the GPU",
      percent(offload.resident_fraction), offload.policy, offload.tier, percent(offload.hit_ratio));
  if (offload.ahead_ratio)
    text +=
        fmt::format(", {} of the rest are guessed a layer before", percent(*offload.ahead_ratio));
  if (offload.cpu)
    text += fmt::format(", {} the CPU computes, {} ms a step", percent(offload.cpu->ratio),
                        short_number(offload.cpu->ms_per_step));
  text += fmt::format("; {} GB copied, {} ms a step", short_number(offload.bytes_copied * 1e-9),
                      short_number(offload.copy_ms_per_step));
  row(out, "offload", text);
}

/// What a capacity factor refused; nothing for dropless models.
void write_capacity(const MoeSection& moe, std::ostream& out) {
  if (!moe.capacity_factor) return;
  double dropped = 0, moved = 0, padding = 0, none = 0, slots = 0, tokens = 0;
  for (const MoeLayerReport& layer : moe.layers) {
    slots += layer.assignments;
    tokens += layer.tokens;
    dropped += layer.dropped_ratio * layer.assignments;
    moved += layer.moved_ratio * layer.assignments;
    padding += layer.padding_ratio * layer.assignments;
    none += layer.tokens_with_none_ratio * layer.tokens;
  }
  if (slots == 0) return;
  if (!moe.experts_per_token_ratio.empty()) {
    row(out, "expert choice",
        fmt::format("factor {}: a token gets 0 to {} experts, {} on average; {} of tokens have "
                    "none",
                    short_number(*moe.capacity_factor), moe.experts_per_token_ratio.size() - 1,
                    short_number(slots / tokens), percent(none / tokens)));
    return;
  }
  std::string text = fmt::format("factor {}: {} of slots dropped, {} of tokens have none left",
                                 short_number(*moe.capacity_factor), percent(dropped / slots),
                                 percent(none / tokens));
  if (moved > 0) text += fmt::format(", {} moved to a next choice", percent(moved / slots));
  if (padding > 0)
    text += fmt::format(", {} more rows computed for nobody", percent(padding / slots));
  row(out, "capacity", text);
}

/// The limits that decide most, and where those come from that are not defaults; report.json has
/// all.
void write_engine(const std::vector<ResolvedOption>& resolved, std::ostream& out) {
  // Each engine has its own names for the same four.
  constexpr std::array<const char*, 12> kKeys{
      "max_model_len",          "context_length",       "max_seq_len",
      "max_num_seqs",           "max_running_requests", "max_batch_size",
      "max_num_batched_tokens", "chunked_prefill_size", "max_num_tokens",
      "gpu_memory_utilization", "mem_fraction_static",  "free_gpu_memory_fraction"};
  std::vector<std::string> parts;
  for (const char* key : kKeys) {
    const auto found = std::find_if(
        resolved.begin(), resolved.end(),
        [&](const ResolvedOption& option) { return option.key == fmt::format("engine.{}", key); });
    if (found == resolved.end()) continue;
    const std::string from = found->source == "default" ? "" : fmt::format(" ({})", found->source);
    parts.push_back(fmt::format("{} {}{}", key, found->value, from));
  }
  if (!parts.empty()) row(out, "engine", fmt::format("{}\n", fmt::join(parts, ", ")));
}

}  // namespace

void write_text(const RunResult& result, std::ostream& out) {
  const bool mixed = engine_names(result.instances).size() > 1;  // told with the layout
  out << fmt::format("{}: {}{} on {}\n\n", result.name, result.model.id,
                     mixed ? "" : fmt::format(", {} {}", result.backend, result.backend_version),
                     layout_text(result.nodes, result.instances));
  write_engine(result.resolved, out);
  if (!result.warnings.empty() && result.warnings.front().starts_with("interrupted"))
    out << result.warnings.front() << "\n\n";
  write_throughput(result, out);
  write_latency(result.latency, out);
  write_slo_and_cost(result, out);
  write_memory_rows(result.memory, out);
  write_utilization(result.utilization, out);
  if (result.moe) {
    write_experts(*result.moe, out);
    write_sampled_error(*result.moe, out);
    write_capacity(*result.moe, out);
    if (result.moe->offload) write_offload(*result.moe->offload, out);
  }
  write_breakdown(result.breakdown, out);
  write_origin(result, out);
  write_warnings(result.warnings, out);
}

}  // namespace moesim
