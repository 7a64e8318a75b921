#include <nlohmann/json.hpp>
#include <utility>

#include "sim/cli/routing.h"

namespace moesim {
namespace {

using nlohmann::ordered_json;

ordered_json json_of(const Spread& spread) {
  return {{"mean", spread.mean}, {"p50", spread.p50}, {"max", spread.max}};
}

/// A value a layer, and what they come to.
ordered_json by_layer(const std::vector<double>& values) {
  ordered_json json = json_of(spread_of(values));
  json["layers"] = values;
  return json;
}

ordered_json load_json(const RoutingDescription& about) {
  constexpr std::pair<const char*, double LoadStats::*> kFields[] = {
      {"expert_cv", &LoadStats::cv},
      {"expert_max_over_mean", &LoadStats::max_over_mean},
      {"expert_min_over_mean", &LoadStats::min_over_mean},
      {"entropy_norm", &LoadStats::entropy_norm},
      {"gini", &LoadStats::gini},
      {"top20pct_share", &LoadStats::top20_share},
      {"unused", &LoadStats::unused}};
  ordered_json json;
  for (const auto& [name, field] : kFields) {
    std::vector<double> values;
    for (const std::vector<double>& loads : about.loads) values.push_back(load_stats(loads).*field);
    json[name] = by_layer(values);
  }
  std::vector<double> ranks;
  for (const std::vector<double>& loads : about.loads)
    ranks.push_back(max_over_mean(rank_loads(loads, about.ranks)));
  json["rank_max_over_mean"] = by_layer(ranks);
  return json;
}

ordered_json reach_json(const ReachStats& reach) {
  return {{"places", reach.places},
          {"mean", reach.mean},
          {"histogram", reach.histogram},
          {"dispatch", reach.dispatch},
          {"max_row_over_mean", reach.max_row},
          {"max_column_over_mean", reach.max_column}};
}

ordered_json tokens_json(const RoutingDescription& about) {
  const RoutingStats& stats = *about.tokens;
  ordered_json json = {{"rows", stats.rows},
                       {"sequences", stats.sequences},
                       {"loops_left_out", stats.loops_left_out}};
  if (stats.long_sequences > 0) json["sequence_cv"] = by_layer(stats.sequence_cv);
  json["auxiliary_loss"] = by_layer(stats.auxiliary_loss);
  json["auxiliary_loss_from"] = stats.loss_from_weights ? "router_weights" : "shares";
  for (const LagStats& lag : stats.lags) {
    if (lag.pairs == 0) continue;
    json["lags"].push_back({{"lag", lag.lag},
                            {"pairs", lag.pairs},
                            {"overlap", by_layer(lag.overlap)},
                            {"first_repeat", by_layer(lag.first_repeat)},
                            {"any_repeat", by_layer(lag.any_repeat)}});
  }
  json["overlap_same_sequence"] = stats.overlap_same_sequence;
  json["overlap_whole_trace"] = stats.overlap_whole_trace;
  json["overlap_uniform"] = stats.overlap_uniform;
  if (!stats.next_layer_information.empty()) {
    json["next_layer_information"] = by_layer(stats.next_layer_information);
    json["next_layer_information_by_chance"] = by_layer(stats.next_layer_chance);
    json["next_layer_guess"] = by_layer(stats.next_layer_guess);
  }
  json["ranks_reached"] = reach_json(about.reach);
  if (about.nodes > 1) json["nodes_reached"] = reach_json(about.node_reach);
  for (const RoutingStats::Group& group : stats.groups)
    json["domains"].push_back({{"group", group.name}, {"rows", group.rows}, {"cv", group.cv}});
  if (!stats.groups.empty()) json["domain_distance"] = stats.group_distance;
  return json;
}

ordered_json steps_json(const RoutingDescription& about) {
  const StepStats& steps = *about.steps;
  ordered_json json = {{"steps", steps.steps}};
  if (about.batch > 0) json["lockstep_sequences"] = about.batch;
  json["expert_cv"] = json_of(steps.expert_cv);
  json["expert_max_over_mean"] = json_of(steps.expert_max_over_mean);
  json["expert_min_over_mean"] = json_of(steps.expert_min_over_mean);
  json["distinct_experts"] = json_of(steps.distinct);
  json["rank_max_over_mean"] = json_of(steps.rank_max_over_mean);
  json["balancedness_sglang"] = steps.balancedness_sglang;
  json["balancedness_vllm"] = steps.balancedness_vllm;
  for (const Drift& drift : about.drift)
    json["drift"].push_back({{"steps", drift.lag * static_cast<std::size_t>(about.window)},
                             {"pairs", drift.pairs},
                             {"js_distance", drift.distance}});
  return json;
}

}  // namespace

std::string routing_json_text(const RoutingDescription& about) {
  ordered_json json = {{"schema_version", 1},
                       {"file", about.file},
                       {"model", about.model},
                       {"n_layers", about.shape.layers},
                       {"n_experts", about.shape.experts},
                       {"top_k", about.shape.top_k},
                       {"ranks", about.ranks},
                       {"nodes", about.nodes},
                       {"load", load_json(about)}};
  if (about.tokens) json["tokens"] = tokens_json(about);
  if (about.steps) json["steps"] = steps_json(about);
  return json.dump(2) + "\n";
}

}  // namespace moesim
