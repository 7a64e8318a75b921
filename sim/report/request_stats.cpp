#include "sim/report/request_stats.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <span>
#include <utility>

namespace moesim {
namespace {

constexpr std::size_t kExactLimit = 1'000'000;
constexpr SimTime kSecond = 1'000'000'000;

double difference(SimTime later, SimTime earlier) {
  return static_cast<double>(later - earlier);
}

// Latencies of one request in nanoseconds; not a number where undefined.

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

double queue_time(const RequestTable& table, std::size_t row) {
  const SimTime scheduled = table.first_scheduled[row];
  return scheduled == kNever ? kUndefined : difference(scheduled, table.arrival[row]);
}
double ttft(const RequestTable& table, std::size_t row) {
  const SimTime first = table.first_token[row];
  return first == kNever ? kUndefined : difference(first, table.arrival[row]);
}
double ttst(const RequestTable& table, std::size_t row) {
  const SimTime second = table.second_token[row];
  return second == kNever ? kUndefined : difference(second, table.first_token[row]);
}
double e2el(const RequestTable& table, std::size_t row) {
  const bool completed = table.status[row] == RequestStatus::kCompleted;
  return completed ? difference(table.finish[row], table.arrival[row]) : kUndefined;
}
double tpot(const RequestTable& table, std::size_t row) {
  const bool completed = table.status[row] == RequestStatus::kCompleted;
  if (!completed || table.generated[row] <= 1) return kUndefined;
  return difference(table.finish[row], table.first_token[row]) / (table.generated[row] - 1.0);
}

/// Requests in flight at some moment of the same second, at most over all seconds: vLLM bench's
/// `max_concurrent_requests` (seconds count from the first arrival).
class ConcurrencyPeak {
 public:
  ConcurrencyPeak(SimTime begin, SimTime end) : begin_(begin) {
    const std::size_t seconds = begin > end ? 1 : second(end) + 2;
    if (seconds <= kMostDense) change_.resize(seconds);
  }

  void add(SimTime arrival, SimTime finish) {
    ++change(second(arrival));
    --change(second(finish) + 1);
  }

  [[nodiscard]] std::int64_t peak() const {
    std::int64_t now = 0;
    std::int64_t best = 0;
    for (const std::int64_t change : change_) best = std::max(best, now += change);
    for (const auto& [second, change] : sparse_) best = std::max(best, now += change);
    return best;
  }

 private:
  [[nodiscard]] std::size_t second(SimTime time) const {
    return static_cast<std::size_t>((time - begin_) / kSecond);
  }
  [[nodiscard]] std::int64_t& change(std::size_t second) {
    return change_.empty() ? sparse_[second] : change_[second];
  }
  static constexpr std::size_t kMostDense = 1'000'000;  ///< seconds: twelve days, 8 MB
  SimTime begin_;
  std::vector<std::int64_t> change_;            ///< [second]
  std::map<std::size_t, std::int64_t> sparse_;  ///< the same of longer runs
};

void count_status(const RunView& view, std::size_t row, RequestStatistics& out) {
  const RequestTable& table = view.requests;
  switch (table.status[row]) {
    case RequestStatus::kDropped:
      ++out.dropped;
      break;
    case RequestStatus::kWaiting:
    case RequestStatus::kRunning:
    case RequestStatus::kIncomplete:
      if (table.arrival[row] == kNever) break;  // the client never sent it
      ++(table.first_scheduled[row] == kNever ? out.still_queued : out.still_running);
      break;
    case RequestStatus::kPending:
    case RequestStatus::kCompleted:
      break;
  }
}

void count_slo(const RunView& view, std::size_t row, RequestStatistics& out) {
  const bool good = meets_slo(view.requests, row, view.scenario.slo);
  if (good) ++out.good;
  const std::vector<std::uint16_t>& classes = view.workload.slo_class;
  if (classes.empty() || classes[row] == kNoSloClass) return;
  ++out.counted_by_class[classes[row]];
  if (good) ++out.good_by_class[classes[row]];
}

void add_completed(const RunView& view, std::size_t row, RequestStatistics& out) {
  const RequestTable& table = view.requests;
  ++out.counted_completed;
  out.input_tokens += view.workload.prompt_tokens[row];
  out.output_tokens += table.generated[row];
  out.last_finish = std::max(out.last_finish, table.finish[row]);
  const std::size_t instance = table.instance[row];
  if (instance < out.completed_by_instance.size()) {
    ++out.completed_by_instance[instance];
    out.output_tokens_by_instance[instance] += table.generated[row];
  }
}

/// Summaries of the completed counted requests `rows`, one quantity after the other: the next one
/// finds the memory of the last.
class Columns {
 public:
  Columns(const RequestTable& table, std::span<const std::uint32_t> rows)
      : table_(table), rows_(rows) {}

  /// `value(row)`: what is sampled; not a number where undefined.
  template <class Value>
  [[nodiscard]] std::optional<Summary> summary(double scale, const Value& value) const {
    Sample sample(table_.size());
    std::array<double, 256> some;  // at a time: in cache
    std::size_t count = 0;
    for (const std::uint32_t row : rows_) {
      const double one = value(row);
      some[count] = one;
      count += std::isnan(one) ? 0U : 1U;
      if (count < some.size()) continue;
      sample.add(some);
      count = 0;
    }
    sample.add(std::span(some).first(count));
    return sample.take_summary(scale);
  }
  /// The same of a latency in nanoseconds, in milliseconds.
  template <class Latency>
  [[nodiscard]] std::optional<Summary> latency_ms(const Latency& latency) const {
    constexpr double kNsToMs = 1e-6;
    return summary(kNsToMs, [&](std::size_t row) { return latency(table_, row); });
  }

