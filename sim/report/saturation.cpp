#include "sim/report/saturation.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <span>
#include <vector>

namespace moesim {
namespace {

constexpr std::size_t kBatches = 21;
constexpr std::size_t kMinRequests = 10;
constexpr double kTolerableSlope = 0.02;
constexpr double kStandardErrors = 3;
constexpr double kBurstFactor = 10;
constexpr double kStandingQueue = 0.1;
constexpr double kRefused = 0.1;

struct Point {
  double time_s = 0;  ///< mean due time
  double wait_s = 0;  ///< mean wait for admission
};

double seconds(SimTime later, SimTime earlier) {
  return static_cast<double>(later - earlier) * 1e-9;
}

/// Whether clients wait for answers before they send more: no request has a time of its own.
bool is_closed_loop(const Workload& workload) {
  if (workload.closed_loop) return true;
  if (workload.max_concurrency == 0 || !workload.predecessor.empty()) return false;
  const std::vector<std::int64_t>& planned = workload.arrival_ns;
  return std::all_of(planned.begin(), planned.end(),
                     [&](std::int64_t time) { return time == planned.front(); });
}

/// What the verdict looks at.
struct Load {
  std::vector<std::uint32_t> rows;  ///< counted rows that could be served, in the order of `due`
  std::span<const SimTime> due;     ///< by row of the table
  std::size_t refused = 0;          ///< counted rows that could not
};

Load load_of(const RunView& view) {
  const RequestTable& table = view.requests;
  const Workload& workload = view.workload;
  const SimTime warmup = warmup_end(view.scenario);
  Load load;
  load.due = table.arrival;
  // Planned times: those of follow-up turns and closed loops are none.
  const bool held_back =
      workload.max_concurrency > 0 && workload.predecessor.empty() && !is_closed_loop(workload);
  if (held_back) load.due = workload.arrival_ns;
  load.rows.reserve(table.size());
  for (std::size_t row = 0; row < table.size(); ++row) {
    if (!is_counted(table, row, warmup)) continue;
    if (table.status[row] == RequestStatus::kDropped) {
      ++load.refused;
    } else {
      load.rows.push_back(static_cast<std::uint32_t>(row));
    }
  }
  const auto earlier = [&](std::uint32_t a, std::uint32_t b) { return load.due[a] < load.due[b]; };
  if (!std::is_sorted(load.rows.begin(), load.rows.end(), earlier))
    std::stable_sort(load.rows.begin(), load.rows.end(), earlier);
  return load;
}

/// `rows`: admitted, in the order of `due`.
std::vector<Point> batch_means(const RequestTable& table, std::span<const SimTime> due,
                               std::span<const std::uint32_t> rows) {
  const std::size_t batches = std::min(kBatches, rows.size() / 2);
  std::vector<Point> points(batches);
  for (std::size_t b = 0; b < batches; ++b) {
    const std::size_t begin = b * rows.size() / batches;
    const std::size_t end = (b + 1) * rows.size() / batches;
    Point sum;
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t row = rows[i];
      sum.time_s += seconds(due[row], 0);
      sum.wait_s += seconds(table.first_scheduled[row], due[row]);
    }
    const auto n = static_cast<double>(end - begin);
    points[b] = {sum.time_s / n, sum.wait_s / n};
  }
  return points;
}

struct Line {
  double slope = 0, standard_error = 0;
};

/// Ordinary least squares; no slope if all times are equal.
Line fit(const std::vector<Point>& points, std::size_t first) {
  const auto n = static_cast<double>(points.size() - first);
  if (n < 3) return {};
  Point mean;
  for (std::size_t i = first; i < points.size(); ++i) {
    mean.time_s += points[i].time_s / n;
    mean.wait_s += points[i].wait_s / n;
  }
  double tt = 0;
  double tw = 0;
  double ww = 0;
  for (std::size_t i = first; i < points.size(); ++i) {
    const double t = points[i].time_s - mean.time_s;
    const double w = points[i].wait_s - mean.wait_s;
    tt += t * t;
    tw += t * w;
    ww += w * w;
  }
  if (tt <= 0) return {};
  const double slope = tw / tt;
  const double residual = std::max(0.0, ww - slope * tw);
  return {slope, std::sqrt(residual / (n - 2) / tt)};
}

double mean_service_s(const RequestTable& table, std::span<const std::uint32_t> rows) {
  double sum = 0;
  std::int64_t count = 0;
  for (const std::uint32_t row : rows) {
    if (table.status[row] != RequestStatus::kCompleted) continue;
    sum += seconds(table.finish[row], table.first_scheduled[row]);
    ++count;
  }
  return count > 0 ? sum / static_cast<double>(count) : 0;
}

/// How many of `load` were due and not yet admitted: at the last arrival, and at most.
struct Queue {
  std::size_t at_last = 0, most = 0;
  std::vector<SimTime> admissions;  ///< in their order
};

Queue queue_of(const RequestTable& table, const Load& load,
               std::span<const std::uint32_t> admitted) {
  Queue queue;
  queue.admissions.reserve(admitted.size());
  for (const std::uint32_t row : admitted) queue.admissions.push_back(table.first_scheduled[row]);
  if (!std::is_sorted(queue.admissions.begin(), queue.admissions.end()))
    std::sort(queue.admissions.begin(), queue.admissions.end());
  std::size_t gone = 0;
  for (std::size_t i = 0; i < load.rows.size(); ++i) {
    const SimTime now = load.due[load.rows[i]];
    while (gone < queue.admissions.size() && queue.admissions[gone] <= now) ++gone;
    // Of requests due at the same time the later ones may be admitted already.
    queue.at_last = i + 1 - std::min(gone, i + 1);
    queue.most = std::max(queue.most, queue.at_last);
  }
  return queue;
}

/// What chance leaves waiting of so many requests, one standard deviation: see saturation.h.
double chance(std::size_t requests) {
  return std::sqrt(static_cast<double>(requests));
}
bool beyond_chance(double waiting, std::size_t requests) {
  return waiting > kStandardErrors * chance(requests);
}

/// Requests that were due beyond what could have been admitted while they came, had the engine
/// never been idle; negative if it could have admitted more. Its capacity is the rate of admission
/// from when the queue began to stand for good; 0 if it did not.
double excess(const std::vector<Point>& points, double service_s, const Load& load,
              const Queue& queue) {
  std::size_t first = points.size();
  while (first > 0 && points[first - 1].wait_s > service_s) --first;
  if (first == points.size() || queue.admissions.empty()) return 0;
  const SimTime begin = to_sim_time(Seconds(points[first].time_s));
  const auto since = std::upper_bound(queue.admissions.begin(), queue.admissions.end(), begin);
  const auto count = static_cast<double>(queue.admissions.end() - since);
  const double standing_s = seconds(queue.admissions.back(), begin);
  const double window_s = seconds(load.due[load.rows.back()], load.due[load.rows.front()]);
  if (standing_s <= 0 || window_s <= 0) return 0;
  return static_cast<double>(load.rows.size()) - count / standing_s * window_s;
}

/// Whether the queue at the last arrival shows more load than capacity.
bool outgrown(const Line& line, const std::vector<Point>& points, double service_s,
              const Load& load, const Queue& queue) {
  const std::size_t n = load.rows.size();
  const auto left = static_cast<double>(queue.at_last);
  const double slope = line.slope - kStandardErrors * line.standard_error;
  if (points.size() == kBatches && slope > kTolerableSlope && left > chance(n)) return true;
  const double more = std::min(left, excess(points, service_s, load, queue));
  return beyond_chance(more, n) && more > kTolerableSlope * static_cast<double>(n);
}

bool had_burst(const std::vector<Point>& points, double service_s, bool long_queue) {
  if (points.empty()) return false;
  std::vector<double> waits;
  waits.reserve(points.size());
  for (const Point& point : points) waits.push_back(point.wait_s);
  const double worst = *std::max_element(waits.begin(), waits.end());
  // Everything at once: the waits of later batches are typical of nothing.
  if (points.front().time_s == points.back().time_s) return worst > service_s;
  std::nth_element(waits.begin(), waits.begin() + static_cast<std::ptrdiff_t>(waits.size() / 2),
                   waits.end());
  return worst > service_s && (long_queue || worst > kBurstFactor * waits[waits.size() / 2]);
}

/// Whether a closed loop keeps a queue before the engine, in the median batch after the ramp.
bool queue_stands(const std::vector<Point>& points, double service_s) {
  std::vector<double> waits;
  for (std::size_t i = points.size() / 3; i < points.size(); ++i) waits.push_back(points[i].wait_s);
  if (waits.empty()) return false;
  const auto middle = waits.begin() + static_cast<std::ptrdiff_t>(waits.size() / 2);
  std::nth_element(waits.begin(), middle, waits.end());
  return *middle > kStandingQueue * (*middle + service_s);
}

void set_rates(const RunView& view, const Load& load, double service_s, SaturationSection& out) {
  const RequestTable& table = view.requests;
  const std::vector<std::uint32_t>& rows = load.rows;
  if (rows.size() < 2) return;
  const SimTime begin = load.due[rows.front()];
  const double window_s = seconds(load.due[rows.back()], begin);
  if (window_s <= 0) return;
  out.offered_rps = static_cast<double>(rows.size() - 1) / window_s;
  if (window_s < service_s || rows.size() < kMinRequests) return;
  const SimTime shifted = begin + to_sim_time(Seconds(service_s));
  const SimTime shifted_end =
      std::min(shifted + to_sim_time(Seconds(window_s)), std::max(view.end_time, shifted));
  if (shifted_end == shifted) return;
  std::int64_t done = 0;
  for (const std::uint32_t row : rows) {
    if (table.status[row] == RequestStatus::kCompleted && table.finish[row] > shifted &&
        table.finish[row] <= shifted_end) {
      ++done;
    }
  }
  out.completed_rps = static_cast<double>(done) / seconds(shifted_end, shifted);
  out.rate_deficit = std::max(0.0, 1 - *out.completed_rps / *out.offered_rps);
}

}  // namespace

