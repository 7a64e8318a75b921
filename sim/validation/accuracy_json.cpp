// The JSON of commands.md "moesim validate".
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <ostream>
#include <utility>

#include "sim/report/report.h"
#include "sim/validation/accuracy_report.h"
#include "sim/validation/goals.h"

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

Json groups_json(const std::vector<ErrorGroup>& groups) {
  Json list = Json::array();
  for (const ErrorGroup& group : groups) {
    list.push_back({{"name", group.name},
                    {"metric", group.metric},
                    {"n", group.n},
                    {"median_ape", number(group.median_ape)},
                    {"p90_ape", number(group.p90_ape)},
                    {"median_pe", number(group.median_pe)}});
  }
  return list;
}

Json rows_json(const std::vector<ComparedValue>& rows) {
  Json list = Json::array();
  for (const ComparedValue& row : rows) {
    Json item = {{"id", row.id},
                 {"metric", row.metric},
                 {"measured", number(row.measured)},
                 {"predicted", number(row.predicted)},
                 {"p10", number_or_null(row.p10)},
                 {"p90", number_or_null(row.p90)}};
    if (row.peer_error) item["peer_error"] = number(*row.peer_error);
    if (!row.left_out.empty()) item["left_out"] = row.left_out;
    list.push_back(std::move(item));
  }
  return list;
}

/// What was filled in, once a row of the table (its values follow each other). Memory rows assume
/// different things for different metrics, hence both.
Json assumed_json(const std::vector<ComparedValue>& rows) {
  Json list = Json::array();
  const ComparedValue* last = nullptr;
  for (const ComparedValue& row : rows) {
    const bool same = last != nullptr && last->id == row.id && last->assumed == row.assumed;
    last = &row;
    if (same || row.assumed.empty()) continue;
    list.push_back({{"id", row.id}, {"metric", row.metric}, {"what", row.assumed}});
  }
  return list;
}

/// A bound that is not there is null.
Json goals_json(const std::vector<GoalCheck>& goals) {
  Json list = Json::array();
  for (const GoalCheck& check : goals) {
    list.push_back({{"name", check.name},
                    {"metric", check.metric},
                    {"what", check.what},
                    {"n", check.n},
                    {"low", number(check.low)},
                    {"high", number(check.high)},
                    {"reached", number(check.reached)},
                    {"met", check.met()}});
  }
  return list;
}

Json left_out_json(const std::vector<LeftOutCurve>& curves) {
  Json list = Json::array();
  for (const LeftOutCurve& curve : curves) {
    Json item = {{"profile", curve.profile},
                 {"op", curve.op},
                 {"kernel", curve.kernel},
                 {"dtype", curve.dtype},
                 {"points", curve.points},
                 {"shapes", curve.shapes},
                 {"median_ape", number(curve.median_ape)},
                 {"p90_ape", number(curve.p90_ape)},
                 {"in_sample_median_ape", number(curve.in_median_ape)},
                 {"in_sample_p90_ape", number(curve.in_p90_ape)}};
    if (const std::optional<ErrorGoal> goal = operator_goal(curve)) {
      item["goal_median"] = number(goal->median);
      item["goal_p90"] = number(goal->p90);
      item["met"] = meets(curve, *goal);
    }
    list.push_back(std::move(item));
  }
  return list;
}

}  // namespace

void write_json(const Validation& validation, std::ostream& out) {
  Json json = {{"schema_version", 1}, {"tool_version", tool_version()}};
  if (validation.unreached > 0) json["interrupted"] = {{"unreached", validation.unreached}};
  json["goals"] = goals_json(validation.goals);
  json["groups"] = groups_json(validation.groups);
  json["rank_correlation"] = Json::array();
  for (const RankCorrelation& rank : validation.ranks) {
    json["rank_correlation"].push_back({{"name", rank.name},
                                        {"metric", rank.metric},
                                        {"n", rank.n},
                                        {"spearman", number(rank.spearman)}});
  }
  json["coverage"] = Json::array();
  for (const IntervalCoverage& group : validation.coverage) {
    json["coverage"].push_back({{"name", group.name},
                                {"metric", group.metric},
                                {"n", group.n},
                                {"share", number(group.share)}});
  }
  if (!validation.left_out_curves.empty())
    json["left_out_shapes"] = left_out_json(validation.left_out_curves);
  json["rows"] = rows_json(validation.rows);
  json["unsupported"] = Json::array();
  for (const NotCompared& row : validation.unsupported) {
    json["unsupported"].push_back({{"id", row.id}, {"reason", row.reason}});
    if (row.rows != 1) json["unsupported"].back()["rows"] = row.rows;
  }
  json["assumed"] = assumed_json(validation.rows);
  out << json.dump(2) << '\n';
}

}  // namespace moesim
