#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sim/steptime/choice_counts.h"
#include "sim/steptime/row_draw.h"

namespace moesim {

/// Draws of whole steps for experts that choose their tokens, and what they say of one token. Every
/// expert has the same load in all draws; who goes where and who is left out differs little, so few
/// draws do.
class SampledChoice {
 public:
  static constexpr std::uint64_t kDraws = 2;

  /// Of one draw, by token of the step.
  struct Share {
    std::vector<double> taken, none;  ///< [layer] experts that took it; whether none did
    std::vector<double> by_experts;   ///< [n] layers in which n experts took it
    double tokens = 0;                ///< of requests that it was used for
  };

  SampledChoice(const CapacityRule& rule, const RoutingShape& shape, std::uint64_t seed);
  /// Fills `load` with draw `index` of `tokens` tokens, spread evenly over `ranks` data-parallel
  /// ranks.
  [[nodiscard]] Share draw(const RowDraw& rows, int tokens, std::uint64_t index, int ranks,
                           const ReplicaRanks& replicas, StepLoad& load);

 private:
  ChoiceCounts counts_;
  std::uint64_t seed_;
  std::vector<std::uint64_t> rows_;
  std::vector<std::size_t> ranks_;
};

/// Adds the tokens a draw was used for.
void add_share(const SampledChoice::Share& share, MoeStats& stats);

}  // namespace moesim
