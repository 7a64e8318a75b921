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
/// - *Chance*: the queue of a load of just the capacity is a reflected random walk; with Poisson
///   arrivals N requests leave |a normal of variance N| waiting, and a lower load leaves less.
///   More than three times sqrt(N) is no chance.
/// - The *excess* of the load is how many requests were due beyond what could have been admitted
///   while they came, had the engine never been idle: N - capacity x time. Its capacity is seen
///   where a queue stands: the rate of admission from when waits exceed the mean service time
///   (finish - first scheduled) for good, until the last admission.
/// - overloaded: more than a tenth of the requests were refused (nothing ever serves them; the
///   tenth is our choice); or the slope is above 2 % by three standard errors, of 21 batches
///   (fewer have one by chance), and more than sqrt(N) requests wait at the last arrival; or both
///   the excess and what waits then are above 2 % of the requests and no chance. Batch means make
///   the errors of the slope nearly independent although single waits are not (A. Law, Simulation
///   Modeling and Analysis, 9.5.3), as long as the load is one: a recorded day swings, so that its
///   slope says little, but its excess is what is left to do.
/// - backlogged: not overloaded, but more than half of the requests were never admitted, or none
///   completed, or the mean wait of some batch exceeds the mean service time and either ten times
///   the typical (median) batch or, at some moment, more requests waited than a batch leaves by
///   chance (the queues of a stable load come and go within one): a burst, a rush hour, or
///   everything sent at once. It was more than could be served for a while, and there is no sign
///   that it goes on.
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
/// system shows no deficit; `rate_deficit` = 1 - completed/offered, at least 0. Both are absent
/// where requests came for less than the mean service time, or are fewer than 10: when they end
/// says nothing of a rate.
[[nodiscard]] SaturationSection saturation(const RunView& view, const RequestStatistics& stats);

}  // namespace moesim
