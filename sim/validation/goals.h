#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/validation/accuracy.h"

// What accuracy we are after, in one place: the numbers are targets that were set before any fit,
// not results. Errors are fractions.

namespace moesim {

/// Largest median and 90th percentile of |e| wanted.
struct ErrorGoal {
  double median = 0, p90 = 0;
};

/// Of an operator, on shapes left out of the fit, by its name in profiles; the noise between
/// adjacent releases of one kernel is about half of it. Nothing for an operator without a goal.
[[nodiscard]] std::optional<ErrorGoal> operator_goal(const LeftOutCurve& curve);

/// Whether a curve's errors on shapes left out are within a goal.
[[nodiscard]] bool meets(const LeftOutCurve& curve, const ErrorGoal& goal);

/// Goals of recorded runs: each of mean, p50, p90, p99 of TTFT, TPOT and E2E of each run within 3
/// %, mean TTFT within 4 %. Coverage has no goal here: a run's statistics move together, so two
/// runs are two points.
[[nodiscard]] std::vector<GoalCheck> run_goals(const Validation& validation);

/// Goals of published operating points. Mixtures of experts ("trust A/moe"): median and 90th
/// percentile of the size of the error, of throughput and of means and medians over requests, and
/// the order of throughput across layouts. Dense controls ("trust A/dense"): medians no worse than
/// those. All rows: coverage, and how many can be expressed. Only what was compared has a goal.
[[nodiscard]] std::vector<GoalCheck> serving_goals(const Validation& validation);

/// Goals of measured kernels that are not of one curve: coverage.
[[nodiscard]] std::vector<GoalCheck> kernel_goals(const Validation& validation);

}  // namespace moesim
