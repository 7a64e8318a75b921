#pragma once

#include <vector>

#include "sim/report/run_view.h"

namespace moesim {

/// Which part of a run's duration each request stands for.
///
/// Every moment is shared evenly by the requests in service then (first scheduled to finish, or to
/// the end); a moment without any goes to the request that starts next. So the shares add up to the
/// duration (but for an end in which requests wait and none is in service), and a rate of the whole
/// run is a sum over requests divided by a sum over the same requests: it can be resampled as a
/// ratio. Time in the queue counts for nothing: it would give every request the pace of all.
struct TimeShares {
  std::vector<double> seconds;  ///< by row; 0 if never served, NaN if it does not count
  double in_service = 0;        ///< requests in service, mean over the run
};
/// O(n log n).
[[nodiscard]] TimeShares time_shares(const RunView& view);

}  // namespace moesim
