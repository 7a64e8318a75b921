#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "scenarios/expert_routing.h"
#include "sim/steptime/count_bank.h"

namespace moesim {

/// Expert time of a group of alike MoE layers, from a pool of exact draws per token count (64, or
/// up to 512 where the mean would be uncertain): each draw routes every token to its k experts,
/// counts tokens per expert and prices that count vector - padding and active experts included,
/// never an average. A step takes one draw per layer, in runs of `kRun` neighbours; the step number
/// says where each run begins.
///
/// Token counts up to `kExact` have a pool of their own; above, pools stand at 16 counts an octave,
/// the mean between two is interpolated linearly and the deviation from it is that of the nearer.
/// Pools are made on first use and depend on (seed, count) only.
class ExpertPool {
 public:
  static constexpr int kExact = 512;
  static constexpr int kRun = 8;
  /// Draws are added until the standard error of a pool's mean is this part of it.
  static constexpr double kStandardError = 0.004;

  /// Nanoseconds of one layer for `tokens` tokens routed as `counts`.
  using Price = std::function<double(int tokens, std::span<const std::uint32_t> counts)>;

  ExpertPool(const ExpertRouting& routing, Price price, int experts, int top_k, int layers,
             std::uint64_t seed);

  /// Nanoseconds of all layers of the group in step `step` with `tokens` tokens.
  [[nodiscard]] double layers_ns(int tokens, std::uint64_t step);
  /// Number of pools made so far.
  [[nodiscard]] int pools() const { return made_; }

  /// What the steps priced so far looked like at one layer, on average.
  struct Seen {
    std::uint64_t steps = 0;
    double tokens = 0;                 ///< summed
    double active = 0, imbalance = 0;  ///< experts with tokens; most over mean tokens of an expert
  };
  [[nodiscard]] Seen seen() const;

 private:
  struct Pool {
    std::vector<double> sums;  ///< prefix sums of the draws, continued round the end by kRun
    std::uint64_t last = 0;    ///< draws - 1; their number is a power of two
    double mean = 0;           ///< of all layers
    double active = 0, imbalance = 0;  ///< of a layer, mean over the draws
    std::uint64_t uses = 0;
  };
  const Pool& pool(int tokens, std::size_t slot);
  void price_draws(int tokens);
  double from(const Pool& pool, std::uint64_t key) const;
  double use(std::size_t slot, std::uint64_t key);

  CountBank bank_;
  Price price_;
  int layers_, top_k_;
  std::uint64_t seed_;
  std::vector<Pool> pools_;
  std::vector<std::uint32_t> counts_;
  std::vector<double> draws_;
  double active_ = 0, imbalance_ = 0;  ///< of the draws priced last
  double tokens_ = 0;
  int made_ = 0;
};

}  // namespace moesim
