#include "sim/report/request_stats.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace moesim {
namespace {

constexpr std::size_t kExactLimit = 1'000'000;
constexpr SimTime kSecond = 1'000'000'000;

double difference(SimTime later, SimTime earlier) {
  return static_cast<double>(later - earlier);
}

/// Requests in flight at some moment of the same second, at most over all seconds: vLLM bench's
/// `max_concurrent_requests` (seconds count from the first arrival).
class ConcurrencyPeak {
 public:
  ConcurrencyPeak(SimTime begin, SimTime end)
      : begin_(begin), change_(begin > end ? 1 : second(end) + 2) {}

  void add(SimTime arrival, SimTime finish) {
    ++change_[second(arrival)];
    --change_[second(finish) + 1];
  }

  [[nodiscard]] std::int64_t peak() const {
    std::int64_t now = 0;
    std::int64_t best = 0;
    for (const std::int64_t change : change_) best = std::max(best, now += change);
    return best;
  }

 private:
  [[nodiscard]] std::size_t second(SimTime time) const {
    return static_cast<std::size_t>((time - begin_) / kSecond);
  }
  SimTime begin_;
  std::vector<std::int64_t> change_;
};

struct Samples {
  explicit Samples(std::size_t n)
      : ttft(n), ttst(n), tpot(n), e2el(n), queue(n), input(n), output(n) {}
  Sample ttft, ttst, tpot, e2el, queue, input, output;
  double inverse_tpot_sum = 0;  ///< 1/ns
  std::int64_t tpot_count = 0;
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

void add_completed(const RunView& view, std::size_t row, RequestStatistics& out, Samples& samples) {
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
  const RequestLatencies latency = request_latencies(table, row);
  if (latency.ttft) samples.ttft.add(*latency.ttft);
  if (latency.ttst) samples.ttst.add(*latency.ttst);
  if (latency.e2el) samples.e2el.add(*latency.e2el);
  if (latency.queue) samples.queue.add(*latency.queue);
  if (latency.tpot) {
    samples.tpot.add(*latency.tpot);
    if (*latency.tpot > 0) samples.inverse_tpot_sum += 1.0 / *latency.tpot;
    ++samples.tpot_count;
  }
  samples.input.add(view.workload.prompt_tokens[row]);
  samples.output.add(table.generated[row]);
}

void summarize_samples(Samples& samples, RequestStatistics& out) {
  constexpr double kNsToMs = 1e-6;
  out.ttft_ms = samples.ttft.take_summary(kNsToMs);
  out.ttst_ms = samples.ttst.take_summary(kNsToMs);
  out.tpot_ms = samples.tpot.take_summary(kNsToMs);
  out.e2el_ms = samples.e2el.take_summary(kNsToMs);
  out.queue_ms = samples.queue.take_summary(kNsToMs);
  out.input_length = samples.input.take_summary(1);
  out.output_length = samples.output.take_summary(1);
  if (samples.tpot_count > 0 && samples.inverse_tpot_sum > 0) {
    out.tokens_per_s_per_user =
        1e9 * samples.inverse_tpot_sum / static_cast<double>(samples.tpot_count);
  }
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
  RequestLatencies result;
  const SimTime arrival = table.arrival[row];
  const SimTime first_token = table.first_token[row];
  const SimTime finish = table.finish[row];
  if (table.first_scheduled[row] != kNever)
    result.queue = difference(table.first_scheduled[row], arrival);
  if (first_token != kNever) result.ttft = difference(first_token, arrival);
  const SimTime second_token = table.second_token[row];
  if (second_token != kNever) result.ttst = difference(second_token, first_token);
  if (table.status[row] != RequestStatus::kCompleted) return result;
  result.e2el = difference(finish, arrival);
  if (table.generated[row] > 1)
    result.tpot = difference(finish, first_token) / (table.generated[row] - 1.0);
  return result;
}

bool meets_slo(const RequestTable& table, std::size_t row, const SloSpec& slo) {
  if (table.status[row] != RequestStatus::kCompleted) return false;
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

void Sample::add(double value) {
  if (histogram_) {
    histogram_->add(static_cast<std::int64_t>(std::llround(value)), 1);
  } else {
    exact_.push_back(value);
  }
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
  Samples samples(table.size());
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
    if (completed) add_completed(view, row, out, samples);
    count_slo(view, row, out);
  }
  summarize_samples(samples, out);
  out.max_concurrent = max_concurrent(view, out, warmup);
  return out;
}

}  // namespace moesim
