#include "scenarios/step_replay.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "sim/base/check.h"

namespace moesim {
namespace {

/// Successes of n trials of probability p: n is halved by its median order statistic, a Beta
/// variable (D. Relles, JASA 67(339), 1972), until few successes are expected; then probabilities
/// are summed up (BINV; V. Kachitvichyanukul and B. Schmeiser, CACM 31(2), 1988).
std::uint32_t binomial(std::uint32_t n, double p, Rng& rng) {
  constexpr double kFew = 20;
  if (p > 0.5) return n - binomial(n, 1 - p, rng);
  std::uint32_t successes = 0;
  while (n * p > kFew) {
    const std::uint32_t below = 1 + n / 2, above = n + 1 - below;
    const double x = rng.gamma(below);
    const double median = x / (x + rng.gamma(above));
    if (median >= p) {
      n = below - 1;
      p /= median;
    } else {
      successes += below;
      n = above - 1;
      p = (p - median) / (1 - median);
    }
  }
  if (p > 0.5) return successes + n - binomial(n, 1 - p, rng);
  double chance = std::exp(n * std::log1p(-p));
  double mark = rng.uniform();
  std::uint32_t last = 0;
  while (last < n && mark >= chance) {
    mark -= chance;
    chance *= (n - last) * p / ((last + 1) * (1 - p));
    ++last;
  }
  return successes + last;
}

}  // namespace

bool StepReplay::has_load(const StepLoads& loads, std::size_t step) {
  const auto experts = static_cast<std::size_t>(loads.shape.experts);
  const auto layers = static_cast<std::size_t>(loads.shape.layers);
  auto at = loads.counts.begin() + static_cast<std::ptrdiff_t>(step * layers * experts);
  for (std::size_t layer = 0; layer < layers; ++layer) {
    const auto end = at + static_cast<std::ptrdiff_t>(experts);
    if (std::all_of(at, end, [](std::uint32_t count) { return count == 0; })) return false;
    at = end;
  }
  return true;
}

StepReplay::StepReplay(const StepLoads& loads, const Options& options)
    : shape_(loads.shape), options_(options) {
  const std::size_t cells =
      static_cast<std::size_t>(shape_.layers) * static_cast<std::size_t>(shape_.experts);
  for (std::size_t step = 0; step < loads.steps.size(); ++step) {
    if (!has_load(loads, step)) continue;
    const auto first = loads.counts.begin() + static_cast<std::ptrdiff_t>(step * cells);
    loads_.insert(loads_.end(), first, first + static_cast<std::ptrdiff_t>(cells));
    ++steps_;
  }
  MOESIM_CHECK(steps_ > 0, "a recorded step has load");
}

std::size_t StepReplay::recorded(std::uint64_t step) const {
  if (options_.order == Order::kInOrder) return step % steps_;
  return Rng(options_.seed, "recorded_step", step).below(static_cast<std::uint32_t>(steps_));
}

void StepReplay::counts(std::uint64_t step, int layer, int tokens,
                        std::span<std::uint32_t> counts) {
  const auto experts = static_cast<std::size_t>(shape_.experts);
  const auto layers = static_cast<std::size_t>(shape_.layers);
  const std::size_t first = (recorded(step) * layers + static_cast<std::size_t>(layer)) * experts;
  const auto load = std::span(loads_).subspan(first, experts);
  weights_.assign(load.begin(), load.end());
  const auto slots = static_cast<std::uint32_t>(tokens * shape_.top_k);
  if (options_.scaling == Scaling::kLargestRemainder) {
    share_out(weights_, slots, counts);
  } else {
    Rng rng(options_.seed, "step_loads", step << 16 | static_cast<std::uint64_t>(layer));
    draw(weights_, slots, rng, counts);
  }
  cap(static_cast<std::uint32_t>(tokens), counts);
}

/// Largest remainder: shares rounded down, what is left to the largest fractions (of equal ones,
/// the lower expert's).
void StepReplay::share_out(std::span<const double> weights, std::uint32_t slots,
                           std::span<std::uint32_t> counts) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  const double scale = slots / total;
  std::uint32_t given = 0;
  for (std::size_t e = 0; e < weights.size(); ++e)
    given += counts[e] = static_cast<std::uint32_t>(weights[e] * scale);
  order_.resize(weights.size());
  std::iota(order_.begin(), order_.end(), 0U);
  const auto fraction = [&](std::uint32_t e) { return weights[e] * scale - counts[e]; };
  const auto left = static_cast<std::ptrdiff_t>(slots - given);
  std::partial_sort(order_.begin(), order_.begin() + left, order_.end(),
                    [&](std::uint32_t a, std::uint32_t b) {
                      return std::pair(-fraction(a), a) < std::pair(-fraction(b), b);
                    });
  for (std::ptrdiff_t i = 0; i < left; ++i) ++counts[order_[static_cast<std::size_t>(i)]];
}

