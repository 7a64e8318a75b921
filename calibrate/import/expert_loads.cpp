#include "calibrate/import/expert_loads.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <optional>
#include <span>
#include <vector>

#include "hardware/forms.h"
#include "sim/base/check.h"
#include "sim/base/random.h"

namespace moesim {

namespace {

using Count = long long;
using Counts = std::vector<Count>;

constexpr int kDraws = 20;  ///< the collectors drew 5 or 10; more, for the mean is all we want

std::optional<double> exponent_of(const std::string& distribution) {
  for (const std::string prefix : {"pl", "power_law_"}) {
    if (!distribution.starts_with(prefix)) continue;
    const char* const from = distribution.data() + prefix.size();
    const char* const end = distribution.data() + distribution.size();
    double value = 0;
    const auto [stop, error] = std::from_chars(from, end, value);
    if (error == std::errc() && stop == end && value > 0 && value != 1) return value;
  }
  return std::nullopt;
}

/// One token at a time to the expert that has fewest (the first of several), `n` times: pours water
/// into a vessel. Precondition: n is no more than the room below `ceiling`.
void raise_lowest(std::span<Count> loads, Count n, Count ceiling) {
  Counts sorted(loads.begin(), loads.end());
  std::ranges::sort(sorted);
  Count level = sorted.front();
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const Count next = i + 1 < sorted.size() ? sorted[i + 1] : ceiling;
    const auto width = static_cast<Count>(i) + 1;
    const Count rise = std::min(n / width, next - level);
    level += rise;
    n -= rise * width;
    if (level < next) break;
  }
  for (Count& load : loads) {
    if (load > level) continue;
    load = level;
    if (n > 0 && level < ceiling) --n, ++load;
  }
}

/// One token at a time from the expert that has most.
void lower_highest(std::span<Count> loads, Count n) {
  for (Count& load : loads) load = -load;
  raise_lowest(loads, n, 0);
  for (Count& load : loads) load = -load;
}

/// Deals `n` single steps out to the ranks in turn; `room` is how many more a rank can take.
template <typename Room, typename Apply>
void deal(Counts& loads, int ep, Count n, const Room& room, const Apply& apply) {
  const std::size_t local = loads.size() / static_cast<std::size_t>(ep);
  while (n > 0) {
    std::vector<int> open;
    for (int r = 0; r < ep; ++r) {
      if (room(std::span(loads).subspan(static_cast<std::size_t>(r) * local, local)) > 0)
        open.push_back(r);
    }
    if (open.empty()) return;
    const Count each = std::max<Count>(1, n / static_cast<Count>(open.size()));
    for (const int r : open) {
      const auto rank = std::span(loads).subspan(static_cast<std::size_t>(r) * local, local);
      const Count now = std::min({each, n, room(rank)});
      apply(rank, now);
      n -= now;
    }
  }
}

/// Makes the loads sum to `target`, none above the tokens.
void settle(Counts& loads, const RoutedLayer& layer, Count target) {
  const int ranks = layer.leftovers == Leftovers::to_first ? 1 : layer.ep;
  const Count ceiling = layer.tokens;
  Count sum = 0;
  for (Count& load : loads) sum += load = std::min(load, ceiling);
  const auto below = [&](std::span<const Count> rank) {
    Count room = 0;
    for (const Count load : rank) room += ceiling - load;
    return room;
  };
  const auto above = [](std::span<const Count> rank) {
    return std::accumulate(rank.begin(), rank.end(), Count{0});
  };
  deal(loads, ranks, target - sum, below,
       [&](std::span<Count> rank, Count n) { raise_lowest(rank, n, ceiling); });
  deal(loads, ranks, sum - target, above, lower_highest);
}

/// The collectors of 2025: leftovers to the most loaded experts, one each; no ceiling.
void settle_to_largest(Counts& loads, Count target) {
  const Count sum = std::accumulate(loads.begin(), loads.end(), Count{0});
  std::vector<std::size_t> order(loads.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order,
                           [&](std::size_t a, std::size_t b) { return loads[a] > loads[b]; });
  for (Count i = 0; i < target - sum; ++i)
    ++loads[order[static_cast<std::size_t>(i) % order.size()]];
  for (Count i = 0; i < sum - target; ++i) {
    Count& load = loads[order[order.size() - 1 - static_cast<std::size_t>(i) % order.size()]];
    --(load > 0 ? load : *std::ranges::max_element(loads));
  }
}

Counts power_law(const RoutedLayer& layer, double exponent, Rng& random) {
  const double pairs = static_cast<double>(layer.tokens) * layer.topk;
  const bool many = pairs > layer.experts;
  const double low = std::pow(many ? 1.0 : 0.01, 1 - exponent);
  const double high = std::pow(many ? std::max(1.0, 0.8 * layer.tokens) : 2.0, 1 - exponent);
  std::vector<double> weight(static_cast<std::size_t>(layer.experts));
  for (double& w : weight) w = std::pow((high - low) * random.uniform() + low, 1 / (1 - exponent));
  const double total = std::accumulate(weight.begin(), weight.end(), 0.0);
  Counts loads;
  for (const double w : weight) loads.push_back(std::llround(w / total * pairs));
  const Count target = static_cast<Count>(layer.tokens) * layer.topk;
  if (layer.leftovers == Leftovers::to_largest)
    settle_to_largest(loads, target);
  else
    settle(loads, layer, target);
  return loads;
}

Counts balanced(const RoutedLayer& layer) {
  Counts loads(static_cast<std::size_t>(layer.experts), 0);
  const int stride = (layer.experts + layer.topk - 1) / layer.topk;
  for (Count t = 0; t < layer.tokens; ++t) {
    const Count first = layer.tokens >= stride ? t : t * stride / layer.tokens;
    for (int j = 0; j < layer.topk; ++j)
      ++loads[static_cast<std::size_t>((first + Count{j} * stride) % layer.experts)];
  }
  return loads;
}

Counts uniform(const RoutedLayer& layer) {
  Counts loads;
  const Count pairs = static_cast<Count>(layer.tokens) * layer.topk;
  for (Count e = 0; e < layer.experts; ++e)
    loads.push_back(pairs * (e + 1) / layer.experts - pairs * e / layer.experts);
  return loads;
}

RankLoad load_of(std::span<const Count> rank) {
  RankLoad load;
  for (const Count n : rank) {
    load.pairs += static_cast<double>(n);
    load.active += n > 0 ? 1 : 0;
    load.busiest = std::max(load.busiest, static_cast<double>(n));
    load.above_64 += static_cast<double>(std::max<Count>(0, n - 64));
    load.above_256 += static_cast<double>(std::max<Count>(0, n - 256));
  }
  return load;
}

void add(RankLoad& sum, const RankLoad& one) {
  sum.pairs += one.pairs;
  sum.active += one.active;
  sum.busiest += one.busiest;
  sum.above_64 += one.above_64;
  sum.above_256 += one.above_256;
}

std::span<const Count> busiest_rank(const Counts& loads, int ep) {
  const std::size_t local = loads.size() / static_cast<std::size_t>(ep);
  std::span<const Count> best;
  Count most = -1;
  for (std::size_t at = 0; at < loads.size(); at += local) {
    const auto rank = std::span(loads).subspan(at, local);
    const Count sum = std::accumulate(rank.begin(), rank.end(), Count{0});
    if (sum > most) best = rank;
    most = std::max(most, sum);
  }
  return best;
}

}  // namespace

bool known_distribution(const std::string& name) {
  return name == "balanced" || name == "uniform" || exponent_of(name).has_value();
}

RankLoad rank_load(const RoutedLayer& layer) {
  MOESIM_CHECK(layer.ep > 0 && layer.experts % layer.ep == 0, "ep must divide the experts");
  const std::optional<double> exponent = exponent_of(layer.distribution);
  const std::size_t local = static_cast<std::size_t>(layer.experts / layer.ep);
  // Balanced loads are measured where they fall: rank 0 has the first experts.
  if (!exponent) {
    const Counts loads = layer.distribution == "uniform" ? uniform(layer) : balanced(layer);
    return load_of(std::span(loads).first(local));
  }
  Rng random(0, "expert loads");
  RankLoad mean;
  for (int draw = 0; draw < kDraws; ++draw) {
    const Counts loads = power_law(layer, *exponent, random);
    add(mean, load_of(busiest_rank(loads, layer.ep)));
  }
  for (double* const sum :
       {&mean.pairs, &mean.active, &mean.busiest, &mean.above_64, &mean.above_256})
    *sum /= kDraws;
  return mean;
}

}  // namespace moesim
