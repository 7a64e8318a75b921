#include "scenarios/routing_load_stats.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sim/base/stats.h"

namespace moesim {
namespace {

double sum_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

constexpr double LoadStats::*kFields[] = {
    &LoadStats::cv,           &LoadStats::max_over_mean, &LoadStats::min_over_mean,
    &LoadStats::entropy_norm, &LoadStats::gini,          &LoadStats::top20_share,
    &LoadStats::unused,       &LoadStats::distinct};

/// -p log2 p, in bits.
double bits(double p) {
  return p > 0 ? -p * std::log2(p) : 0;
}

}  // namespace

LoadStats load_stats(std::span<const double> loads) {
  LoadStats result;
  const double total = sum_of(loads);
  const auto experts = static_cast<double>(loads.size());
  std::vector<double> shares(loads.begin(), loads.end());
  std::sort(shares.begin(), shares.end());
  result.unused = static_cast<double>(std::count(shares.begin(), shares.end(), 0.0));
  result.distinct = experts - result.unused;
  if (!(total > 0)) return result;
  const auto top = static_cast<std::size_t>(std::llround(0.2 * experts));
  double squares = 0, entropy = 0;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const double p = shares[i] /= total;
    squares += (p - 1 / experts) * (p - 1 / experts);
    if (p > 0) entropy -= p * std::log(p);
    result.gini += (2 * static_cast<double>(i + 1) - experts - 1) * p;
    if (i + top >= shares.size()) result.top20_share += p;
  }
  result.cv = std::sqrt(squares / experts) * experts;
  result.max_over_mean = shares.back() * experts;
  result.min_over_mean = shares.front() * experts;
  result.entropy_norm = loads.size() > 1 ? entropy / std::log(experts) : 1;
  result.gini /= experts;
  return result;
}

LoadStats mean_of(const std::vector<LoadStats>& list) {
  LoadStats mean;
  for (const auto field : kFields) {
    for (const LoadStats& stats : list) mean.*field += stats.*field;
    if (!list.empty()) mean.*field /= static_cast<double>(list.size());
  }
  return mean;
}

double js_distance(std::span<const double> a, std::span<const double> b) {
  const double all_a = sum_of(a), all_b = sum_of(b);
  if (!(all_a > 0) || !(all_b > 0)) return 0;
  double divergence = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double p = a[i] / all_a, q = b[i] / all_b;
    divergence += bits((p + q) / 2) - (bits(p) + bits(q)) / 2;
  }
  return std::sqrt(std::max(0.0, divergence));  // rounding may leave -1e-17
}

int linear_rank(int expert, int experts, int ranks) {
  const int each = experts / ranks, more = experts % ranks;
  const int in_larger = more * (each + 1);
  if (expert < in_larger) return expert / (each + 1);
  return more + (expert - in_larger) / each;
}

std::vector<double> rank_loads(std::span<const double> loads, int ranks) {
  std::vector<double> result(static_cast<std::size_t>(ranks), 0.0);
  for (std::size_t e = 0; e < loads.size(); ++e) {
    const int rank = linear_rank(static_cast<int>(e), static_cast<int>(loads.size()), ranks);
    result[static_cast<std::size_t>(rank)] += loads[e];
  }
  return result;
}

double max_over_mean(std::span<const double> loads) {
  const double total = sum_of(loads);
  if (!(total > 0)) return 0;
  return *std::max_element(loads.begin(), loads.end()) / total * static_cast<double>(loads.size());
}

Spread spread_of(std::vector<double> samples) {
  if (samples.empty()) return {};
  std::sort(samples.begin(), samples.end());
  return {sum_of(samples) / static_cast<double>(samples.size()), percentile(samples, 50),
          samples.back()};
}

}  // namespace moesim