/// A multinomial draw, one expert after the other of what those before it left.
void StepReplay::draw(std::span<const double> weights, std::uint32_t slots, Rng& rng,
                      std::span<std::uint32_t> counts) const {
  double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (std::size_t e = 0; e < weights.size(); ++e) {
    const bool rest = total <= weights[e];  // nothing but rounding behind it
    counts[e] = rest ? slots : binomial(slots, weights[e] / total, rng);
    slots -= counts[e];
    total -= weights[e];
  }
}

/// What experts have above `most` goes to the least loaded, evenly; what is left over to those that
/// had least, lower experts first.
void StepReplay::cap(std::uint32_t most, std::span<std::uint32_t> counts) {
  std::uint32_t excess = 0;
  for (std::uint32_t& count : counts) {
    if (count <= most) continue;
    excess += count - most;
    count = most;
  }
  if (excess == 0) return;
  order_.resize(counts.size());
  std::iota(order_.begin(), order_.end(), 0U);
  std::ranges::sort(order_, {}, [&](std::uint32_t e) { return std::pair(counts[e], e); });
  // The least loaded are raised together to the level of the next.
  std::uint32_t level = counts[order_.front()];
  for (std::uint32_t raised = 1; excess > 0; ++raised) {
    const std::uint32_t next = raised < order_.size() ? counts[order_[raised]] : most;
    const std::uint32_t rise = std::min(next - level, excess / raised);
    const std::uint32_t over = rise < next - level ? excess - rise * raised : 0;
    for (std::uint32_t i = 0; i < raised; ++i)
      counts[order_[i]] = level + rise + (i < over ? 1U : 0U);
    excess -= rise * raised + over;
    level += rise;
  }
}

void StepReplay::deal(std::uint64_t step, int layer, std::span<const std::uint32_t> counts,
                      std::span<int> placed) const {
  const auto top_k = static_cast<std::size_t>(shape_.top_k);
  const std::size_t slots = placed.size(), tokens = slots / top_k;
  // Expert by expert round all tokens: none comes round to a token twice.
  std::size_t slot = 0;
  for (std::size_t e = 0; e < counts.size(); ++e) {
    for (std::uint32_t i = 0; i < counts[e]; ++i, ++slot)
      placed[slot % tokens * top_k + slot / tokens] = static_cast<int>(e);
  }
  // Then random pairs of slots change places wherever that makes no repeat. All ways of dealing
  // are equally likely in the long run: a pair is as likely to change there as back.
  Rng rng(options_.seed, "deal_slots", step << 16 | static_cast<std::uint64_t>(layer));
  const auto has = [&](std::size_t of, int expert) {
    const auto own = placed.subspan(of / top_k * top_k, top_k);
    return std::find(own.begin(), own.end(), expert) != own.end();
  };
  constexpr int kRounds = 2;
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t a = 0; a < slots; ++a) {
      const std::size_t b = rng.below(static_cast<std::uint32_t>(slots));
      if (!has(a, placed[b]) && !has(b, placed[a])) std::swap(placed[a], placed[b]);
    }
  }
}

void StepReplay::shrink(std::span<std::uint32_t> counts, int tokens, int fewer) {
  if (fewer >= tokens) return;
  weights_.assign(counts.begin(), counts.end());
  share_out(weights_, static_cast<std::uint32_t>(fewer * shape_.top_k), counts);
  cap(static_cast<std::uint32_t>(fewer), counts);
}

}  // namespace moesim
