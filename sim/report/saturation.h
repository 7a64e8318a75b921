#pragma once

#include "sim/report/request_stats.h"
#include "sim/report/result.h"

namespace moesim {

/// Whether the deployment keeps up with its load.
///
/// Looks at the wait for admission (first scheduled - due) of the counted requests in the order in
/// which they were due, in up to 21 batches. A request is due when it arrives; one whose arrival
/// was planned, when it would have been sent had `max_concurrency` not held it back: a cap at the
/// client hides an overload from TTFT, not from here. Requests not admitted when the run ended have
/// no wait yet and are left out.
/// - `latency_trend` = least-squares slope of the batch means over due time, in seconds of wait per
///   second, over the last two thirds of the batches (the first third is the ramp). A queue fed at
///   rho times its capacity makes the request of time t wait (rho - 1) t, so for rho > 1 the slope
///   is the excess of the load; for rho < 1 it tends to 0.
/// - overloaded: more than half of the requests were refused (nothing ever serves them), or the
/// slope
///   is above 2 % by three standard errors. Batch means make the errors nearly independent although
///   single waits are not (batch means: A. Law, Simulation Modeling and Analysis, 9.5.3).
/// - backlogged: not overloaded, but more than half of the requests were never admitted, or the
/// mean
///   wait of some batch exceeds both the mean service time (finish - first scheduled) and ten times
///   the typical (median) batch: a burst, or everything sent at once. It was more than could be
///   served for a while, and there is no sign that it goes on.
/// - stable: the rest.
///
/// A closed loop (also everything at once under a cap) adapts its load and has no trend: it is
/// never overloaded by its rate. It is backlogged when a queue stands before the engine: in the
/// typical batch after the ramp, wait / (wait + service) - by Little's law the share of the clients
/// that wait for admission - is above a tenth. More clients would only wait longer. The tenth is
/// our choice; below it waiting is the step that is under way when a request arrives. Fewer than 10
/// admitted requests have no trend and no queue.
///
/// Refused requests are in `dropped_unservable` and in no rate. `completed_rps` counts completions
/// in the window of due times shifted by the mean service time, so that a short run of a stable
/// system shows no deficit; `rate_deficit` = 1 - completed/offered, at least 0.
[[nodiscard]] SaturationSection saturation(const RunView& view, const RequestStatistics& stats);

}  // namespace moesim
