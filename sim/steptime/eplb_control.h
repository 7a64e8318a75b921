#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "models/eplb.h"
#include "models/placement.h"
#include "sim/steptime/moe_model.h"

namespace moesim {

/// Host time of planning a placement, nanoseconds: roughly linear in slots and layers.
[[nodiscard]] double plan_ns(const ExpertPlacement& placement);

/// Rebalances experts while a run goes on, as vLLM's EPLB does (serving-semantics 3.7): every
/// `step_interval` steps the load of the last `window_size` steps is summed, a placement is planned
/// on it, and weights move: those of a stage layer by layer, all stages at once, each over its own
/// GPUs' links. Serving stops meanwhile, unless `use_async`.
class EplbControl {
 public:
  struct Config {
    PlacementSpec spec;
    PlacementInput shape;             ///< loads empty
    double expert_bytes = 0;          ///< weights of one expert of one layer
    std::vector<int> stage_of_layer;  ///< [MoE layer] pipeline stage
    /// Nanoseconds to move these experts of one layer between the ranks of a stage.
    std::function<double(int stage, const std::vector<ExpertMove>&, double bytes)> transfer_ns;
  };
  EplbControl(Config config, ExpertPlacement first);

  /// After a step: nanoseconds for which serving stands still. One model, which outlives this.
  double after_step(std::uint64_t step, MoeModel& model);
  /// All so far, each judged by the load that has come since.
  [[nodiscard]] std::vector<MoeStats::Rebalance> rebalances() const;
  [[nodiscard]] const ExpertPlacement& placement() const { return placement_; }

 private:
  double rebalance(std::uint64_t step, MoeModel& model);
  void move(const ExpertPlacement& next, MoeStats::Rebalance& done) const;
  [[nodiscard]] double mean_imbalance(const ExpertPlacement& placement,
                                      std::span<const double> load) const;
  void take(MoeModel& model);
  void judge(const std::vector<double>& total, MoeStats::Rebalance& last) const;

  Config config_;
  ExpertPlacement placement_;
  const MoeModel* model_ = nullptr;  ///< of the steps so far
  std::vector<double> load_;         ///< taken last
  std::vector<double> total_;        ///< taken so far
  std::vector<double> moved_at_;     ///< total_ at the last rebalance
  std::vector<MoeStats::Rebalance> done_;
};

}  // namespace moesim
