#include "sim/validation/rank_correlation.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "sim/base/check.h"
#include "sim/base/stats.h"

namespace moesim {
namespace {

std::vector<double> ranks_of(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) { return values[i]; });
  std::vector<double> ranks(values.size());
  for (std::size_t first = 0; first < order.size();) {
    std::size_t last = first;
    while (last + 1 < order.size() && values[order[last + 1]] == values[order[first]]) ++last;
    const double shared = static_cast<double>(first + last) / 2;
    for (std::size_t i = first; i <= last; ++i) ranks[order[i]] = shared;
    first = last + 1;
  }
  return ranks;
}

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// Predicted and measured values of one group.
struct Pairs {
  std::string name;
  std::vector<double> predicted, measured;
};

void add(std::vector<Pairs>& groups, const std::string& name, const ComparedValue& row) {
  auto found = std::ranges::find(groups, name, &Pairs::name);
  if (found == groups.end()) found = groups.insert(groups.end(), {name, {}, {}});
  found->predicted.push_back(row.predicted);
  found->measured.push_back(row.measured);
}

constexpr const char* kMetric = "output_tok_s";

RankCorrelation correlation_of(const Pairs& group) {
  return {group.name, kMetric, group.measured.size(), spearman(group.predicted, group.measured)};
}

/// One vote for each model on each GPU.
RankCorrelation median_of(const std::vector<Pairs>& groups) {
  RankCorrelation out{kTrustedMoe, kMetric, 0, 0};
  std::vector<double> ranks;
  for (const Pairs& group : groups) {
    out.n += group.measured.size();
    ranks.push_back(spearman(group.predicted, group.measured));
  }
  std::ranges::sort(ranks);
  out.spearman = percentile(ranks, 50);
  return out;
}

}  // namespace

double spearman(const std::vector<double>& a, const std::vector<double>& b) {
  MOESIM_CHECK(a.size() == b.size(), "a rank correlation is of pairs");
  if (a.empty()) return 0;
  const std::vector<double> ranks_a = ranks_of(a);
  const std::vector<double> ranks_b = ranks_of(b);
  const double mean = mean_of(ranks_a);  // the same for both: ranks 0 to n-1
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (ranks_a[i] - mean) * (ranks_b[i] - mean);
    aa += (ranks_a[i] - mean) * (ranks_a[i] - mean);
    bb += (ranks_b[i] - mean) * (ranks_b[i] - mean);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

std::vector<RankCorrelation> rank_correlations(const std::vector<ComparedValue>& rows) {
  constexpr std::size_t kLeast = 3;
  std::vector<Pairs> groups, trusted;
  Pairs pooled{"pooled", {}, {}};
  for (const ComparedValue& row : rows) {
    if (row.metric != kMetric || !row.left_out.empty()) continue;
    const std::string name = row.model.substr(row.model.rfind('/') + 1) + "/" + row.gpu;
    add(groups, name, row);
    if (row.trusted && row.moe) add(trusted, name, row);
    pooled.predicted.push_back(row.predicted);
    pooled.measured.push_back(row.measured);
  }
  for (std::vector<Pairs>* some : {&groups, &trusted})
    std::erase_if(*some, [](const Pairs& group) { return group.measured.size() < kLeast; });
  std::vector<RankCorrelation> out;
  for (const Pairs& group : groups) out.push_back(correlation_of(group));
  if (!trusted.empty()) out.push_back(median_of(trusted));
  if (pooled.measured.size() >= kLeast) out.push_back(correlation_of(pooled));
  return out;
}

}  // namespace moesim
