#include "scenarios/expert_chooser.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sim/base/check.h"

namespace moesim {
namespace {

/// Alias draws before the pass over all weights, which costs about as much as a dozen of them.
constexpr int kDraws = 8;

}  // namespace

AliasTable::AliasTable(std::span<const double> weights) : cells_(weights.size()) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  MOESIM_CHECK(!weights.empty() && total > 0 && std::isfinite(total), "weights can be drawn from");
  std::vector<double> share;
  std::vector<std::size_t> small, large;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    share.push_back(weights[i] / total * static_cast<double>(weights.size()));
    (share[i] < 1 ? small : large).push_back(i);
  }
  while (!small.empty() && !large.empty()) {
    const std::size_t low = small.back();
    const std::size_t high = large.back();
    small.pop_back();
    cells_[low] = {static_cast<std::uint32_t>(share[low] * 0x1p32), static_cast<int>(high)};
    share[high] -= 1 - share[low];
    if (share[high] >= 1) continue;
    large.pop_back();
    small.push_back(high);
  }
  // What is left is a whole column but for rounding.
  for (const auto* rest : {&small, &large}) {
    for (const std::size_t i : *rest) cells_[i] = {0xffffffffU, static_cast<int>(i)};
  }
}

ExpertChooser::ExpertChooser(const RoutingShape& shape, std::span<const double> weights)
    : top_k_(shape.top_k), weights_(weights.begin(), weights.end()) {
  const int count = std::max(1, shape.groups);
  MOESIM_CHECK(static_cast<int>(weights.size()) == shape.experts && shape.experts % count == 0,
               "every group has the same number of experts");
  const int size = shape.experts / count;
  kept_groups_ = static_cast<std::size_t>(count > 1 ? shape.topk_groups : 1);
  MOESIM_CHECK(top_k_ <= size * static_cast<int>(kept_groups_),
               "the groups a token keeps hold top_k experts");
  for (int g = 0; g < count; ++g) {
    Group group;
    group.first = g * size;
    group.size = size;
    const auto own =
        weights.subspan(static_cast<std::size_t>(group.first), static_cast<std::size_t>(size));
    group.alias = AliasTable(own);
    group.total = std::accumulate(own.begin(), own.end(), 0.0);
    group.smallest = *std::ranges::min_element(own);
    MOESIM_CHECK(group.smallest > 0, "every expert can be chosen");
    groups_.push_back(std::move(group));
  }
  order_.resize(groups_.size());
  arrivals_.resize(groups_.size() * (static_cast<std::size_t>(top_k_) + 2));
  before_.reserve((static_cast<std::size_t>(top_k_) + 2));
}

int ExpertChooser::next_expert(const Group& group, std::span<const int> before, Rng& rng) const {
  for (int draw = 0; draw < kDraws; ++draw) {
    const int expert = group.first + group.alias.draw(rng);
    if (std::ranges::find(before, expert) == before.end()) return expert;
  }
  return scan(group, before, rng);
}

int ExpertChooser::scan(const Group& group, std::span<const int> before, Rng& rng) const {
  const auto is_free = [&](int e) { return std::ranges::find(before, e) == before.end(); };
  double left = 0;
  for (int e = group.first; e < group.first + group.size; ++e)
    left += is_free(e) ? weights_[static_cast<std::size_t>(e)] : 0;
  double mark = rng.uniform() * left;
  int last = -1;
  for (int e = group.first; e < group.first + group.size; ++e) {
    if (!is_free(e)) continue;
    last = e;
    mark -= weights_[static_cast<std::size_t>(e)];
    if (mark < 0) break;
  }
  return last;
}

void ExpertChooser::arrive(std::size_t group_index, Rng& rng) {
  Group& group = groups_[group_index];
  Arrival* const arrivals = &arrivals_[group_index * (static_cast<std::size_t>(top_k_) + 2)];
  before_.clear();
  for (int i = 0; i < group.arrived; ++i) before_.push_back(arrivals[i].expert);
  group.time += rng.exponential() / group.left;
  const int expert = next_expert(group, before_, rng);
  arrivals[group.arrived++] = {group.time, expert};
  group.left = std::max(group.left - weights_[static_cast<std::size_t>(expert)], group.smallest);
}

void ExpertChooser::keep_best_groups(Rng& rng) {
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    Group& group = groups_[g];
    group.left = group.total;
    group.time = 0;
    group.arrived = group.taken = 0;
    order_[g] = g;
    arrive(g, rng);
    group.score = group.time;
    if (group.size == 1) continue;
    arrive(g, rng);
    group.score *= group.time;
  }
  std::ranges::partial_sort(order_, order_.begin() + static_cast<std::ptrdiff_t>(kept_groups_), {},
                            [&](std::size_t g) { return groups_[g].score; });
}

void ExpertChooser::choose(Rng& rng, std::span<int> chosen) {
  MOESIM_CHECK(static_cast<int>(chosen.size()) == top_k_, "a token chooses top_k experts");
  if (groups_.size() == 1) {
    for (std::size_t i = 0; i < chosen.size(); ++i)
      chosen[i] = next_expert(groups_.front(), chosen.first(i), rng);
    return;
  }
  keep_best_groups(rng);
  const std::size_t stride = (static_cast<std::size_t>(top_k_) + 2);
  for (int& choice : chosen) {
    std::size_t best = groups_.size();
    const auto time_of = [&](std::size_t g) {
      return arrivals_[g * stride + static_cast<std::size_t>(groups_[g].taken)].time;
    };
    for (std::size_t i = 0; i < kept_groups_; ++i) {
      const std::size_t g = order_[i];
      Group& group = groups_[g];
      if (group.taken == group.size) continue;
      if (group.taken == group.arrived) arrive(g, rng);
      if (best == groups_.size() || time_of(g) < time_of(best)) best = g;
    }
    choice = arrivals_[best * stride + static_cast<std::size_t>(groups_[best].taken++)].expert;
  }
}

}  // namespace moesim
