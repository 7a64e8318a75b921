#include "sim/report/compare.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "sim/base/random.h"
#include "sim/base/reader.h"
#include "sim/base/stats.h"
#include "sim/report/request_stats.h"

namespace moesim {
namespace {

constexpr std::size_t kBlocks = 20;
constexpr int kResamples = 200;
constexpr std::array<double, 3> kPercentiles{50, 90, 99};
/// Mean, then the percentiles above.
using Estimates = std::array<double, 1 + kPercentiles.size()>;
/// How often every block was drawn.
using Draw = std::array<double, kBlocks>;

/// One metric of one run, sorted once so that a resample is one pass.
class BlockedSample {
 public:
  /// Keeps the rows in `keep`, which are the same for both runs.
  BlockedSample(const std::vector<double>& values, const std::vector<std::size_t>& keep) {
    values_.reserve(keep.size());
    for (std::size_t i = 0; i < keep.size(); ++i)
      values_.emplace_back(values[keep[i]], static_cast<std::uint32_t>(i * kBlocks / keep.size()));
    for (const auto& [value, block] : values_) {
      sums_[block] += value;
      counts_[block] += 1;
    }
    std::sort(values_.begin(), values_.end());
  }

  [[nodiscard]] Estimates estimate(const Draw& draw) const {
    double sum = 0;
    double count = 0;
    for (std::size_t b = 0; b < kBlocks; ++b) {
      sum += draw[b] * sums_[b];
      count += draw[b] * counts_[b];
    }
    Estimates out{};
    out[0] = sum / count;
    double below = 0;
    std::size_t next = 0;
    for (const auto& [value, block] : values_) {
      below += draw[block];
      while (next < kPercentiles.size() && below > kPercentiles[next] / 100 * (count - 1))
        out[1 + next++] = value;
      if (next == kPercentiles.size()) break;
    }
    return out;
  }

 private:
  std::vector<std::pair<double, std::uint32_t>> values_;
  std::array<double, kBlocks> sums_{}, counts_{};
};

std::vector<Draw> make_draws(std::uint64_t seed) {
  Rng rng(seed, "comparison");
  std::vector<Draw> draws(kResamples);
  for (Draw& draw : draws) {
    draw.fill(0);
    for (std::size_t i = 0; i < kBlocks; ++i) draw[rng.below(kBlocks)] += 1;
  }
  return draws;
}

struct Interval {
  double p10 = 0, p90 = 0;
  bool significant = false;
};
using Intervals = std::array<std::optional<Interval>, 1 + kPercentiles.size()>;

Interval interval_of(std::vector<double> differences) {
  std::sort(differences.begin(), differences.end());
  return {percentile(differences, 10), percentile(differences, 90),
          percentile(differences, 2.5) > 0 || percentile(differences, 97.5) < 0};
}

/// Intervals of the paired difference; empty if too few requests have the metric in both runs.
Intervals paired_intervals(const std::vector<double>& base, const std::vector<double>& variant,
                           const std::vector<Draw>& draws) {
  Intervals out;
  if (base.size() != variant.size()) return out;
  std::vector<std::size_t> keep;
  for (std::size_t i = 0; i < base.size(); ++i) {
    if (!std::isnan(base[i]) && !std::isnan(variant[i])) keep.push_back(i);
  }
  if (keep.size() < 2 * kBlocks) return out;
  const BlockedSample a(base, keep);
  const BlockedSample b(variant, keep);
  std::array<std::vector<double>, 1 + kPercentiles.size()> differences;
  for (const Draw& draw : draws) {
    const Estimates before = a.estimate(draw);
    const Estimates after = b.estimate(draw);
    for (std::size_t i = 0; i < before.size(); ++i) differences[i].push_back(after[i] - before[i]);
  }
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = interval_of(std::move(differences[i]));
  return out;
}

class Deltas {
 public:
  /// Adds a metric both runs have.
  void add(const std::string& metric, const std::optional<double>& base,
           const std::optional<double>& variant, const std::optional<Interval>& interval = {}) {
    if (!base || !variant) return;
    MetricDelta delta{metric, *base, *variant, *variant - *base, {}, {}, {}, {}};
    if (*base != 0) delta.rel = delta.abs / *base;
    if (interval) {
      delta.p10 = interval->p10;
      delta.p90 = interval->p90;
      delta.significant = interval->significant;
    }
    list_.push_back(std::move(delta));
  }

