#include "sim/report/counters.h"

#include <algorithm>

#include "sim/report/request_stats.h"

namespace moesim {
namespace {

// Bucket bounds in seconds: vLLM, v1/metrics/loggers.py (2026-05).
const std::vector<double> kFirstTokenBounds{0.001, 0.005, 0.01, 0.02, 0.04,  0.06,  0.08, 0.1,
                                            0.25,  0.5,   0.75, 1.0,  2.5,   5.0,   7.5,  10.0,
                                            20.0,  40.0,  80.0, 160., 640.0, 2560.0};
const std::vector<double> kPerTokenBounds{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,  0.3,  0.4, 0.5,
                                          0.75, 1.0,   2.5,  5.0,   7.5, 10.0, 20.0, 40.0, 80.0};
const std::vector<double> kRequestBounds{0.3,  0.5,  0.8,  1.0,  1.5,  2.0,   2.5,
                                         5.0,  10.0, 15.0, 20.0, 30.0, 40.0,  50.0,
                                         60.0, 120., 240., 480., 960., 1920., 7680.};

BucketHistogram empty_histogram(const std::vector<double>& bounds) {
  BucketHistogram histogram;
  histogram.bounds = bounds;
  histogram.counts.assign(bounds.size(), 0);
  return histogram;
}

/// Adds to the one bucket a value falls in; `cumulate` makes the counts cumulative at the end.
void add(BucketHistogram& histogram, double value) {
  const auto bound = std::lower_bound(histogram.bounds.begin(), histogram.bounds.end(), value);
  if (bound != histogram.bounds.end())
    ++histogram.counts[static_cast<std::size_t>(bound - histogram.bounds.begin())];
  ++histogram.count;
  histogram.sum += value;
}

void cumulate(BucketHistogram& histogram) {
  for (std::size_t i = 1; i < histogram.counts.size(); ++i)
    histogram.counts[i] += histogram.counts[i - 1];
}

BucketHistogram from_gaps(const LogHistogram& gaps) {
  BucketHistogram histogram = empty_histogram(kPerTokenBounds);
  for (std::size_t i = 0; i < histogram.bounds.size(); ++i)
    histogram.counts[i] = gaps.count_at_or_below(to_sim_time(Seconds(histogram.bounds[i])));
  histogram.count = gaps.count();
  histogram.sum = gaps.sum() * 1e-9;
  return histogram;
}

void add_request(const RunView& view, std::size_t row, EngineCounters& out) {
  const RequestTable& table = view.requests;
  const auto interval = [](SimTime from, SimTime to) {
    return static_cast<double>(to - from) * 1e-9;
  };
  ++out.success;
  out.prompt_tokens += view.workload.prompt_tokens[row];
  out.generation_tokens += table.generated[row];
  const RequestLatencies latency = request_latencies(table, row);
  if (latency.ttft) add(out.time_to_first_token, *latency.ttft * 1e-9);
  if (latency.tpot) add(out.time_per_output_token, *latency.tpot * 1e-9);
  if (latency.e2el) add(out.e2e_latency, *latency.e2el * 1e-9);
  if (latency.queue) add(out.queue_time, *latency.queue * 1e-9);
  add(out.prefill_time, interval(table.first_scheduled[row], table.first_token[row]));
  add(out.decode_time, interval(table.first_token[row], table.finish[row]));
}

}  // namespace

std::vector<EngineCounters> engine_counters(const RunView& view, const Metrics& metrics) {
  const RequestTable& table = view.requests;
  const SimTime warmup = warmup_end(view.scenario);
  std::vector<EngineCounters> all(view.totals.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i].time_to_first_token = empty_histogram(kFirstTokenBounds);
    all[i].inter_token_latency = i < metrics.instance_count() ? from_gaps(metrics.gaps(i))
                                                              : empty_histogram(kPerTokenBounds);
    all[i].time_per_output_token = empty_histogram(kPerTokenBounds);
    all[i].e2e_latency = all[i].queue_time = all[i].prefill_time = all[i].decode_time =
        empty_histogram(kRequestBounds);
  }
  for (std::size_t row = 0; row < table.size(); ++row) {
    const std::size_t instance = table.instance[row];
    if (is_counted(table, row, warmup) && table.status[row] == RequestStatus::kCompleted &&
        instance < all.size()) {
      add_request(view, row, all[instance]);
    }
  }
  for (EngineCounters& counters : all) {
    for (BucketHistogram* histogram :
         {&counters.time_to_first_token, &counters.time_per_output_token, &counters.e2e_latency,
          &counters.queue_time, &counters.prefill_time, &counters.decode_time}) {
      cumulate(*histogram);
    }
  }
  return all;
}

}  // namespace moesim
