#pragma once

#include <span>
#include <vector>

namespace moesim {

/// How unevenly experts of a layer are loaded (routing-traces.md 5). Loads may be counts or shares:
/// only ratios matter. A layer without load has zeros.
struct LoadStats {
  double cv = 0;  ///< population standard deviation / mean
  double max_over_mean = 0, min_over_mean = 0;
  double entropy_norm = 0;  ///< entropy / ln E: 1 when all are alike
  double gini = 0;          ///< sum((2i - E - 1) p_i) / E, p ascending, i from 1
  double top20_share = 0;   ///< of the load, by the round(0.2 E) most loaded
  double unused = 0;        ///< experts without load
  double distinct = 0;      ///< experts with load: whose weights are read
};
[[nodiscard]] LoadStats load_stats(std::span<const double> loads);
/// Field by field; zeros for none.
[[nodiscard]] LoadStats mean_of(const std::vector<LoadStats>& list);

/// Jensen-Shannon distance (base 2, square root: 0 alike, 1 disjoint) of two loads, each
/// normalised. 0 if one of them has no load.
[[nodiscard]] double js_distance(std::span<const double> a, std::span<const double> b);

/// Rank of an expert when experts lie in consecutive blocks, the remainder on the first ranks
/// (placement `linear`; glossary 1).
[[nodiscard]] int linear_rank(int expert, int experts, int ranks);
/// Load of each rank under that placement.
[[nodiscard]] std::vector<double> rank_loads(std::span<const double> loads, int ranks);

/// Largest over mean; 0 without load.
[[nodiscard]] double max_over_mean(std::span<const double> loads);

/// Mean, median and maximum of a sample; zeros for an empty one.
struct Spread {
  double mean = 0, p50 = 0, max = 0;
};
[[nodiscard]] Spread spread_of(std::vector<double> samples);

}  // namespace moesim
