#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/steptime/moe_model.h"
#include "sim/steptime/routing_bank.h"

namespace moesim {

/// Counts a step's tokens where experts have limited room: what finds none is dropped, or goes to a
/// next choice.
class CapacityCounts {
 public:
  CapacityCounts(const CapacityRule& rule, const RoutingShape& shape);

  struct Tokens {
    const RoutingTable& table;
    const RoutingTable* next;  ///< of the same rows; only for Overflow::kNextChoice
    std::span<const std::uint64_t> rows;
    std::span<const std::size_t> ranks;  ///< rows of each data-parallel rank
  };
  /// Adds the tokens to `load`, layer by layer, and what happened to `stats`.
  void add(const Tokens& tokens, const ReplicaRanks& replicas, StepLoad& load,
           std::vector<MoeLayerStats>& stats);

 private:
  void add_layer(const Tokens& part, int layer, std::uint32_t first_key,
                 const ReplicaRanks& replicas, StepLoad& load, MoeLayerStats& stats);

  CapacityRule rule_;
  RoutingShape shape_;
  CapacityLimit limit_;
  std::vector<int> choices_, placed_;
};

}  // namespace moesim
