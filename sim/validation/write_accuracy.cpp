// How a comparison is written: the JSON of commands.md, and a table for people.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <ostream>
#include <utility>

#include "sim/report/report.h"
#include "sim/validation/accuracy.h"

namespace moesim {
namespace {

using Json = nlohmann::ordered_json;

/// Whole numbers as they are, others with at most six significant digits.
Json number(double value) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  if (!std::isfinite(value)) return nullptr;
  if (value == std::floor(value) && std::abs(value) < kExact)
    return static_cast<std::int64_t>(value);
  return std::strtod(fmt::format("{:.6g}", value).c_str(), nullptr);
}

Json number_or_null(const std::optional<double>& value) {
  return value ? number(*value) : Json(nullptr);
}

const char* unit_of(const std::string& metric) {
  if (metric == "weights" || metric == "kv_gib") return ", GiB per GPU";
  if (metric == "kv_tokens") return ", tokens";
  return "";
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

/// "source/moe": the parts of "all/moe", in the JSON only.
bool is_part_of_source(const std::string& name) {
  return !name.starts_with("all/") && (name.ends_with("/moe") || name.ends_with("/dense"));
}

void write_groups(const Validation& validation, std::size_t width, std::ostream& out) {
  if (validation.groups.empty()) return;
  out << fmt::format("{:<{}} {:>10} {:>5} {:>12} {:>12} {:>12}\n", "group", width, "metric", "n",
                     "median |e|", "p90 |e|", "median e");
  for (const ErrorGroup& group : validation.groups) {
    if (is_part_of_source(group.name)) continue;
    out << fmt::format("  {:<{}} {:>10} {:>5} {:>12} {:>12} {:>12}\n", group.name, width - 2,
                       group.metric, group.n, percent(group.median_ape), percent(group.p90_ape),
                       fmt::format("{:+.2f} %", group.median_pe * 100));
  }
  out << '\n';
}

/// Counts by reason, in order of first appearance.
void write_reasons(const Validation& validation, std::ostream& out) {
  using Count = std::pair<std::string, int>;
  std::vector<Count> reasons;
  for (const NotCompared& row : validation.unsupported) {
    auto found = std::ranges::find(reasons, row.reason, &Count::first);
    if (found == reasons.end()) found = reasons.insert(reasons.end(), {row.reason, 0});
    ++found->second;
  }
  if (reasons.empty()) return;
  out << "not compared (rows by name: --format json)\n";
  for (const auto& [reason, count] : reasons) out << fmt::format("  {:>5}  {}\n", count, reason);
}

void write_run(const Validation& validation, const std::string& run, std::ostream& out) {
  bool peer = false;
  for (const ComparedValue& row : validation.rows)
    peer = peer || (row.id == run && row.peer_error.has_value());
  out << fmt::format("{}\n  {:<10} {:>12} {:>12} {:>10}{}\n", run, "ms", "predicted", "measured",
                     "error", peer ? "    peer's" : "");
  for (const ComparedValue& row : validation.rows) {
    if (row.id != run) continue;
    const int decimals = row.metric == "kv_blocks" ? 0 : 2;
    out << fmt::format("  {:<10} {:>12.{}f} {:>12.{}f} {:>10}", row.metric, row.predicted, decimals,
                       row.measured, decimals, shown_error(row));
    if (row.peer_error) out << fmt::format("  {:+.2f} %", *row.peer_error * 100);
    out << '\n';
  }
  for (const ComparedValue& row : validation.rows) {
    if (row.id != run || row.assumed.empty()) continue;
    out << fmt::format("  assumed: {}\n", fmt::join(row.assumed, ", "));
    break;
  }
  out << '\n';
}

}  // namespace

void write_json(const Validation& validation, std::ostream& out) {
  Json json = {{"schema_version", 1}, {"tool_version", tool_version()}};
  json["groups"] = Json::array();
  for (const ErrorGroup& group : validation.groups) {
    json["groups"].push_back({{"name", group.name},
                              {"metric", group.metric},
                              {"n", group.n},
                              {"median_ape", number(group.median_ape)},
                              {"p90_ape", number(group.p90_ape)},
                              {"median_pe", number(group.median_pe)}});
  }
  json["rows"] = Json::array();
  for (const ComparedValue& row : validation.rows) {
    Json item = {{"id", row.id},
                 {"metric", row.metric},
                 {"measured", number(row.measured)},
                 {"predicted", number(row.predicted)},
                 {"p10", number_or_null(row.p10)},
                 {"p90", number_or_null(row.p90)}};
    if (row.peer_error) item["peer_error"] = number(*row.peer_error);
    json["rows"].push_back(std::move(item));
  }
  json["unsupported"] = Json::array();
  for (const NotCompared& row : validation.unsupported)
    json["unsupported"].push_back({{"id", row.id}, {"reason", row.reason}});
  out << json.dump(2) << '\n';
}

void write_text(const Validation& validation, std::ostream& out) {
  std::size_t width = 24;
  std::vector<std::string> metrics;
  for (const ComparedValue& row : validation.rows) {
    width = std::max(width, row.id.size() + 2);
    if (std::ranges::find(metrics, row.metric) == metrics.end()) metrics.push_back(row.metric);
  }
  for (const ErrorGroup& group : validation.groups) width = std::max(width, group.name.size() + 2);
  for (const std::string& metric : metrics) write_rows(validation, metric, width, out);
  write_groups(validation, width, out);
  write_reasons(validation, out);
}

void write_runs_text(const Validation& validation, std::ostream& out) {
  std::string last;
  for (const ComparedValue& row : validation.rows) {
    if (row.id == last) continue;
    last = row.id;
    write_run(validation, row.id, out);
  }
  for (const NotCompared& run : validation.unsupported)
    out << fmt::format("{}: not compared: {}\n", run.id, run.reason);
}

}  // namespace moesim
