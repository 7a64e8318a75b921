#include "sim/validation/accuracy_tables.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace moesim {
namespace {

void count(std::vector<ReasonCount>& reasons, const std::string& reason, std::size_t rows) {
  auto found = std::ranges::find(reasons, reason, &ReasonCount::reason);
  if (found == reasons.end()) found = reasons.insert(reasons.end(), {reason, 0});
  found->count += rows;
}

std::string percent(double fraction) {
  return fmt::format("{:.1f} %", fraction * 100);
}
std::string signed_percent(double fraction) {
  return fmt::format("{:+.1f} %", fraction * 100);
}

bool is_headline(const std::string& name) {
  return name.starts_with("all/") || name == kTrustedMoe || name == kTrustedDense ||
         name == "pooled";
}

ReportTable groups_table(const std::string& title, const Validation& validation, bool headline) {
  ReportTable table{title, {"group", "metric", "n", "median |e|", "p90 |e|", "median e"}, {}};
  for (const ErrorGroup& group : validation.groups) {
    if (is_part_of_source(group.name) || is_headline(group.name) != headline) continue;
    table.rows.push_back({group.name, group.metric, fmt::format("{}", group.n),
                          percent(group.median_ape), percent(group.p90_ape),
                          signed_percent(group.median_pe)});
  }
  return table;
}

/// Recorded runs: a statistic a row, the peer's error beside ours.
ReportTable runs_table(const Validation& validation) {
  ReportTable table{
      "Recorded runs", {"run", "metric", "predicted", "measured", "error", "peer's error"}, {}};
  for (const ComparedValue& row : validation.rows) {
    if (!row.peer_error) continue;
    table.rows.push_back({row.id, row.metric, fmt::format("{:.4g}", row.predicted),
                          fmt::format("{:.4g}", row.measured), signed_percent(row.error()),
                          signed_percent(*row.peer_error)});
  }
  return table;
}

ReportTable peers_table() {
  ReportTable table{"Errors that other simulators publish of themselves",
                    {"simulator", "on", "metric", "published", "of"},
                    {}};
  for (const PublishedPeer& peer : published_peers())
    table.rows.push_back({peer.name, peer.on, peer.metric, percent(peer.error), peer.of});
  return table;
}

ReportTable ranks_table(const Validation& validation) {
  ReportTable table{"Order of operating points: Spearman's rank correlation of throughput",
                    {"model and GPU", "metric", "n", "Spearman"},
                    {}};
  for (const RankCorrelation& rank : validation.ranks)
    table.rows.push_back(
        {rank.name, rank.metric, fmt::format("{}", rank.n), fmt::format("{:.3f}", rank.spearman)});
  return table;
}

ReportTable coverage_table(const Validation& validation) {
  ReportTable table{"Share of measurements inside P10-P90", {"group", "metric", "n", "share"}, {}};
  for (const IntervalCoverage& group : validation.coverage)
    table.rows.push_back(
        {group.name, group.metric, fmt::format("{}", group.n), percent(group.share)});
  return table;
}

ReportTable goals_table(const Validation& validation) {
  ReportTable table{"Goals", {"group", "metric", "what", "n", "goal", "reached", ""}, {}};
  for (const GoalCheck& check : validation.goals) {
    table.rows.push_back({check.name, check.metric, check.what, fmt::format("{}", check.n),
                          goal_text(check), reached_text(check), check.met() ? "met" : "missed"});
  }
  return table;
}

/// Of the operators: what the fit kept beside every curve.
ReportTable left_out_table(const Validation& validation) {
  ReportTable table{"Shapes left out of the fit",
                    {"profile", "operator", "kernel", "dtype", "points", "shapes", "median |e|",
                     "p90 |e|", "goal", ""},
                    {}};
  for (const LeftOutCurve& curve : validation.left_out_curves) {
    const std::optional<ErrorGoal> goal = operator_goal(curve);
    table.rows.push_back(
        {curve.profile, curve.op, curve.kernel, curve.dtype, fmt::format("{}", curve.points),
         fmt::format("{}", curve.shapes), percent(curve.median_ape), percent(curve.p90_ape),
         goal ? fmt::format("{:g} / {:g} %", goal->median * 100, goal->p90 * 100) : "-",
         verdict(curve)});
  }
  return table;
}

ReportTable reasons_table(const std::string& title, const std::vector<ReasonCount>& reasons) {
  ReportTable table{title, {"reason", "rows"}, {}};
  for (const ReasonCount& reason : reasons)
    table.rows.push_back({reason.reason, reason.count > 0 ? fmt::format("{}", reason.count) : "-"});
  return table;
}

}  // namespace

