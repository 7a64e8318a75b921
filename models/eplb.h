#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/placement.h"

namespace moesim {

/// DeepSeek's expert-parallel load balancer (deepseek-ai/EPLB, 2025-02; serving-semantics 3.7):
/// copies the experts with most load per copy, then packs copies onto GPUs, heaviest first. Loads
/// are of any unit, not negative. Ties go to the lower index everywhere.

/// Items in bins of equal size, heaviest first into the lightest bin that has room.
struct Packing {
  std::vector<int> bin;       ///< [item]
  std::vector<int> position;  ///< [item] inside its bin, in order of arrival
};
/// Precondition: `bins` divides the number of items. One item a bin: item i into bin i.
[[nodiscard]] Packing pack(std::span<const double> weights, int bins);

/// [slot] the expert it holds: first every expert once, then each further slot a copy of the expert
/// with most load per copy. Precondition: slots >= weights.size().
[[nodiscard]] std::vector<int> replicate(std::span<const double> weights, int slots);

struct EplbShape {
  int slots = 0, groups = 1, nodes = 1, ranks = 1;
};
/// [slot] logical experts of one layer, node by node and GPU by GPU. Hierarchical where the nodes
/// divide the groups (a group of experts stays in one node) and the ranks, global elsewhere.
/// Preconditions: ranks divide slots, slots >= experts. O(slots (experts + ranks)).
[[nodiscard]] std::vector<int> rebalance(std::span<const double> loads, const EplbShape& shape);

/// rebalance() of every layer. Preconditions: as above; loads are there.
[[nodiscard]] ExpertPlacement balanced_placement(const PlacementInput& input);
/// Consecutive experts on consecutive ranks, redundant slots copying experts 0, 1, ... at the end.
[[nodiscard]] ExpertPlacement linear_placement(const PlacementInput& input);

/// `after` with the slots of each rank permuted so that an expert that stays on a rank keeps its
/// slot there and nothing is copied for it, as vLLM does before it moves weights. Precondition:
/// same shape.
[[nodiscard]] ExpertPlacement keep_slots(const ExpertPlacement& before, ExpertPlacement after);

/// One expert's weights from one rank to another.
struct ExpertMove {
  int expert = 0, from_rank = 0, to_rank = 0;
};
/// What has to cross between ranks to turn a layer of `before` into `after`: every rank gets each
/// expert it did not have once; the old owners of an expert share its receivers in turn, as in
/// vLLM. Ordered by expert, then receiver. Precondition: same shape.
[[nodiscard]] std::vector<ExpertMove> expert_moves(const ExpertPlacement& before,
                                                   const ExpertPlacement& after, int layer);
/// [layer][rank] experts a rank receives; times bytes of an expert, the traffic of a rebalance.
[[nodiscard]] std::vector<int> moved_slots(const ExpertPlacement& before,
                                           const ExpertPlacement& after);

}  // namespace moesim
