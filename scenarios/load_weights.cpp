#include "scenarios/load_weights.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sim/base/check.h"

namespace moesim {
namespace {

constexpr double kLeastLoad = 1e-6;         // of the mean: an expert without weight cannot be drawn
constexpr double kMostProbability = 0.999;  // at 1 the weight would be infinite
constexpr int kPoints = 64;                 // of the integral below: its error is then under 1e-3
constexpr double kNegligible = 1e-9;
constexpr int kRefinements = 3;  // leave 1e-5 of a load where no expert is in every token

/// Chances that 0 .. n-1 of independent events happen, events added one at a time.
class ArrivalCounts {
 public:
  explicit ArrivalCounts(int n) : chance_(static_cast<std::size_t>(n)) {}
  void start() {
    std::ranges::fill(chance_, 0.0);
    chance_[0] = 1;
  }
  void add(double p) {
    for (std::size_t k = chance_.size() - 1; k > 0; --k)
      chance_[k] = chance_[k] * (1 - p) + chance_[k - 1] * p;
    chance_[0] *= 1 - p;
  }
  /// Chance that fewer than n of the others happen. Takes one event out again, which is stable for
  /// p <= 1/2 only.
  [[nodiscard]] double fewer_without(double p) const {
    double sum = 0, before = 0;
    for (const double chance : chance_) {
      before = (chance - p * before) / (1 - p);
      sum += before;
    }
    return std::clamp(sum, 0.0, 1.0);
  }
  [[nodiscard]] double fewer() const {
    return std::accumulate(chance_.begin(), chance_.end(), 0.0);
  }

 private:
  std::vector<double> chance_;
};

/// The race of all experts, looked at at one time.
class Moment {
 public:
  explicit Moment(int top_k) : slow_(top_k), all_(top_k), others_(top_k) {}
  void at(double time, std::span<const double> weights) {
    arrived_.clear();
    fast_.clear();
    slow_.start();
    for (std::size_t i = 0; i < weights.size(); ++i) {
      arrived_.push_back(-std::expm1(-weights[i] * time));
      if (arrived_[i] <= 0.5) {
        slow_.add(arrived_[i]);
      } else {
        fast_.push_back(i);
      }
    }
    all_ = slow_;
    for (const std::size_t i : fast_) all_.add(arrived_[i]);
  }
  /// All places are taken.
  [[nodiscard]] bool over() const { return all_.fewer() < kNegligible; }
  /// Chance that expert i has not arrived and a place is left.
  [[nodiscard]] double chosen_now(std::size_t i) {
    if (arrived_[i] <= 0.5) return (1 - arrived_[i]) * all_.fewer_without(arrived_[i]);
    others_ = slow_;
    for (const std::size_t j : fast_) {
      if (j != i) others_.add(arrived_[j]);
    }
    return (1 - arrived_[i]) * others_.fewer();
  }

 private:
  std::vector<double> arrived_;
  std::vector<std::size_t> fast_;  ///< experts that have probably arrived
  ArrivalCounts slow_, all_, others_;
};

/// When the expected number of arrivals is top_k / 2: the scale of the integral.
double middle_time(std::span<const double> weights, int top_k) {
  const auto expected = [&](double time) {
    double sum = 0;
    for (const double w : weights) sum -= std::expm1(-w * time);
    return sum;
  };
  double low = 0, high = 1 / *std::ranges::max_element(weights);
  while (expected(high) < top_k / 2.0) high *= 2;
  for (int i = 0; i < 40; ++i) {
    const double middle = (low + high) / 2;
    (expected(middle) < top_k / 2.0 ? low : high) = middle;
  }
  return high;
}

}  // namespace

// Expert i arrives at an exponential time of rate w_i, the first k arrivals are chosen:
//   P(i) = integral over t of w_i exp(-w_i t) P(fewer than k others have arrived by t) dt,
// with t = m u/(1-u), u in (0, 1), by the midpoint rule. The number of others that have arrived is
// a sum of independent events (Poisson binomial).
std::vector<double> inclusion_probabilities(std::span<const double> weights, int top_k) {
  MOESIM_CHECK(top_k >= 1 && static_cast<std::size_t>(top_k) <= weights.size(),
               "there are at least top_k experts");
  if (static_cast<std::size_t>(top_k) == weights.size())
    return std::vector<double>(weights.size(), 1.0);
  std::vector<double> result(weights.size(), 0.0);
  const double middle = middle_time(weights, top_k);
  Moment moment(top_k);
  for (int point = 0; point < kPoints; ++point) {
    const double u = (point + 0.5) / kPoints;
    const double width = middle / (kPoints * (1 - u) * (1 - u));
    moment.at(middle * u / (1 - u), weights);
    if (moment.over()) break;
    for (std::size_t i = 0; i < weights.size(); ++i)
      result[i] += weights[i] * moment.chosen_now(i) * width;
  }
  const double sum = std::accumulate(result.begin(), result.end(), 0.0);
  for (double& p : result) p = std::min(1.0, p * top_k / sum);
  return result;
}

namespace {

/// Slots a token gives each expert: proportional to load, at most kMostProbability each.
std::vector<double> target_probabilities(std::span<const double> loads, int top_k) {
  const double mean =
      std::accumulate(loads.begin(), loads.end(), 0.0) / static_cast<double>(loads.size());
  MOESIM_CHECK(mean > 0 && std::isfinite(mean), "some expert has load");
  std::vector<double> target;
  for (const double load : loads) target.push_back(std::max(load / mean, kLeastLoad));
  double free_slots = top_k;
  std::vector<bool> full(loads.size(), false);
  for (bool again = true; again;) {
    again = false;
    double sum = 0;
    for (std::size_t i = 0; i < target.size(); ++i) sum += full[i] ? 0 : target[i];
    const double scale = free_slots / sum;
    for (std::size_t i = 0; i < target.size(); ++i) {
      if (full[i]) continue;
      target[i] *= scale;
      if (target[i] <= kMostProbability) continue;
      full[i] = again = true;
      target[i] = kMostProbability;
      free_slots -= kMostProbability;
    }
  }
  return target;
}

}  // namespace

std::vector<double> weights_for_loads(std::span<const double> loads, int top_k) {
  if (static_cast<std::size_t>(top_k) >= loads.size())
    return std::vector<double>(loads.size(), 1.0);
  std::vector<double> target = target_probabilities(loads, top_k);
  if (top_k == 1) return target;
  // Start: were the moment of the k-th arrival fixed, P(i) = 1 - exp(-w_i) (B. Rosen, "On sampling
  // with probability proportional to size", J. Statistical Planning and Inference 62, 1997). Then
  // the same relation corrects what the exact probabilities miss.
  std::vector<double> weights;
  weights.reserve(target.size());
  for (const double p : target) weights.push_back(-std::log1p(-p));
  for (int round = 0; round < kRefinements; ++round) {
    const std::vector<double> actual = inclusion_probabilities(weights, top_k);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const double p = std::min(actual[i], kMostProbability);
      weights[i] *= std::log1p(-target[i]) / std::log1p(-p);
    }
  }
  return weights;
}

}  // namespace moesim
