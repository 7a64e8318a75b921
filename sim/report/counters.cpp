#include "sim/report/counters.h"

#include <algorithm>
#include <deque>
#include <numeric>

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

/// The bucket a value falls in; `bounds.size()` beyond the last. Neighbours of a run are alike, so
/// the bucket found before is tried first.
std::size_t bucket_of(const std::vector<double>& bounds, double value, std::size_t before) {
  const bool below = before == bounds.size() || value <= bounds[before];
  if (below && (before == 0 || value > bounds[before - 1])) return before;
  return static_cast<std::size_t>(std::lower_bound(bounds.begin(), bounds.end(), value) -
                                  bounds.begin());
}

/// Fills a histogram value by value; its counts are cumulative once this is gone.
class Filler {
 public:
  explicit Filler(BucketHistogram& histogram) : histogram_(histogram) {}
  Filler(const Filler&) = delete;
  Filler& operator=(const Filler&) = delete;
  ~Filler() {
    std::partial_sum(histogram_.counts.begin(), histogram_.counts.end(), histogram_.counts.begin());
  }

  void add(double value) {
    bucket_ = bucket_of(histogram_.bounds, value, bucket_);
    if (bucket_ < histogram_.counts.size()) ++histogram_.counts[bucket_];
    ++histogram_.count;
    histogram_.sum += value;
  }

 private:
  BucketHistogram& histogram_;
  std::size_t bucket_ = 0;  ///< of the last value
};

BucketHistogram from_gaps(const LogHistogram& gaps) {
  BucketHistogram histogram = empty_histogram(kPerTokenBounds);
  for (std::size_t i = 0; i < histogram.bounds.size(); ++i)
    histogram.counts[i] = gaps.count_at_or_below(to_sim_time(Seconds(histogram.bounds[i])));
  histogram.count = gaps.count();
  histogram.sum = gaps.sum() * 1e-9;
  return histogram;
}

/// The histograms of an engine's requests.
class RequestCounters {
 public:
  explicit RequestCounters(EngineCounters& counters)
      : counters_(counters),
        first_token_(counters.time_to_first_token),
        per_token_(counters.time_per_output_token),
        e2e_(counters.e2e_latency),
        queue_(counters.queue_time),
        prefill_(counters.prefill_time),
        decode_(counters.decode_time) {}

  /// `row`: a completed request.
  void add(const RunView& view, std::size_t row) {
    const RequestTable& table = view.requests;
    const auto interval = [](SimTime from, SimTime to) {
      return static_cast<double>(to - from) * 1e-9;
    };
    ++counters_.success;
    counters_.prompt_tokens += view.workload.prompt_tokens[row];
    counters_.generation_tokens += table.generated[row];
    const RequestLatencies latency = request_latencies(table, row);
    if (latency.ttft) first_token_.add(*latency.ttft * 1e-9);
    if (latency.tpot) per_token_.add(*latency.tpot * 1e-9);
    if (latency.e2el) e2e_.add(*latency.e2el * 1e-9);
    if (latency.queue) queue_.add(*latency.queue * 1e-9);
    prefill_.add(interval(table.first_scheduled[row], table.first_token[row]));
    decode_.add(interval(table.first_token[row], table.finish[row]));
  }

 private:
  EngineCounters& counters_;
  Filler first_token_, per_token_, e2e_, queue_, prefill_, decode_;
};

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
  std::deque<RequestCounters> by_instance;
  for (EngineCounters& counters : all) by_instance.emplace_back(counters);
  for (std::size_t row = 0; row < table.size(); ++row) {
    const std::size_t instance = table.instance[row];
    if (is_counted(table, row, warmup) && table.status[row] == RequestStatus::kCompleted &&
        instance < all.size()) {
      by_instance[instance].add(view, row);
    }
  }
  by_instance.clear();
  return all;
}

}  // namespace moesim
