#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <string>

#include "sim/report/json_memory.h"
#include "sim/report/json_moe.h"
#include "sim/report/report.h"

namespace moesim {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) {
  return json_value(value);
}
Json number(Bytes bytes) {
  return bytes.value();
}

/// Absent values leave no key.
template <class Value>
void put(Json& object, const std::string& key, const std::optional<Value>& value) {
  if (value) object[key] = number(*value);
}

void put_statistics(Json& out, const std::string& metric, const std::optional<Summary>& summary) {
  if (!summary) return;
  out["mean_" + metric] = number(summary->mean);
  out["median_" + metric] = number(summary->p50);
  out["std_" + metric] = number(summary->std);
  out["p50_" + metric] = number(summary->p50);
  out["p90_" + metric] = number(summary->p90);
  out["p95_" + metric] = number(summary->p95);
  out["p99_" + metric] = number(summary->p99);
}

Json summary_json(const RunResult& result) {
  const SummarySection& s = result.summary;
  Json out;
  out["duration"] = number(s.duration);
  out["completed"] = s.completed;
  out["failed"] = s.failed;
  out["total_input_tokens"] = s.total_input_tokens;
  out["total_output_tokens"] = s.total_output_tokens;
  put(out, "request_throughput", s.request_throughput);
  put(out, "request_goodput", s.request_goodput);
  put(out, "output_throughput", s.output_throughput);
  put(out, "total_token_throughput", s.total_token_throughput);
  put(out, "max_output_tokens_per_s", s.max_output_tokens_per_s);
  out["max_concurrent_requests"] = s.max_concurrent_requests;
  put_statistics(out, "ttft_ms", result.latency.time_to_first_token);
  put_statistics(out, "tpot_ms", result.latency.time_per_output_token);
  put_statistics(out, "itl_ms", result.latency.inter_token_latency);
  put_statistics(out, "e2el_ms", result.latency.request_latency);
  put(out, "output_throughput_per_gpu", s.output_throughput_per_gpu);
  put(out, "output_token_throughput_per_user", s.output_token_throughput_per_user);
  put(out, "gpu_hours", s.gpu_hours);
  return out;
}

Json latency_json(const LatencySection& latency) {
  Json out = Json::object();
  const auto put_summary = [&out](const char* key, const std::optional<Summary>& summary,
                                  const char* unit) {
    if (!summary) return;
    const Summary& s = *summary;
    out[key] = {{"unit", unit},         {"count", s.count},     {"mean", number(s.mean)},
                {"std", number(s.std)}, {"min", number(s.min)}, {"max", number(s.max)},
                {"p1", number(s.p1)},   {"p5", number(s.p5)},   {"p25", number(s.p25)},
                {"p50", number(s.p50)}, {"p75", number(s.p75)}, {"p90", number(s.p90)},
                {"p95", number(s.p95)}, {"p99", number(s.p99)}};
  };
  put_summary("time_to_first_token", latency.time_to_first_token, "ms");
  put_summary("time_to_second_token", latency.time_to_second_token, "ms");
  put_summary("inter_token_latency", latency.inter_token_latency, "ms");
  put_summary("time_per_output_token", latency.time_per_output_token, "ms");
  put_summary("request_latency", latency.request_latency, "ms");
  put_summary("queue_time", latency.queue_time, "ms");
  put_summary("output_sequence_length", latency.output_sequence_length, "tokens");
  put_summary("input_sequence_length", latency.input_sequence_length, "tokens");
  return out;
}

Json throughput_json(const RunResult& result) {
  const SummarySection& s = result.summary;
  Json out = Json::object();
  put(out, "requests_per_s", s.request_throughput);
  put(out, "output_tokens_per_s", s.output_throughput);
  put(out, "total_tokens_per_s", s.total_token_throughput);
  put(out, "output_tokens_per_s_per_gpu", s.output_throughput_per_gpu);
  put(out, "output_tokens_per_s_per_user", s.output_token_throughput_per_user);
  for (const InstanceThroughput& instance : result.instance_throughput) {
    out["instances"].push_back({{"instance", instance.instance},
                                {"completed", instance.completed},
                                {"output_tokens_per_s", number(instance.output_tokens_per_s)}});
  }
  return out;
}

