#pragma once

#include "sim/report/request_stats.h"
#include "sim/report/result.h"

namespace moesim {

/// Whether the deployment keeps up with its load.
///
/// Looks at the wait for admission (first scheduled - arrival) of the counted requests in arrival
/// order, in up to 21 batches. Requests not admitted when the run ended have no wait yet and are
/// left out.
/// - `latency_trend` = least-squares slope of the batch means over arrival time, in seconds of wait
/// per
///   second, over the last two thirds of the batches (the first third is the ramp). A queue fed at
///   rho times its capacity makes the request of time t wait (rho - 1) t, so for rho > 1 the slope
///   is the excess of the load; for rho < 1 it tends to 0.
/// - overloaded: the slope is above 2 % by three standard errors. Batch means make the errors
/// nearly
///   independent although single waits are not (batch means: A. Law, Simulation Modeling and
///   Analysis, 9.5.3).
/// - backlogged: not overloaded, but more than half of the requests were never admitted, or the
/// mean wait
///   of some batch exceeds both the mean service time (finish - first scheduled) and ten times the
///   typical (median) batch: a burst, or everything sent at once. It was more than could be served
///   for a while, and there is no sign that it goes on.
/// - stable: the rest. Closed loops always are: their load adapts.
/// Fewer than 10 admitted requests have no trend.
///
/// `completed_rps` counts completions in the arrival window shifted by the mean service time, so
/// that a short run of a stable system shows no deficit; `rate_deficit` = 1 - completed/offered, at
/// least 0.
[[nodiscard]] SaturationSection saturation(const RunView& view, const RequestStatistics& stats);

}  // namespace moesim
