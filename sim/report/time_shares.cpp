#include "sim/report/time_shares.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "sim/report/request_stats.h"

namespace moesim {
namespace {

constexpr double kSeconds = 1e-9;

/// A request starts to be served or ends.
struct Passage {
  SimTime time = 0;
  bool starts = false;
  std::size_t row = 0;
};

/// In time order; at equal times requests start before others end, so that nobody stays for less
/// than nothing.
std::vector<Passage> passages_of(const RunView& view, const std::vector<double>& shares,
                                 SimTime end) {
  const RequestTable& table = view.requests;
  std::vector<Passage> passages;
  passages.reserve(2 * table.size());
  for (std::size_t row = 0; row < table.size(); ++row) {
    if (std::isnan(shares[row]) || table.first_scheduled[row] == kNever) continue;
    passages.push_back({table.first_scheduled[row], true, row});
    passages.push_back({std::min(table.finish[row], end), false, row});
  }
  std::ranges::sort(passages, [](const Passage& a, const Passage& b) {
    if (a.time != b.time) return a.time < b.time;
    if (a.starts != b.starts) return a.starts;
    return a.row < b.row;
  });
  return passages;
}

}  // namespace

TimeShares time_shares(const RunView& view) {
  const RequestTable& table = view.requests;
  const SimTime warmup = warmup_end(view.scenario);
  TimeShares out;
  std::vector<double>& shares = out.seconds;
  shares.assign(table.size(), std::numeric_limits<double>::quiet_NaN());
  SimTime begin = kNever;
  SimTime end = view.end_time;
  for (std::size_t row = 0; row < table.size(); ++row) {
    if (!is_counted(table, row, warmup)) continue;
    shares[row] = 0;
    begin = std::min(begin, table.arrival[row]);
    if (table.finish[row] != kNever) end = std::max(end, table.finish[row]);
  }
  double per_request = 0;  // seconds of a request that was always in service
  double request_seconds = 0;
  std::size_t present = 0;
  SimTime now = begin;
  for (const Passage& passage : passages_of(view, shares, end)) {
    const double passed = static_cast<double>(passage.time - now) * kSeconds;
    if (present > 0) per_request += passed / static_cast<double>(present);
    if (present == 0) shares[passage.row] += passed;
    request_seconds += passed * static_cast<double>(present);
    shares[passage.row] += passage.starts ? -per_request : per_request;
    present += passage.starts ? 1 : std::size_t{0} - 1;
    now = passage.time;
  }
  if (now > begin) out.in_service = request_seconds / (static_cast<double>(now - begin) * kSeconds);
  return out;
}

}  // namespace moesim
