#include <algorithm>
#include <cstddef>
#include <fmt/format.h>
#include <functional>
#include <ostream>
#include <string>

#include "sim/report/report.h"

namespace moesim {
namespace {

/// Label values escape backslash, quote and line feed (Prometheus text exposition 0.0.4).
std::string label(const std::string& value) {
  std::string result;
  for (const char c : value) {
    if (c == '\\' || c == '"') result += '\\';
    result += c == '\n' ? ' ' : c;
  }
  return result;
}

class Exposition {
 public:
  Exposition(const RunResult& result, std::ostream& out)
      : out_(out), model_(label(result.model.id)), engines_(engine_count(result)) {}

  /// One value per engine.
  void metric(const char* name, const char* type, const char* help,
              const std::function<double(std::size_t)>& value) {
    head(name, type, help);
    for (std::size_t i = 0; i < engines_; ++i)
      out_ << fmt::format("{}{{{}}} {:.10g}\n", name, labels(i), value(i));
  }

  /// One value of the whole deployment.
  void metric(const char* name, const char* type, const char* help, double value) {
    head(name, type, help);
    out_ << fmt::format("{}{{model_name=\"{}\"}} {:.10g}\n", name, model_, value);
  }

  void histogram(const char* name, const char* help,
                 const std::function<const BucketHistogram&(std::size_t)>& of) {
    head(name, "histogram", help);
    for (std::size_t i = 0; i < engines_; ++i) {
      const BucketHistogram& histogram = of(i);
      for (std::size_t b = 0; b < histogram.bounds.size(); ++b) {
        out_ << fmt::format("{}_bucket{{{},le=\"{:.6g}\"}} {}\n", name, labels(i),
                            histogram.bounds[b], histogram.counts[b]);
      }
      out_ << fmt::format("{}_bucket{{{},le=\"+Inf\"}} {}\n", name, labels(i), histogram.count);
      out_ << fmt::format("{}_sum{{{}}} {:.6g}\n", name, labels(i), histogram.sum);
      out_ << fmt::format("{}_count{{{}}} {}\n", name, labels(i), histogram.count);
    }
  }

 private:
  static std::size_t engine_count(const RunResult& result) {
    return std::min(result.counters.size(), result.utilization.instances.size());
  }
  void head(const char* name, const char* type, const char* help) {
    out_ << fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
  }
  [[nodiscard]] std::string labels(std::size_t engine) const {
    return fmt::format("model_name=\"{}\",engine=\"{}\"", model_, engine);
  }
  std::ostream& out_;
  std::string model_;
  std::size_t engines_;
};

void write_gauges(const RunResult& result, Exposition& out) {
  const auto& engines = result.utilization.instances;
  out.metric("vllm:num_requests_running", "gauge", "Requests in the batch, mean over the run.",
             [&](std::size_t i) { return engines[i].running_mean; });
  out.metric("vllm:num_requests_waiting", "gauge",
             "Requests left in the queue by each step, mean over the run.",
             [&](std::size_t i) { return engines[i].waiting_mean; });
  if (result.utilization.kv_usage_mean_ratio) {
    out.metric("vllm:kv_cache_usage_perc", "gauge", "KV blocks in use, 0 to 1, mean over the run.",
               [&](std::size_t i) { return engines[i].kv_usage_mean_ratio.value_or(0); });
  }
}

void write_counters(const RunResult& result, Exposition& out) {
  const auto& engines = result.utilization.instances;
  const auto& counters = result.counters;
  const auto count = [](auto value) { return static_cast<double>(value); };
  out.metric("vllm:num_preemptions_total", "counter", "Preemptions.",
             [&](std::size_t i) { return count(engines[i].preemptions); });
  out.metric("vllm:prompt_tokens_total", "counter", "Prompt tokens of completed requests.",
             [&](std::size_t i) { return count(counters[i].prompt_tokens); });
  out.metric("vllm:generation_tokens_total", "counter", "Output tokens of completed requests.",
             [&](std::size_t i) { return count(counters[i].generation_tokens); });
  out.metric("vllm:request_success_total", "counter", "Completed requests.",
             [&](std::size_t i) { return count(counters[i].success); });
  if (!result.utilization.prefix_cache_hit_ratio) return;
  out.metric("vllm:prefix_cache_queries_total", "counter", "Prompt tokens looked up.",
             [&](std::size_t i) { return count(engines[i].prefix_query_tokens); });
  out.metric("vllm:prefix_cache_hits_total", "counter", "Prompt tokens found.",
             [&](std::size_t i) { return count(engines[i].prefix_hit_tokens); });
}

/// What vLLM has no names for; of all engines together. Nothing for dense models.
void write_experts(const RunResult& result, Exposition& out) {
  if (!result.moe || result.moe->layers.empty()) return;
  double active = 0, dropped = 0;
  for (const MoeLayerReport& layer : result.moe->layers) {
    active += layer.active_experts_mean;
    dropped += layer.dropped_ratio * layer.assignments;
  }
  out.metric("moesim:moe_rank_imbalance", "gauge",
             "Assignments of the fullest rank over the mean, mean over layers and steps.",
             result.moe->mean_rank_imbalance());
  out.metric("moesim:moe_active_experts", "gauge",
             "Experts with tokens on a rank, mean over layers and steps.",
             active / static_cast<double>(result.moe->layers.size()));
  if (!result.moe->capacity_factor || !result.moe->experts_per_token_ratio.empty()) return;
  out.metric("moesim:moe_dropped_assignments_total", "counter",
             "Assignments dropped since experts were full.", dropped);
}

}  // namespace

void write_prometheus(const RunResult& result, std::ostream& stream) {
  Exposition out(result, stream);
  const std::vector<EngineCounters>& counters = result.counters;
  write_gauges(result, out);
  write_counters(result, out);
  write_experts(result, out);
  using Histogram = const BucketHistogram&;
  out.histogram("vllm:time_to_first_token_seconds", "Arrival to first token.",
                [&](std::size_t i) -> Histogram { return counters[i].time_to_first_token; });
  out.histogram("vllm:inter_token_latency_seconds", "Gaps between tokens.",
                [&](std::size_t i) -> Histogram { return counters[i].inter_token_latency; });
  out.histogram("vllm:request_time_per_output_token_seconds",
                "Time per output token after the first, by request.",
                [&](std::size_t i) -> Histogram { return counters[i].time_per_output_token; });
  out.histogram("vllm:e2e_request_latency_seconds", "Arrival to last token.",
                [&](std::size_t i) -> Histogram { return counters[i].e2e_latency; });
  out.histogram("vllm:request_queue_time_seconds", "Arrival to first scheduled.",
                [&](std::size_t i) -> Histogram { return counters[i].queue_time; });
  out.histogram("vllm:request_prefill_time_seconds", "First scheduled to first token.",
                [&](std::size_t i) -> Histogram { return counters[i].prefill_time; });
  out.histogram("vllm:request_decode_time_seconds", "First token to last token.",
                [&](std::size_t i) -> Histogram { return counters[i].decode_time; });
}

}  // namespace moesim
