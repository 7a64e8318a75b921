#pragma once

#include <string>

namespace moesim {

/// Which experts get the pairs that rounding a power law to whole tokens leaves over. With few
/// tokens these are most pairs: the three generations of the collectors differ by 2 times there.
enum class Leftovers {
  to_ranks_in_turn,  ///< to each rank's least loaded expert in turn (since 2026)
  to_first,          ///< to the first of the least loaded: all on the measured rank
  to_largest,        ///< to the most loaded, in order (2025)
};

/// What a collector of MoE latencies presented to one layer: `tokens` of all ranks, `experts` in
/// `ep` contiguous groups, the most loaded group on the measured rank.
struct RoutedLayer {
  int tokens = 0, topk = 0, experts = 0, ep = 1;
  /// How experts were chosen. "balanced": token t takes (t + j x stride) mod experts. "pl1.2",
  /// "power_law_1.2": loads drawn from a power law with that exponent. "uniform": every expert
  /// alike.
  std::string distribution;
  Leftovers leftovers = Leftovers::to_ranks_in_turn;
};

/// Load of the measured rank, means over draws where it was drawn.
struct RankLoad {
  double pairs = 0;     ///< token-expert pairs
  double active = 0;    ///< experts with a pair at least
  double busiest = 0;   ///< pairs of the busiest expert
  double above_64 = 0;  ///< pairs beyond the 64th of every expert, summed
  double above_256 = 0;
};

/// Rebuilds the load from the rules of the collectors of ai-dynamo/aiconfigurator (Apache-2.0,
/// collector/helper.py at 095f58a), whose own random draws were not kept. Deterministic: fixed seed
/// per layer. Precondition: positive sizes, ep divides experts, a known distribution (see
/// known_distribution).
[[nodiscard]] RankLoad rank_load(const RoutedLayer& layer);

[[nodiscard]] bool known_distribution(const std::string& name);

}  // namespace moesim
