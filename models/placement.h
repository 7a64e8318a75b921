#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace moesim {

/// Where the experts of every MoE layer lie: physical slots on ranks, each a copy of one logical
/// expert. Slots are numbered rank by rank.
struct ExpertPlacement {
  int layers = 0, experts = 0, ranks = 0;
  int slots = 0;                       ///< physical experts of a layer: E + redundant
  std::vector<int> first_slot;         ///< [rank], and one past the end: slots of a rank
  std::vector<std::uint16_t> logical;  ///< [layer][slot] -> logical expert
  [[nodiscard]] int rank_of(int slot) const;
  [[nodiscard]] std::span<const std::uint16_t> layer(int index) const {
    return std::span(logical).subspan(
        static_cast<std::size_t>(index) * static_cast<std::size_t>(slots),
        static_cast<std::size_t>(slots));
  }
  friend bool operator==(const ExpertPlacement&, const ExpertPlacement&) = default;
};

/// What a placement may look at.
struct PlacementInput {
  int layers = 0, experts = 0;
  int ranks = 1, nodes = 1;  ///< of the MoE group; nodes divide ranks
  int groups = 0;            ///< expert groups of group-limited routing, 0: none
  int redundant = 0;         ///< copies beyond E; (E + redundant) is a multiple of ranks if not 0
  std::span<const double> loads;  ///< [layer][expert], or empty: not known yet
};

/// Maps logical experts to ranks. Registered: linear, round_robin, eplb, file
/// (serving-semantics 3.7).
class Placement {
 public:
  virtual ~Placement() = default;
  /// Pure. Every logical expert has at least one slot in every layer.
  [[nodiscard]] virtual ExpertPlacement place(const PlacementInput& input) const = 0;
};

/// Placement a run starts with, and how it changes: the scenario's `placement`.
struct PlacementSpec {
  std::string name = "linear";  ///< linear, round_robin, file, eplb
  std::string file;             ///< for file: absolute path
  int num_redundant_experts = 0;
  int window_size = 1000;    ///< steps whose load is looked at
  int step_interval = 3000;  ///< steps between two rebalances
  bool use_async = false;    ///< weights are moved while serving goes on
};

}  // namespace moesim