Json slo_json(const SloSection& slo) {
  Json targets = Json::object();
  put(targets, "ttft_ms", slo.targets.ttft_ms);
  put(targets, "tpot_ms", slo.targets.tpot_ms);
  put(targets, "itl_ms", slo.targets.itl_ms);
  put(targets, "e2el_ms", slo.targets.e2el_ms);
  Json out = {{"targets", targets}};
  put(out, "itl_attainment_ratio", slo.itl_attainment_ratio);
  if (!slo.attainment_ratio) return out;
  put(out, "attainment_ratio", slo.attainment_ratio);
  put(out, "goodput_rps", slo.goodput_rps);
  out["good_request_count"] = slo.good_request_count;
  for (const SloSection::Class& one : slo.per_class) {
    out["per_class"][one.name] = {{"attainment_ratio", number(one.attainment_ratio)},
                                  {"goodput_rps", number(one.goodput_rps)},
                                  {"good_request_count", one.good_request_count},
                                  {"request_count", one.request_count}};
  }
  return out;
}

Json saturation_json(const SaturationSection& s) {
  Json out;
  out["verdict"] = to_text(s.verdict);
  put(out, "offered_rps", s.offered_rps);
  put(out, "completed_rps", s.completed_rps);
  put(out, "rate_deficit", s.rate_deficit);
  put(out, "latency_trend", s.latency_trend);
  out["still_queued"] = s.still_queued;
  out["still_running"] = s.still_running;
  out["dropped_unservable"] = s.dropped_unservable;
  return out;
}

void put_usage(Json& out, const std::optional<double>& mean, const std::optional<double>& peak) {
  put(out, "kv_usage_mean_ratio", mean);
  put(out, "kv_usage_peak_ratio", peak);
}

Json utilization_json(const UtilizationSection& u) {
  Json out = {{"busy_ratio", number(u.busy_ratio)},
              {"running_mean", number(u.running_mean)},
              {"waiting_mean", number(u.waiting_mean)}};
  put(out, "batch_mean", u.batch_mean);
  put_usage(out, u.kv_usage_mean_ratio, u.kv_usage_peak_ratio);
  put(out, "prefix_cache_hit_ratio", u.prefix_cache_hit_ratio);
  out["preemptions"] = u.preemptions;
  for (const InstanceUtilization& i : u.instances) {
    Json instance = {{"instance", i.instance},
                     {"steps", i.steps},
                     {"busy_ratio", number(i.busy_ratio)},
                     {"running_mean", number(i.running_mean)},
                     {"waiting_mean", number(i.waiting_mean)}};
    put_usage(instance, i.kv_usage_mean_ratio, i.kv_usage_peak_ratio);
    if (i.prefix_query_tokens > 0) {
      instance["prefix_query_tokens"] = i.prefix_query_tokens;
      instance["prefix_hit_tokens"] = i.prefix_hit_tokens;
    }
    instance["preemptions"] = i.preemptions;
    out["instances"].push_back(instance);
  }
  return out;
}

/// Terms that cost nothing do not occur in this model or layout: absent.
Json breakdown_json(const std::vector<PhaseBreakdown>& phases) {
  Json out = Json::object();
  for (const PhaseBreakdown& phase : phases) {
    Json terms = {{"unit", "ms"}, {"step_time", number(phase.step_time_ms)}};
    for (std::size_t i = 0; i < phase.term_ms.size(); ++i) {
      if (phase.term_ms[i] != 0) terms[term_name(static_cast<Term>(i))] = number(phase.term_ms[i]);
    }
    terms["cpu_gap"] = number(phase.cpu_gap_ms);
    out[phase.phase] = terms;
  }
  return out;
}

Json system_json(const std::vector<NodeInfo>& nodes,
                 const std::vector<InstanceSummary>& instances) {
  Json out;
  for (const NodeInfo& node : nodes) {
    out["nodes"].push_back({{"profile", node.profile},
                            {"count", node.count},
                            {"gpus", node.gpus_per_node},
                            {"source", node.source}});
  }
  for (const InstanceSummary& instance : instances) {
    out["instances"].push_back({{"name", instance.name},
                                {"tensor_parallel_size", instance.tensor_parallel_size},
                                {"pipeline_parallel_size", instance.pipeline_parallel_size},
                                {"data_parallel_size", instance.data_parallel_size},
                                {"gpus", instance.gpus}});
  }
  return out;
}

