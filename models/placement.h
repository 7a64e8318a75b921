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

/// Room for `layers` x `slots` over `ranks` in order, the remainder on the first ranks; every slot
/// still logical expert 0.
[[nodiscard]] ExpertPlacement empty_placement(int layers, int experts, int slots, int ranks);

/// [rank] what lands on each rank of a layer when tokens spread evenly over the copies of an
/// expert; `loads` by logical expert.
[[nodiscard]] std::vector<double> rank_loads(const ExpertPlacement& placement, int layer,
                                             std::span<const double> loads);

/// What a placement may look at.
struct PlacementInput {
  int layers = 0, experts = 0;
  int ranks = 1, nodes = 1;  ///< of the MoE group; nodes divide ranks
  int groups = 0;            ///< expert groups of group-limited routing, 0: none
  int redundant = 0;         ///< copies beyond E; (E + redundant) is a multiple of ranks if not 0
  std::span<const double> loads{};  ///< [layer][expert], or empty: not known yet
};

/// Maps logical experts to ranks. Registered: linear, round_robin, eplb, file
/// (serving-semantics 3.7).
class Placement {
 public:
  virtual ~Placement() = default;
  /// Pure. Every logical expert has at least one slot in every layer, and ranks have equally many
  /// slots (one more on the first ranks where E does not divide). Only `file` can fail: InputError
  /// where the file does not fit the model.
  [[nodiscard]] virtual ExpertPlacement place(const PlacementInput& input) const = 0;
};

/// Placement a run starts with, and how it changes: the scenario's `placement`.
struct PlacementSpec {
  std::string name = "linear";  ///< linear, round_robin, file, eplb
  std::string file{};           ///< for file: absolute path
  int num_redundant_experts = 0;
  int window_size = 1000;    ///< steps whose load is looked at
  int step_interval = 3000;  ///< steps between two rebalances, 0: experts stay where they start
  bool use_async = false;    ///< weights are moved while serving goes on
  /// What eplb plans its first placement on: "trivial" (nothing: linear), "routing" (the loads the
  /// run is going to have), or the absolute path of a load table.
  std::string init_expert_location = "trivial";
  /// Whether experts move during the run.
  [[nodiscard]] bool rebalances() const { return name == "eplb" && step_interval > 0; }
};

/// The placement `spec.name` stands for. `file` reads its file here; throws InputError with every
/// mistake in it, or for a name that is not registered.
[[nodiscard]] std::unique_ptr<Placement> make_placement(const PlacementSpec& spec);

}  // namespace moesim
