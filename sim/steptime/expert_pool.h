#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "scenarios/expert_routing.h"

namespace moesim {

/// Expert time of a group of alike MoE layers, from a pool of exact draws per token count: each
/// draw routes every token to its k experts, counts tokens per expert and prices that count vector
/// - padding and active experts included, never an average. A step takes one draw per layer, chosen
/// by its number; neighbouring layers take neighbouring draws.
///
/// Token counts up to `kExact` have a pool of their own; above, pools stand at 16 counts an octave
/// and the time between two is interpolated linearly. Pools are made on first use and depend on
/// (seed, count) only.
class ExpertPool {
 public:
  static constexpr int kExact = 512;
  /// Draws per pool: enough that a pool costs about this many assignments to make.
  static constexpr std::int64_t kAssignmentsPerPool = 1 << 14;
  static constexpr std::int64_t kMinDraws = 4, kMaxDraws = 64;

  /// Nanoseconds of one layer for `tokens` tokens routed as `counts`.
  using Price = std::function<double(int tokens, std::span<const std::uint32_t> counts)>;

  ExpertPool(const ExpertRouting& routing, Price price, int experts, int top_k, int layers,
             std::uint64_t seed, int max_tokens);

  /// Nanoseconds of all layers of the group in step `step` with `tokens` tokens.
  [[nodiscard]] double layers_ns(int tokens, std::uint64_t step);
  /// Number of pools made so far.
  [[nodiscard]] int pools() const { return made_; }

 private:
  struct Pool {
    std::vector<double> sums;  ///< prefix sums of the draws, continued round the end by `layers`
    std::uint32_t draws = 0;
  };
  const Pool& pool(int tokens, std::size_t slot);
  double from(const Pool& pool, std::uint64_t key) const;

  const ExpertRouting* routing_;
  Price price_;
  int top_k_, layers_;
  std::uint64_t seed_;
  std::vector<Pool> pools_;
  std::vector<std::uint32_t> counts_;
  int made_ = 0;
};

}  // namespace moesim
