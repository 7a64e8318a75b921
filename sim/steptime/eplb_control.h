#pragma once

#include <cstdint>
#include <functional>
#include <optional>
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
/// GPUs' links. Serving stops meanwhile.
///
/// With `use_async` it goes on: planning and copies take as long, beside it, from the end of the
/// step on. The placement is in force from the first step that begins after that. A plan that is
/// due before is put off until then, and looks at the load of the steps it waited for, too.
/// Left out: vLLM swaps layer by layer, as each is copied; here all change together, with the last.
/// Copies and the messages of serving do not slow each other down, nor does the planner the host.
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

  /// Before a step that begins at `now_ns`: puts a placement into force whose copies are done.
  void before_step(std::int64_t now_ns, MoeModel& model);
  /// After a step: nanoseconds for which serving stands still. One model, which outlives this.
  double after_step(std::uint64_t step, MoeModel& model);
  /// That step ends at `now_ns`, which is when copies beside serving begin.
  void step_ended(std::int64_t now_ns);
  /// All so far, each judged by the load that came while it was in force; the last one may still be
  /// under way.
  [[nodiscard]] std::vector<MoeStats::Rebalance> rebalances() const;
  [[nodiscard]] const ExpertPlacement& placement() const { return placement_; }

 private:
  /// A placement whose copies are under way.
  struct Pending {
    ExpertPlacement next;
    MoeStats::Rebalance done;
    std::optional<double> ready_ns;  ///< null until the step that it was planned after has ended
  };
  double rebalance(std::uint64_t step, MoeModel& model);
  void move(const ExpertPlacement& next, MoeStats::Rebalance& done) const;
  [[nodiscard]] double mean_imbalance(const ExpertPlacement& placement,
                                      std::span<const double> load) const;
  void take(MoeModel& model);
  void put_in_force(Pending pending, MoeModel& model);
  void judge(const std::vector<double>& total, MoeStats::Rebalance& last) const;

  Config config_;
  ExpertPlacement placement_;
  std::uint64_t due_;                ///< steps before the next plan
  const MoeModel* model_ = nullptr;  ///< of the steps so far
  std::vector<double> taken_;        ///< last
  std::vector<double> load_;         ///< taken since the window began
  std::vector<double> total_;        ///< taken so far
  std::vector<double> moved_at_;     ///< total_ when the placement came into force
  std::optional<Pending> pending_;
  std::vector<MoeStats::Rebalance> done_;  ///< in force, or were
};

}  // namespace moesim
