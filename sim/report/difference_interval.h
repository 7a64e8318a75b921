#pragma once

#include <optional>
#include <vector>

namespace moesim {

/// What chance may do to a difference.
struct Interval {
  double p10 = 0, p90 = 0;
  bool significant = false;  ///< the central 95 % do not hold 0
};

/// A difference of two runs, and how it scatters for two reasons that know nothing of each other.
struct ScatteredDifference {
  double nominal = 0;
  std::vector<double> resampled;  ///< other requests (paired_bootstrap.h); empty if not known
  /// Other step times: the difference within each replica, both runs under the same factors of the
  /// operator families. Empty if there are no replicas, else at least two.
  std::vector<double> replicas;
};

/// The interval of both together: every resample moved by every replica's deviation from the
/// nominal difference. Nothing if neither is known.
///
/// Replicas are few and evenly spread (sim/uncertainty.h), so the outermost of n stands at the
/// normal quantile of 1 - 1/(2n). Where that falls short of the quantile asked for (97.5 % below 20
/// replicas, 90 % below 5), deviations are stretched until it does not: fewer replicas never look
/// more certain.
[[nodiscard]] std::optional<Interval> interval_of(const ScatteredDifference& difference);

}  // namespace moesim