std::vector<ReportTable> report_tables(const Validation& validation) {
  std::vector<ReportTable> tables = {
      goals_table(validation),
      groups_table("Summary", validation, true),
      runs_table(validation),
      peers_table(),
      groups_table("By group", validation, false),
      left_out_table(validation),
      ranks_table(validation),
      coverage_table(validation),
      reasons_table("In no group", left_out_reasons(validation)),
      reasons_table("Not compared", unsupported_reasons(validation))};
  std::erase_if(tables, [](const ReportTable& table) { return table.rows.empty(); });
  return tables;
}

std::string goal_text(const GoalCheck& check) {
  const bool percent = check.what.find("Spearman") == std::string::npos;
  const double scale = percent ? 100 : 1;
  const char* const unit = percent ? " %" : "";
  if (std::isinf(check.low)) return fmt::format("at most {:.3g}{}", check.high * scale, unit);
  if (std::isinf(check.high)) return fmt::format("at least {:.3g}{}", check.low * scale, unit);
  return fmt::format("{:.3g} to {:.3g}{}", check.low * scale, check.high * scale, unit);
}

std::string reached_text(const GoalCheck& check) {
  if (check.what.find("Spearman") != std::string::npos) return fmt::format("{:.3f}", check.reached);
  return percent(check.reached);
}

std::string verdict(const LeftOutCurve& curve) {
  constexpr int kFewShapes = 10;  // five folds of two
  const std::optional<ErrorGoal> goal = operator_goal(curve);
  if (!goal) return "";
  if (curve.shapes < 2) return "in sample: one shape";
  if (meets(curve, *goal)) return "met";
  if (curve.in_median_ape > goal->median || curve.in_p90_ape > goal->p90)
    return "missed, in sample too";
  if (curve.shapes < kFewShapes) return fmt::format("missed, {} shapes only", curve.shapes);
  return "missed, on new shapes only";
}

std::string interruption(const Validation& validation) {
  if (validation.unreached == 0) return "";
  return fmt::format("Interrupted: {} were not reached; this is of what was finished.",
                     validation.unreached);
}

bool is_part_of_source(const std::string& name) {
  if (name.starts_with("all/") || name == kTrustedMoe || name == kTrustedDense) return false;
  return (name.ends_with("/moe") || name.ends_with("/dense"));
}

std::vector<ReasonCount> unsupported_reasons(const Validation& validation) {
  std::vector<ReasonCount> reasons;
  for (const NotCompared& row : validation.unsupported) count(reasons, row.reason, row.rows);
  return reasons;
}

std::vector<ReasonCount> left_out_reasons(const Validation& validation) {
  std::vector<ReasonCount> reasons;
  std::string last;
  for (const ComparedValue& row : validation.rows) {
    if (row.left_out.empty() || row.id == last) continue;
    last = row.id;
    count(reasons, row.left_out, 1);
  }
  return reasons;
}

const std::vector<PublishedPeer>& published_peers() {
  // As each project publishes it of itself; the sets of measurements overlap ours and are not the
  // same.
  static const std::vector<PublishedPeer> peers = {
      {"BLIS (inference-sim)", "its MoE runs of vLLM on H100", "e2e_mean", 0.069, "mean |e|"},
      {"BLIS (inference-sim)", "its MoE runs of vLLM on H100", "itl_mean", 0.064, "mean |e|"},
      {"BLIS (inference-sim)", "its MoE runs of vLLM on H100", "ttft_mean", 0.201, "mean |e|"},
      {"AISimulate", "InferenceX", "tpot", 0.284, "mean |e|"},
      {"AISimulate", "InferenceX", "ttft", 0.767, "mean |e|"},
      {"LLMServingSim", "its MoE run", "ttft_mean", -0.136, "e"},
      {"LLMServingSim", "its MoE run", "tpot_mean", -0.017, "e"},
  };
  return peers;
}

}  // namespace moesim
