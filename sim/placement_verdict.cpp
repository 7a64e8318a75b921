#include "sim/placement_verdict.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace moesim {
namespace {

// Below 1 % of throughput nobody would move weights for it.
constexpr double kThroughput = 0.01;
// Latency is dearer to compare: copies take room of the KV cache, and means of one run vary with
// which requests meet.
constexpr double kLatency = 0.05;

/// Tokens per second that a placement is worth.
double worth(const PlacementStudy& study, const PlacementCandidate& one) {
  return study.prefill ? one.input_throughput : one.output_throughput;
}

const char* tokens_text(const PlacementStudy& study) {
  return study.prefill ? "input tokens/s" : "output tokens/s";
}

/// Requests of one output token have no time per token.
bool by_first_token(const PlacementStudy& study) {
  return study.prefill || !study.candidates.front().mean_tpot_ms;
}

std::optional<double> latency(const PlacementStudy& study, const PlacementCandidate& one) {
  return by_first_token(study) ? one.mean_ttft_ms : one.mean_tpot_ms;
}

bool any_keeps_up(const PlacementStudy& study, bool eplb) {
  return std::ranges::any_of(study.candidates, [&](const PlacementCandidate& one) {
    return (one.name == "eplb") == eplb && one.infeasible.empty() && one.keeps_up;
  });
}

/// The best of those that EPLB made, or of the others; none if none of them fits.
std::optional<std::size_t> best_of(const PlacementStudy& study, bool eplb) {
  const bool by_arrivals = any_keeps_up(study, false);
  const bool some = any_keeps_up(study, eplb);
  double most = 0;
  std::vector<std::size_t> members;
  for (std::size_t i = 0; i < study.candidates.size(); ++i) {
    const PlacementCandidate& one = study.candidates[i];
    if ((one.name == "eplb") != eplb || !one.infeasible.empty()) continue;
    if (by_arrivals && some && !one.keeps_up) continue;
    members.push_back(i);
    most = std::max(most, worth(study, one));
  }
  std::optional<std::size_t> best;
  for (const std::size_t i : members) {
    const PlacementCandidate& one = study.candidates[i];
    if (!by_arrivals && worth(study, one) < most * (1 - kThroughput)) continue;
    if (!best) {
      best = i;
      continue;
    }
    const PlacementCandidate& other = study.candidates[*best];
    const auto own = latency(study, one), its = latency(study, other);
    const bool better =
        own && its && *own != *its ? *own < *its : worth(study, one) > worth(study, other);
    if (better) best = i;
  }
  return best;
}

std::string percent_text(double ratio) {
  return fmt::format("{:+.1f} %", 100 * (ratio - 1));
}

std::string change_text(const std::optional<double>& own, const std::optional<double>& other,
                        const char* what) {
  if (!own || !other || *other <= 0) return "";
  return fmt::format(", {} {}", percent_text(*own / *other), what);
}

/// What EPLB's placement changes, and what moving there takes.
std::string comparison_text(const PlacementStudy& study, int step_interval, double kept) {
  const PlacementCandidate& fixed = study.candidates[*study.fixed];
  const PlacementCandidate& eplb = study.candidates[*study.eplb];
  return fmt::format(
      "EPLB with {} redundant experts gives {} {}{}{} against {}; moving there takes {:.2f} s{}",
      eplb.redundant, percent_text(worth(study, eplb) / worth(study, fixed)), tokens_text(study),
      study.prefill ? "" : change_text(eplb.mean_tpot_ms, fixed.mean_tpot_ms, "time per token"),
      change_text(eplb.mean_ttft_ms, fixed.mean_ttft_ms, "time to the first token"), fixed.name,
      eplb.move_ms * 1e-3,
      step_interval > 0 ? fmt::format(", {:.2f} % of the time at one move in {} steps",
                                      100 * (1 - kept), step_interval)
                        : "");
}

/// The measure, and why it is that one.
std::string measure_text(const PlacementStudy& study, bool by_latency) {
  const PlacementCandidate& fixed = study.candidates[*study.fixed];
  if (!by_latency)
    return fmt::format(". Judged by {}, which must rise by {:g} %", tokens_text(study),
                       100 * kThroughput);
  const std::string by = fmt::format(
      ". Judged by {}, which must fall by {:g} %: ",
      by_first_token(study) ? "time to the first token" : "time per token", 100 * kLatency);
  if (!fixed.keeps_up)
    return by + fmt::format("throughput differs by less than {:g} %", 100 * kThroughput);
  const std::string text =
      by + fmt::format("the load leaves capacity unused, {} keeps up with it, and ", fixed.name) +
      "throughput is what arrives and how the last requests end";
  return study.candidates[*study.eplb].keeps_up ? text
                                                : text + "; EPLB's placement does not keep up";
}

/// What would be if the load were more than either serves.
std::string saturated_text(const PlacementStudy& study, double kept) {
  const auto& own = study.candidates[*study.eplb].saturated_throughput;
  const auto& other = study.candidates[*study.fixed].saturated_throughput;
  if (!own || !other || *other <= 0) return "";
  const bool pays = *own / *other * kept > 1 + kThroughput;
  return fmt::format(". With all requests there at once: {} {} ({:.0f} to {:.0f}){}",
                     percent_text(*own / *other), tokens_text(study), *other, *own,
                     pays == study.pays ? ""
                     : pays             ? ", where EPLB would pay"
                                        : ", where EPLB would not pay");
}

}  // namespace

void choose(PlacementStudy& study) {
  study.fixed = best_of(study, false);
  study.eplb = best_of(study, true);
}

void judge(PlacementStudy& study, int step_interval) {
  study.best = study.fixed.value_or(study.eplb.value_or(0));
  if (!study.fixed || !study.eplb) {
    study.verdict = "EPLB cannot be compared: a placement does not fit";
    return;
  }
  const PlacementCandidate& fixed = study.candidates[*study.fixed];
  const PlacementCandidate& eplb = study.candidates[*study.eplb];
  if (worth(study, fixed) <= 0) {
    study.verdict = "EPLB cannot be compared: no request was completed";
    return;
  }
  // An interval of 0: experts are where they are from the start.
  const double interval_s = step_interval * eplb.step_ms * 1e-3;
  const double kept = interval_s > 0 ? interval_s / (interval_s + eplb.move_ms * 1e-3) : 1;
  const double gain = worth(study, eplb) / worth(study, fixed);
  const auto own = latency(study, eplb), other = latency(study, fixed);
  const bool timed = own && other && *other > 0;
  const bool by_latency = timed && (fixed.keeps_up || std::abs(gain - 1) <= kThroughput);
  if (by_latency) {
    const bool held = eplb.keeps_up || !fixed.keeps_up;
    study.pays = held && *own / *other / kept < 1 - kLatency;
    study.judged_by = by_first_token(study) ? "mean_ttft_ms" : "mean_tpot_ms";
  } else {
    study.pays = gain * kept > 1 + kThroughput;
    study.judged_by = study.prefill ? "input_throughput" : "output_throughput";
  }
  if (study.pays) study.best = *study.eplb;
  study.verdict = (study.pays ? "EPLB pays: " : "EPLB does not pay: ") +
                  comparison_text(study, step_interval, kept) + measure_text(study, by_latency) +
                  saturated_text(study, kept);
}

}  // namespace moesim