const char* to_text(Verdict verdict) {
  switch (verdict) {
    case Verdict::kStable:
      return "stable";
    case Verdict::kBacklogged:
      return "backlogged";
    case Verdict::kOverloaded:
      return "overloaded";
  }
  return "";
}

SaturationSection saturation(const RunView& view, const RequestStatistics& stats) {
  SaturationSection out;
  out.still_queued = stats.still_queued;
  out.still_running = stats.still_running;
  out.dropped_unservable = stats.dropped;
  const Load load = load_of(view);
  const double service_s = mean_service_s(view.requests, load.rows);
  set_rates(view, load, service_s, out);
  const std::size_t all = load.refused + load.rows.size();
  if (static_cast<double>(load.refused) > kRefused * static_cast<double>(all)) {
    out.verdict = Verdict::kOverloaded;
    return out;
  }
  std::vector<std::uint32_t> admitted;
  admitted.reserve(load.rows.size());
  std::copy_if(load.rows.begin(), load.rows.end(), std::back_inserter(admitted),
               [&](std::uint32_t row) { return view.requests.first_scheduled[row] != kNever; });
  const bool most_wait = 2 * admitted.size() < load.rows.size();
  const bool unserved = stats.still_queued + stats.still_running > 0;
  if (most_wait || (stats.completed == 0 && unserved)) out.verdict = Verdict::kBacklogged;
  if (admitted.size() < kMinRequests) return out;
  const std::vector<Point> points = batch_means(view.requests, load.due, admitted);
  if (is_closed_loop(view.workload)) {
    if (queue_stands(points, service_s)) out.verdict = Verdict::kBacklogged;
    return out;
  }
  const Line line = fit(points, points.size() / 3);
  if (points.front().time_s < points.back().time_s) out.latency_trend = line.slope;
  const Queue queue = queue_of(view.requests, load, admitted);
  if (outgrown(line, points, service_s, load, queue)) {
    out.verdict = Verdict::kOverloaded;
  } else if (had_burst(points, service_s,
                       beyond_chance(static_cast<double>(queue.most),
                                     load.rows.size() / points.size()))) {
    out.verdict = Verdict::kBacklogged;
  }
  return out;
}

}  // namespace moesim