 private:
  const RequestTable& table_;
  std::span<const std::uint32_t> rows_;
};

void summarize_rows(const RunView& view, std::span<const std::uint32_t> rows,
                    RequestStatistics& out) {
  const RequestTable& table = view.requests;
  const Columns columns(table, rows);
  out.ttft_ms = columns.latency_ms(ttft);
  out.ttst_ms = columns.latency_ms(ttst);
  out.tpot_ms = columns.latency_ms(tpot);
  out.e2el_ms = columns.latency_ms(e2el);
  out.queue_ms = columns.latency_ms(queue_time);
  const auto length = [&](const std::vector<std::uint32_t>& tokens) {
    return columns.summary(1, [&](std::size_t row) { return static_cast<double>(tokens[row]); });
  };
  out.input_length = length(view.workload.prompt_tokens);
  out.output_length = length(table.generated);
  double inverse_tpot_sum = 0;  // 1/ns
  std::int64_t tpot_count = 0;
  for (const std::uint32_t row : rows) {
    const double one = tpot(table, row);
    if (std::isnan(one)) continue;
    if (one > 0) inverse_tpot_sum += 1.0 / one;
    ++tpot_count;
  }
  if (inverse_tpot_sum > 0)
    out.tokens_per_s_per_user = 1e9 * inverse_tpot_sum / static_cast<double>(tpot_count);
}

std::int64_t max_concurrent(const RunView& view, const RequestStatistics& stats, SimTime warmup) {
  const RequestTable& table = view.requests;
  if (stats.counted == 0) return 0;
  const SimTime end = std::max({view.end_time, stats.last_finish, stats.last_arrival});
  ConcurrencyPeak peak(stats.first_arrival, end);
  for (std::size_t row = 0; row < table.size(); ++row) {
    if (!is_counted(table, row, warmup) || table.status[row] == RequestStatus::kDropped) continue;
    peak.add(table.arrival[row], std::min(table.finish[row], end));
  }
  return peak.peak();
}

}  // namespace

RequestLatencies request_latencies(const RequestTable& table, std::size_t row) {
  const auto known = [](double ns) { return std::isnan(ns) ? std::nullopt : std::optional(ns); };
  return {known(ttft(table, row)), known(ttst(table, row)), known(tpot(table, row)),
          known(e2el(table, row)), known(queue_time(table, row))};
}

bool meets_slo(const RequestTable& table, std::size_t row, const SloSpec& slo) {
  if (table.status[row] != RequestStatus::kCompleted) return false;
  if (!slo.any()) return true;
  const RequestLatencies latency = request_latencies(table, row);
  const auto within = [](const std::optional<double>& target_ms, const std::optional<double>& ns) {
    return !target_ms || ns.value_or(0) <= *target_ms * 1e6;
  };
  return within(slo.ttft_ms, latency.ttft) && within(slo.tpot_ms, latency.tpot) &&
         within(slo.e2el_ms, latency.e2el);
}

Sample::Sample(std::size_t expected) {
  if (expected > kExactLimit) {
    histogram_.emplace();
  } else {
    exact_.reserve(expected);
  }
}

void Sample::add(std::span<const double> values) {
  if (!histogram_) {
    exact_.insert(exact_.end(), values.begin(), values.end());
    return;
  }
  for (const double value : values)
    histogram_->add(static_cast<std::int64_t>(std::llround(value)), 1);
}

std::optional<Summary> Sample::take_summary(double scale) {
  if (histogram_) {
    if (histogram_->count() == 0) return std::nullopt;
    return scaled(histogram_->summary(), scale);
  }
  if (exact_.empty()) return std::nullopt;
  return scaled(summarize(std::move(exact_)), scale);
}

Summary scaled(const Summary& summary, double factor) {
  Summary result = summary;
  for (double* value :
       {&result.mean, &result.std, &result.min, &result.max, &result.p1, &result.p5, &result.p25,
        &result.p50, &result.p75, &result.p90, &result.p95, &result.p99}) {
    *value *= factor;
  }
  return result;
}

double RequestStatistics::duration_s(SimTime end_time) const {
  if (counted == 0) return 0;
  const bool unfinished = still_queued + still_running > 0;
  const SimTime end = unfinished ? std::max(end_time, last_finish) : last_finish;
  return end > first_arrival ? difference(end, first_arrival) * 1e-9 : 0;
}

RequestStatistics request_statistics(const RunView& view) {
  const RequestTable& table = view.requests;
  const SimTime warmup = warmup_end(view.scenario);
  RequestStatistics out;
  out.completed_by_instance.resize(view.totals.size());
  out.output_tokens_by_instance.resize(view.totals.size());
  out.counted_by_class.resize(view.workload.slo_class_names.size());
  out.good_by_class.resize(view.workload.slo_class_names.size());
  std::vector<std::uint32_t> rows;  // completed and counted
  rows.reserve(table.size());
  for (std::size_t row = 0; row < table.size(); ++row) {
    const bool completed = table.status[row] == RequestStatus::kCompleted;
    ++(completed ? out.completed : out.failed);
    count_status(view, row, out);
    if (!is_counted(table, row, warmup)) {
      if (table.arrival[row] < warmup) ++out.before_warmup;
      continue;
    }
    ++out.counted;
    out.first_arrival = std::min(out.first_arrival, table.arrival[row]);
    out.last_arrival = std::max(out.last_arrival, table.arrival[row]);
    if (completed) {
      add_completed(view, row, out);
      rows.push_back(static_cast<std::uint32_t>(row));
    }
    count_slo(view, row, out);
  }
  summarize_rows(view, rows, out);
  out.max_concurrent = max_concurrent(view, out, warmup);
  return out;
}

}  // namespace moesim
