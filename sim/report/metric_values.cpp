#include "sim/report/metric_values.h"

#include <optional>

namespace moesim {
namespace {

void add(const char* name, const std::optional<double>& value, MetricValues& out) {
  if (value) out.emplace_back(name, *value);
}

void add(const char* metric, const std::optional<Summary>& summary, MetricValues& out) {
  if (!summary) return;
  const std::string tail = std::string("_") + metric + "_ms";
  out.emplace_back("mean" + tail, summary->mean);
  out.emplace_back("p50" + tail, summary->p50);
  out.emplace_back("p90" + tail, summary->p90);
  out.emplace_back("p99" + tail, summary->p99);
}

}  // namespace

MetricValues headlines(const RunResult& result) {
  MetricValues out;
  add("request_throughput", result.summary.request_throughput, out);
  add("output_throughput", result.summary.output_throughput, out);
  add("total_token_throughput", result.summary.total_token_throughput, out);
  add("ttft", result.latency.time_to_first_token, out);
  add("tpot", result.latency.time_per_output_token, out);
  add("itl", result.latency.inter_token_latency, out);
  add("e2el", result.latency.request_latency, out);
  add("output_throughput_per_gpu", result.summary.output_throughput_per_gpu, out);
  add("request_goodput", result.summary.request_goodput, out);
  if (result.slo) add("slo_attainment_ratio", result.slo->attainment_ratio, out);
  if (result.cost)
    add("usd_per_million_output_tokens", result.cost->usd_per_million_output_tokens, out);
  return out;
}

}  // namespace moesim