Json model_json(const ModelInfo& model) {
  Json out = {{"id", model.id}, {"family", model.family}, {"layers", model.layers}};
  if (model.moe_layers > 0) {
    out["moe_layers"] = model.moe_layers;
    out["num_experts"] = model.num_experts;
    out["top_k"] = model.top_k;
  }
  out["total_params"] = model.total_params;
  out["active_params"] = model.active_params;
  out["kv_bytes_per_token"] = number(model.kv_bytes_per_token);
  out["precision"] = {{"weights", model.weights}, {"kv_cache", model.kv_cache}};
  if (model.moe_layers > 0) out["precision"]["experts"] = model.experts;
  if (model.hypothetical) out["hypothetical"] = true;
  return out;
}

Json engine_json(const RunResult& result) {
  Json out = {{"backend", result.backend}, {"backend_version", result.backend_version}};
  const auto is_first = [&](const InstanceSummary& one) {
    const InstanceSummary& first = result.instances.front();
    return one.backend == first.backend && one.backend_version == first.backend_version;
  };
  if (!std::ranges::all_of(result.instances, is_first)) {
    out = Json::object();  // no one engine: each instance has its own
    for (const InstanceSummary& one : result.instances)
      out["instances"].push_back({{"instance", one.name},
                                  {"backend", one.backend},
                                  {"backend_version", one.backend_version}});
  }
  for (const ResolvedOption& option : result.resolved) {
    out["resolved"].push_back(
        {{"key", option.key}, {"value", option.value}, {"source", option.source}});
  }
  return out;
}

Json simulator_json(const SimulatorSection& s) {
  Json out = {{"wall_time_ms", number(s.wall_time_ms)},
              {"cpu_time_ms", number(s.cpu_time_ms)},
              {"steps", s.steps},
              {"events", s.events}};
  put(out, "events_per_s", s.events_per_s);
  out["plain_steps"] = s.plain_steps;
  put(out, "plain_step_share", s.plain_step_share);
  return out;
}

void put_identity(const RunResult& result, Json& out) {
  out["schema_version"] = kReportSchemaVersion;
  out["tool_version"] = result.tool_version;
  out["run_id"] = result.run_id;
  out["seed"] = result.seed;
  out["digest"] = fmt::format("{:016x}", result.digest);
  out["scenario"] = Json::parse(result.scenario_json);
  out["system"] = system_json(result.nodes, result.instances);
  out["model"] = model_json(result.model);
  out["engine"] = engine_json(result);
}

Json delta_json(const MetricDelta& delta) {
  Json out = {{"abs", number(delta.abs)}};
  put(out, "rel", delta.rel);
  put(out, "p10", delta.p10);
  put(out, "p90", delta.p90);
  if (delta.significant) out["significant"] = *delta.significant;
  return out;
}

void write_uncertainty(const UncertaintySection& section, Json& json) {
  for (const HeadlineInterval& interval : section.intervals) {
    Json out = {{"p10", number(interval.p10)},
                {"p50", number(interval.p50)},
                {"p90", number(interval.p90)},
                {"method", fmt::format("{} {}", section.replicas, section.method)}};
    out["drivers"] = Json::array();
    for (const auto& driver : interval.drivers)
      out["drivers"].push_back({{"name", driver.name}, {"share", number(driver.share)}});
    json["uncertainty"][interval.headline] = std::move(out);
  }
}

}  // namespace

