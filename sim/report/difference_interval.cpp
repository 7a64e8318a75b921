#include "sim/report/difference_interval.h"

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <cstddef>

#include "sim/base/stats.h"

namespace moesim {
namespace {

/// How far the deviations of `count` replicas are stretched so that the quantile read from them,
/// between two of their ranks, is the normal one: replicas stand at (i + 1/2) / count.
double stretch(std::size_t count, double share) {
  if (count < 2) return 1;
  const boost::math::normal_distribution<double> normal;
  std::vector<double> scores;
  for (std::size_t i = 0; i < count; ++i) {
    const double at = (static_cast<double>(i) + 0.5) / static_cast<double>(count);
    scores.push_back(boost::math::quantile(normal, at));
  }
  return std::max(1.0, boost::math::quantile(normal, share) / percentile(scores, 100 * share));
}

/// Sorted sums of resamples and deviations.
std::vector<double> scattered(const ScatteredDifference& difference, double stretched) {
  std::vector<double> resampled = difference.resampled;
  if (resampled.empty()) resampled.push_back(difference.nominal);
  std::vector<double> replicas = difference.replicas;
  if (replicas.empty()) replicas.push_back(difference.nominal);
  std::vector<double> sums;
  sums.reserve(resampled.size() * replicas.size());
  for (const double value : resampled) {
    for (const double replica : replicas)
      sums.push_back(value + stretched * (replica - difference.nominal));
  }
  std::ranges::sort(sums);
  return sums;
}

}  // namespace

std::optional<Interval> interval_of(const ScatteredDifference& difference) {
  if (difference.resampled.empty() && difference.replicas.empty()) return std::nullopt;
  const std::size_t count = difference.replicas.size();
  const std::vector<double> inner = scattered(difference, stretch(count, 0.9));
  const std::vector<double> outer = scattered(difference, stretch(count, 0.975));
  return Interval{percentile(inner, 10), percentile(inner, 90),
                  percentile(outer, 2.5) > 0 || percentile(outer, 97.5) < 0};
}

}  // namespace moesim
