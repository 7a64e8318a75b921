#include "sim/report/compare.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "sim/base/reader.h"
#include "sim/report/difference_interval.h"
#include "sim/report/paired_bootstrap.h"
#include "sim/report/request_stats.h"
#include "sim/report/time_shares.h"

namespace moesim {
namespace {

using Column = std::vector<double> RequestSamples::*;
using Value = std::optional<double>;

/// Collects the metrics that both runs have.
class Deltas {
 public:
  Deltas(const ComparedRun& base, const ComparedRun& variant, std::uint64_t seed)
      : base_(base), variant_(variant), bootstrap_(seed) {}

  /// `resampled`: the difference with other requests; empty if that is not known.
  void add(const std::string& metric, const Value& base, const Value& variant,
           PairedBootstrap::Differences resampled) {
    if (!base || !variant) return;
    MetricDelta delta{metric, *base, *variant, *variant - *base, {}, {}, {}, {}, false};
    if (*base != 0) delta.rel = delta.abs / *base;
    if (const std::optional<Interval> found = interval(delta, std::move(resampled))) {
      delta.p10 = found->p10;
      delta.p90 = found->p90;
      delta.significant = found->significant;
    }
    list_.push_back(std::move(delta));
  }

  /// A metric without chance in it.
  void add_exact(const std::string& metric, double base, double variant) {
    MetricDelta delta{metric, base, variant, variant - base, {}, {}, {}, {}, true};
    if (base != 0) delta.rel = delta.abs / base;
    list_.push_back(std::move(delta));
  }

  /// A rate of the whole run: a sum over requests by another.
  void add_rate(const std::string& metric, const Value& base, const Value& variant, Column top,
                Column bottom) {
    if (!base || !variant) return;
    if (!resamples_rate(base_.samples) || !resamples_rate(variant_.samples)) {
      add(metric, *base, *variant, {});
      return;
    }
    add(metric, base, variant,
        bootstrap_.difference({base_.samples.*top, base_.samples.*bottom, *base},
                              {variant_.samples.*top, variant_.samples.*bottom, *variant}));
  }

  void add_latency(const std::string& metric, const std::optional<Summary>& base,
                   const std::optional<Summary>& variant, PairedBootstrap::OfSummary resampled) {
    if (!base || !variant) return;
    add("mean_" + metric, base->mean, variant->mean, std::move(resampled[0]));
    add("p50_" + metric, base->p50, variant->p50, std::move(resampled[1]));
    add("p90_" + metric, base->p90, variant->p90, std::move(resampled[2]));
    add("p99_" + metric, base->p99, variant->p99, std::move(resampled[3]));
  }

  [[nodiscard]] PairedBootstrap::OfSummary resampled(Column column) const {
    return bootstrap_.difference(base_.samples.*column, variant_.samples.*column);
  }

  [[nodiscard]] std::vector<MetricDelta> take() { return std::move(list_); }

 private:
  /// What requests and step times together leave open of a difference.
  [[nodiscard]] std::optional<Interval> interval(const MetricDelta& delta,
                                                 PairedBootstrap::Differences resampled) const {
    if (base_.replicas.size() != variant_.replicas.size()) return std::nullopt;
    ScatteredDifference scattered{delta.abs, std::move(resampled), {}};
    for (std::size_t r = 0; r < base_.replicas.size(); ++r) {
      const Value before = value_of(base_.replicas[r], delta.metric);
      const Value after = value_of(variant_.replicas[r], delta.metric);
      if (!before || !after) return std::nullopt;  // nothing completed in some replica
      scattered.replicas.push_back(*after - *before);
    }
    return interval_of(scattered);
  }

  static Value value_of(const MetricValues& values, const std::string& metric) {
    const auto found = std::ranges::find(values, metric, &MetricValues::value_type::first);
    return found == values.end() ? std::nullopt : Value(found->second);
  }

  /// Whether blocks are longer than what requests in service have in common.
  static bool resamples_rate(const RequestSamples& samples) {
    const auto counted =
        std::ranges::count_if(samples.share_s, [](double s) { return !std::isnan(s); });
    return samples.in_service * static_cast<double>(PairedBootstrap::kBlocks) <=
           static_cast<double>(counted);
  }