  void add_latency(const std::string& metric, const std::optional<Summary>& base,
                   const std::optional<Summary>& variant, const Intervals& intervals) {
    if (!base || !variant) return;
    add("mean_" + metric, base->mean, variant->mean, intervals[0]);
    add("p50_" + metric, base->p50, variant->p50, intervals[1]);
    add("p90_" + metric, base->p90, variant->p90, intervals[2]);
    add("p99_" + metric, base->p99, variant->p99, intervals[3]);
  }

  [[nodiscard]] std::vector<MetricDelta> take() { return std::move(list_); }

 private:
  std::vector<MetricDelta> list_;
};

/// What a variant changes in memory; nothing where it changes nothing.
void add_memory(Deltas& out, const MemorySection& base, const MemorySection& variant) {
  const auto gib = [](const MemorySection& memory) {
    return static_cast<double>(memory.per_gpu.weights.total().value()) /
           static_cast<double>(1 << 30);
  };
  if (gib(base) != gib(variant)) out.add("weights_gib_per_gpu", gib(base), gib(variant));
  if (base.num_kv_tokens != variant.num_kv_tokens) {
    out.add("num_kv_tokens", static_cast<double>(base.num_kv_tokens),
            static_cast<double>(variant.num_kv_tokens));
  }
}

}  // namespace

RequestSamples request_samples(const RunView& view) {
  const RequestTable& table = view.requests;
  const SimTime warmup = warmup_end(view.scenario);
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  RequestSamples out;
  const bool slo = view.scenario.slo.any();
  for (auto* column : {&out.ttft_ms, &out.tpot_ms, &out.e2el_ms})
    column->resize(table.size(), kNone);
  if (slo) out.slo_met.resize(table.size(), kNone);
  for (std::size_t row = 0; row < table.size(); ++row) {
    if (!is_counted(table, row, warmup)) continue;
    if (slo) out.slo_met[row] = meets_slo(table, row, view.scenario.slo) ? 1 : 0;
    if (table.status[row] != RequestStatus::kCompleted) continue;
    const RequestLatencies latency = request_latencies(table, row);
    if (latency.ttft) out.ttft_ms[row] = *latency.ttft * 1e-6;
    if (latency.tpot) out.tpot_ms[row] = *latency.tpot * 1e-6;
    if (latency.e2el) out.e2el_ms[row] = *latency.e2el * 1e-6;
  }
  return out;
}

std::vector<MetricDelta> compare(const ComparedRun& base, const ComparedRun& variant,
                                 std::uint64_t seed) {
  const std::vector<Draw> draws = make_draws(seed);
  const SummarySection& a = base.result.summary;
  const SummarySection& b = variant.result.summary;
  Deltas out;
  out.add("request_throughput", a.request_throughput, b.request_throughput);
  out.add("output_throughput", a.output_throughput, b.output_throughput);
  out.add("total_token_throughput", a.total_token_throughput, b.total_token_throughput);
  out.add("output_throughput_per_gpu", a.output_throughput_per_gpu, b.output_throughput_per_gpu);
  const LatencySection& before = base.result.latency;
  const LatencySection& after = variant.result.latency;
  out.add_latency("ttft_ms", before.time_to_first_token, after.time_to_first_token,
                  paired_intervals(base.samples.ttft_ms, variant.samples.ttft_ms, draws));
  out.add_latency("tpot_ms", before.time_per_output_token, after.time_per_output_token,
                  paired_intervals(base.samples.tpot_ms, variant.samples.tpot_ms, draws));
  out.add_latency("itl_ms", before.inter_token_latency, after.inter_token_latency, {});
  out.add_latency("e2el_ms", before.request_latency, after.request_latency,
                  paired_intervals(base.samples.e2el_ms, variant.samples.e2el_ms, draws));
  if (base.result.slo && variant.result.slo) {
    out.add("slo_attainment_ratio", base.result.slo->attainment_ratio,
            variant.result.slo->attainment_ratio,
            paired_intervals(base.samples.slo_met, variant.samples.slo_met, draws)[0]);
  }
  out.add("request_goodput", a.request_goodput, b.request_goodput);
  if (base.result.cost && variant.result.cost) {
    out.add("usd_per_million_output_tokens", base.result.cost->usd_per_million_output_tokens,
            variant.result.cost->usd_per_million_output_tokens);
  }
  add_memory(out, base.result.memory, variant.result.memory);
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