Json report_json(const RunResult& result) {
  Json json;
  put_identity(result, json);
  json["summary"] = summary_json(result);
  json["latency"] = latency_json(result.latency);
  json["throughput"] = throughput_json(result);
  if (result.slo) json["slo"] = slo_json(*result.slo);
  json["saturation"] = saturation_json(result.saturation);
  json["memory"] = memory_json(result.memory);
  json["utilization"] = utilization_json(result.utilization);
  if (result.moe) json["moe"] = moe_json(*result.moe);
  if (result.communication) {
    for (const auto& [term, share] : result.communication->time_share_ratio)
      json["communication"]["time_share_ratio"][term] = number(share);
    put(json["communication"], "a2a_bytes_intra", result.communication->a2a_bytes_intra);
    put(json["communication"], "a2a_bytes_inter", result.communication->a2a_bytes_inter);
  }
  json["breakdown"] = breakdown_json(result.breakdown);
  if (result.cost) {
    json["cost"]["usd_per_hour"] = number(result.cost->usd_per_hour);
    put(json["cost"], "total_usd", result.cost->usd_total);
    put(json["cost"], "usd_per_million_output_tokens", result.cost->usd_per_million_output_tokens);
  }
  if (result.uncertainty) write_uncertainty(*result.uncertainty, json);
  json["provenance"] = Json::object();
  for (const auto& [name, share] : result.provenance) json["provenance"][name] = number(share);
  for (const KernelOrigin& origin : result.kernels) {
    Json one = {{"operator", origin.op}, {"profile", origin.profile}, {"donor", origin.donor}};
    if (!origin.kernel.empty()) one["kernel"] = origin.kernel;
    if (!origin.dtype.empty()) one["dtype"] = origin.dtype;
    json["kernels"].push_back(std::move(one));
  }
  json["warnings"] = result.warnings;
  json["simulator"] = simulator_json(result.simulator);
  if (!result.reproduce.empty()) json["reproduce"] = result.reproduce;
  return json;
}

namespace {

void write_memory(const MemoryReport& report, Json& json) {
  json["model"] = model_json(report.model);
  json["system"] = system_json(report.nodes, report.instances);
  json["memory"] = memory_json(report.memory);
  for (const MemoryReport::Problem& problem : report.problems) {
    Json remedies = Json::array();
    for (const Remedy& remedy : problem.remedies)
      remedies.push_back({{"change", remedy.change}, {"why", remedy.why}});
    json["memory"]["infeasible"].push_back({{"instance", problem.instance},
                                            {"shortfall_bytes", number(problem.shortfall)},
                                            {"reason", problem.reason},
                                            {"remedies", remedies}});
  }
  if (!report.warnings.empty()) json["warnings"] = report.warnings;
}

}  // namespace

void write_json(const MemoryReport& report, std::ostream& out) {
  write_json(report, {}, out);
}

void write_json(const MemoryReport& report, const std::vector<MemoryVariant>& variants,
                std::ostream& out) {
  Json json = {{"schema_version", kReportSchemaVersion}, {"tool_version", tool_version()}};
  write_memory(report, json);
  for (const MemoryVariant& variant : variants) {
    Json entry = {{"name", variant.name}};
    write_memory(variant.report, entry);
    json["variants"].push_back(std::move(entry));
  }
  out << json.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
}

Json comparison_json(const Comparison& comparison) {
  Json json = {{"schema_version", kReportSchemaVersion}, {"tool_version", tool_version()}};
  json["baseline"] = comparison.baseline;
  json["variants"] = Json::array();
  for (const VariantComparison& variant : comparison.variants) {
    Json entry = {{"name", variant.name}, {"changes", Json::array()}};
    for (const Change& change : variant.changes) {
      Json item = {{"path", change.path}};
      if (change.from) item["from"] = *change.from;
      item["to"] = change.to;
      entry["changes"].push_back(item);
    }
    if (variant.infeasible.empty()) {
      entry["delta"] = Json::object();
      for (const MetricDelta& delta : variant.delta)
        entry["delta"][delta.metric] = delta_json(delta);
    } else {
      entry["infeasible"] = variant.infeasible;
    }
    json["variants"].push_back(entry);
  }
  return json;
}

void write_json(const RunResult& result, std::ostream& out) {
  out << report_json(result).dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
}

void write_json(const RunResult& result, const Comparison& comparison, std::ostream& out) {
  Json json = report_json(result);
  json["comparison"] = comparison_json(comparison);
  out << json.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
}

void write_json(const Comparison& comparison, std::ostream& out) {
  out << comparison_json(comparison).dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
}

}  // namespace moesim