  ComparedRun base_, variant_;
  PairedBootstrap bootstrap_;
  std::vector<MetricDelta> list_;
};

void add_throughput(Deltas& out, const SummarySection& a, const SummarySection& b) {
  constexpr Column kTime = &RequestSamples::share_s;
  constexpr Column kOutput = &RequestSamples::output_tokens;
  out.add_rate("request_throughput", a.request_throughput, b.request_throughput,
               &RequestSamples::completed, kTime);
  out.add_rate("output_throughput", a.output_throughput, b.output_throughput, kOutput, kTime);
  out.add_rate("total_token_throughput", a.total_token_throughput, b.total_token_throughput,
               &RequestSamples::total_tokens, kTime);
  out.add_rate("output_throughput_per_gpu", a.output_throughput_per_gpu,
               b.output_throughput_per_gpu, kOutput, kTime);
}

/// What a variant changes in memory; nothing where it changes nothing.
void add_memory(Deltas& out, const MemorySection& base, const MemorySection& variant) {
  const auto gib = [](const MemorySection& memory) {
    return static_cast<double>(memory.per_gpu.weights.total().value()) /
           static_cast<double>(1 << 30);
  };
  if (gib(base) != gib(variant)) out.add_exact("weights_gib_per_gpu", gib(base), gib(variant));
  if (base.num_kv_tokens != variant.num_kv_tokens) {
    out.add_exact("num_kv_tokens", static_cast<double>(base.num_kv_tokens),
                  static_cast<double>(variant.num_kv_tokens));
  }
}

/// What a variant changes for the experts, where it changes anything. The same tokens ask for the
/// same experts on both sides, so nothing is left to chance.
void add_experts(Deltas& out, const MoeSection& base, const MoeSection& variant) {
  const auto add = [&](const char* metric, double a, double b) {
    if (a != b) out.add_exact(metric, a, b);
  };
  add("rank_imbalance_mean", base.mean_rank_imbalance(), variant.mean_rank_imbalance());
  add("rank_imbalance_by_tokens", base.rank_imbalance_by_tokens(),
      variant.rank_imbalance_by_tokens());
  add("dropped_ratio", base.dropped_ratio(), variant.dropped_ratio());
  constexpr double kKilo = 1e-3;
  add("a2a_kb_per_token_layer", base.all_to_all_bytes() * kKilo,
      variant.all_to_all_bytes() * kKilo);
  add("a2a_kb_per_token_layer_inter", base.all_to_all_bytes_between_nodes() * kKilo,
      variant.all_to_all_bytes_between_nodes() * kKilo);
}

void add_counted_request(const RunView& view, std::size_t row, RequestSamples& out) {
  const RequestTable& table = view.requests;
  if (!out.slo_met.empty()) out.slo_met[row] = meets_slo(table, row, view.scenario.slo) ? 1 : 0;
  const bool completed = table.status[row] == RequestStatus::kCompleted;
  out.completed[row] = completed ? 1 : 0;
  out.output_tokens[row] = completed ? table.generated[row] : 0;
  out.total_tokens[row] =
      out.output_tokens[row] + (completed ? view.workload.prompt_tokens[row] : 0);
  if (!completed) return;
  const RequestLatencies latency = request_latencies(table, row);
  if (latency.ttft) out.ttft_ms[row] = *latency.ttft * 1e-6;
  if (latency.tpot) out.tpot_ms[row] = *latency.tpot * 1e-6;
  if (latency.e2el) out.e2el_ms[row] = *latency.e2el * 1e-6;
}

}  // namespace

RequestSamples request_samples(const RunView& view) {
  const RequestTable& table = view.requests;
  const SimTime warmup = warmup_end(view.scenario);
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  RequestSamples out;
  for (auto* column : {&out.ttft_ms, &out.tpot_ms, &out.e2el_ms})
    column->resize(table.size(), kNone);
  for (auto* column : {&out.completed, &out.total_tokens, &out.output_tokens})
    column->resize(table.size(), kNone);
  if (view.scenario.slo.any()) out.slo_met.resize(table.size(), kNone);
  TimeShares shares = time_shares(view);
  out.share_s = std::move(shares.seconds);
  out.in_service = shares.in_service;
  for (std::size_t row = 0; row < table.size(); ++row) {
    if (is_counted(table, row, warmup)) add_counted_request(view, row, out);
  }
  return out;
}

std::vector<MetricDelta> compare(const ComparedRun& base, const ComparedRun& variant,
                                 std::uint64_t seed) {
  const RunResult& a = base.result;
  const RunResult& b = variant.result;
  Deltas out(base, variant, seed);
  add_throughput(out, a.summary, b.summary);
  out.add_latency("ttft_ms", a.latency.time_to_first_token, b.latency.time_to_first_token,
                  out.resampled(&RequestSamples::ttft_ms));
  out.add_latency("tpot_ms", a.latency.time_per_output_token, b.latency.time_per_output_token,
                  out.resampled(&RequestSamples::tpot_ms));
  out.add_latency("itl_ms", a.latency.inter_token_latency, b.latency.inter_token_latency, {});
  out.add_latency("e2el_ms", a.latency.request_latency, b.latency.request_latency,
                  out.resampled(&RequestSamples::e2el_ms));
  if (a.slo && b.slo) {
    out.add("slo_attainment_ratio", a.slo->attainment_ratio, b.slo->attainment_ratio,
            out.resampled(&RequestSamples::slo_met)[0]);
    out.add_rate("request_goodput", a.summary.request_goodput, b.summary.request_goodput,
                 &RequestSamples::slo_met, &RequestSamples::share_s);
  }
  if (a.cost && b.cost) {
    out.add_rate("usd_per_million_output_tokens", a.cost->usd_per_million_output_tokens,
                 b.cost->usd_per_million_output_tokens, &RequestSamples::share_s,
                 &RequestSamples::output_tokens);
  }
  add_memory(out, a.memory, b.memory);
  if (a.moe && b.moe) add_experts(out, *a.moe, *b.moe);
  return out.take();
}

std::vector<Change> variant_changes(const Scenario& base, const VariantSpec& variant) {
  const Document document = Document::parse(base.resolved_json, base.name);
  std::vector<Change> changes;
  for (const auto& [path, value] : variant.set)
    changes.push_back({path, document.get(path), value});
  return changes;
}

}  // namespace moesim
