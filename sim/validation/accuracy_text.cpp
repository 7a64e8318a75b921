// A comparison as tables for people.
#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <ostream>
#include <utility>

#include "sim/validation/accuracy_report.h"
#include "sim/validation/accuracy_tables.h"

namespace moesim {
namespace {

const char* unit_of(const std::string& metric) {
  if (metric == "weights" || metric == "kv_gib") return ", GiB per GPU";
  if (metric == "kv_tokens") return ", tokens";
  return "";
}

/// Start-up memory is listed row by row; serving tables have thousands of rows.
bool is_listed(const std::string& metric) {
  return metric == "fits" || *unit_of(metric) != 0;
}

std::string shown(const std::string& metric, double value) {
  if (metric == "fits") return value > 0 ? "starts" : "fails";
  if (metric == "kv_tokens") return fmt::format("{:.0f}", value);
  return fmt::format("{:.2f}", value);
}

std::string percent(double fraction) {
  return fmt::format("{:.2f} %", fraction * 100);
}

std::string shown_error(const ComparedValue& row) {
  if (row.metric == "fits") return row.error() == 0 ? "right" : "wrong";
  return fmt::format("{:+.2f} %", row.error() * 100);
}

void write_rows(const Validation& validation, const std::string& metric, std::size_t width,
                std::ostream& out) {
  out << fmt::format("{:<{}} {:>12} {:>12} {:>10}  {}\n", metric + unit_of(metric), width,
                     "predicted", "logged", "error", "assumed");
  for (const ComparedValue& row : validation.rows) {
    if (row.metric != metric) continue;
    const std::string line = fmt::format("  {:<{}} {:>12} {:>12} {:>10}  {}", row.id, width - 2,
                                         shown(metric, row.predicted), shown(metric, row.measured),
                                         shown_error(row), fmt::join(row.assumed, ", "));
    out << line.substr(0, line.find_last_not_of(' ') + 1) << '\n';
  }
  out << '\n';
}

void write_groups(const Validation& validation, std::size_t width, std::ostream& out) {
  if (validation.groups.empty()) return;
  out << fmt::format("{:<{}} {:>12} {:>5} {:>12} {:>12} {:>12}\n", "group", width, "metric", "n",
                     "median |e|", "p90 |e|", "median e");
  for (const ErrorGroup& group : validation.groups) {
    if (is_part_of_source(group.name)) continue;
    out << fmt::format("  {:<{}} {:>12} {:>5} {:>12} {:>12} {:>12}\n", group.name, width - 2,
                       group.metric, group.n, percent(group.median_ape), percent(group.p90_ape),
                       fmt::format("{:+.2f} %", group.median_pe * 100));
  }
  out << '\n';
}

/// Met or missed, first: what people look for.
void write_goals(const Validation& validation, std::size_t width, std::ostream& out) {
  if (validation.goals.empty()) return;
  out << fmt::format("{:<{}} {:>12} {:>15} {:>5} {:>14} {:>9}\n", "goal", width, "metric", "what",
                     "n", "goal", "reached");
  for (const GoalCheck& check : validation.goals) {
    out << fmt::format("  {:<{}} {:>12} {:>15} {:>5} {:>14} {:>9}  {}\n", check.name, width - 2,
                       check.metric, check.what, check.n, goal_text(check), reached_text(check),
                       check.met() ? "met" : "missed");
  }
  out << '\n';
}

void write_left_out(const Validation& validation, std::ostream& out) {
  if (validation.left_out_curves.empty()) return;
  out << fmt::format("{:<66} {:>7} {:>7} {:>9} {:>9} {:>10}\n", "shapes left out of the fit",
                     "points", "shapes", "med. |e|", "p90 |e|", "goal");
  for (const LeftOutCurve& curve : validation.left_out_curves) {
    const std::optional<ErrorGoal> goal = operator_goal(curve);
    const std::string name =
        fmt::format("{} {} {} {}", curve.profile, curve.op, curve.kernel, curve.dtype);
    const std::string wanted =
        goal ? fmt::format("{:g} / {:g} %", goal->median * 100, goal->p90 * 100) : "-";
    out << fmt::format("  {:<64} {:>7} {:>7} {:>9} {:>9} {:>10}{}\n", name, curve.points,
                       curve.shapes, percent(curve.median_ape), percent(curve.p90_ape), wanted,
                       goal ? "  " + verdict(curve) : "");
  }
  out << '\n';
}

void write_ranks(const Validation& validation, std::size_t width, std::ostream& out) {
  if (validation.ranks.empty()) return;
  out << fmt::format("{:<{}} {:>12} {:>5} {:>12}\n", "rank correlation", width, "metric", "n",
                     "Spearman");
  for (const RankCorrelation& rank : validation.ranks) {
    out << fmt::format("  {:<{}} {:>12} {:>5} {:>12.3f}\n", rank.name, width - 2, rank.metric,
                       rank.n, rank.spearman);
  }
  out << '\n';
}

void write_coverage(const Validation& validation, std::size_t width, std::ostream& out) {
  if (validation.coverage.empty()) return;
  out << fmt::format("{:<{}} {:>12} {:>5} {:>12}\n", "measured inside P10-P90", width, "metric",
                     "n", "share");
  for (const IntervalCoverage& group : validation.coverage) {
    out << fmt::format("  {:<{}} {:>12} {:>5} {:>12}\n", group.name, width - 2, group.metric,
                       group.n, percent(group.share));
  }
  out << '\n';
}

void write_reasons(const char* title, const std::vector<ReasonCount>& reasons, std::ostream& out) {
  if (reasons.empty()) return;
  out << title << " (rows by name: --json)\n";
  for (const ReasonCount& reason : reasons)
    out << fmt::format("  {:>5}  {}\n", reason.count > 0 ? fmt::format("{}", reason.count) : "-",
                       reason.reason);
}

void write_run(const Validation& validation, const std::string& run, std::ostream& out) {
  const auto of_run = [&](const ComparedValue& row) { return row.id == run; };
  const bool peer = std::ranges::any_of(validation.rows, [&](const ComparedValue& row) {
    return of_run(row) && row.peer_error.has_value();
  });
  out << fmt::format("{}\n  {:<10} {:>12} {:>12} {:>10} {:>22}{}\n", run, "ms", "predicted",
                     "measured", "error", "P10 to P90", peer ? "    peer's" : "");
  for (const ComparedValue& row : validation.rows) {
    if (!of_run(row)) continue;
    const int decimals = row.metric == "kv_blocks" ? 0 : 2;
    out << fmt::format("  {:<10} {:>12.{}f} {:>12.{}f} {:>10}", row.metric, row.predicted, decimals,
                       row.measured, decimals, shown_error(row));
    const std::string interval =
        row.p10 ? fmt::format("{:.2f} to {:.2f}", *row.p10, *row.p90) : std::string("-");
    out << fmt::format(" {:>22}", interval);
    if (row.peer_error) out << fmt::format(" {:>+7.2f} %", *row.peer_error * 100);
    out << '\n';
  }
  const auto first = std::ranges::find_if(validation.rows, of_run);
  if (!first->assumed.empty())
    out << fmt::format("  assumed: {}\n", fmt::join(first->assumed, ", "));
  out << '\n';
}

}  // namespace

void write_text(const Validation& validation, std::ostream& out) {
  std::size_t rows = 24;
  std::vector<std::string> listed;
  for (const ComparedValue& row : validation.rows) {
    if (!is_listed(row.metric)) continue;
    rows = std::max(rows, row.id.size() + 2);
    if (std::ranges::find(listed, row.metric) == listed.end()) listed.push_back(row.metric);
  }
  std::size_t names = rows;
  for (const ErrorGroup& group : validation.groups) names = std::max(names, group.name.size() + 2);
  for (const RankCorrelation& rank : validation.ranks)
    names = std::max(names, rank.name.size() + 2);
  for (const GoalCheck& check : validation.goals) names = std::max(names, check.name.size() + 2);
  for (const std::string& metric : listed) write_rows(validation, metric, rows, out);
  write_goals(validation, names, out);
  write_groups(validation, names, out);
  write_left_out(validation, out);
  write_ranks(validation, names, out);
  write_coverage(validation, names, out);
  const std::vector<ReasonCount> left_out = left_out_reasons(validation);
  write_reasons("in no group", left_out, out);
  if (!left_out.empty()) out << '\n';
  write_reasons("not compared", unsupported_reasons(validation), out);
}

void write_runs_text(const Validation& validation, std::ostream& out) {
  std::string last;
  for (const ComparedValue& row : validation.rows) {
    if (row.id == last) continue;
    last = row.id;
    write_run(validation, row.id, out);
  }
  std::size_t names = 24;
  for (const GoalCheck& check : validation.goals) names = std::max(names, check.name.size() + 2);
  write_goals(validation, names, out);
  write_coverage(validation, names, out);
  for (const NotCompared& run : validation.unsupported)
    out << fmt::format("{}: not compared: {}\n", run.id, run.reason);
}

}  // namespace moesim
