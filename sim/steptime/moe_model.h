#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "scenarios/expert_routing.h"
#include "scenarios/routers.h"
#include "sim/base/stats.h"
#include "sim/steptime/moe_group.h"

namespace moesim {

class StepReplay;
struct StepWork;
struct Workload;

/// One step as the experts see it.
struct MoeStep {
  std::uint64_t step = 0;
  std::int64_t now_ns = 0;
  int decode_tokens = 0, prompt_tokens = 0;  ///< of all ranks, padding included
  int real_decodes = 0, real_prompts = 0;    ///< of them, those of requests
  std::span<const double> held;              ///< [rank of the group] tokens before the dispatch
  std::span<const StepWork> works;           ///< by data-parallel rank

  /// A dummy step of all ranks. It takes time and is in no statistic: how many of them a wave ends
  /// with depends on when the next request happens to come.
  [[nodiscard]] bool idle() const { return real_decodes + real_prompts == 0; }
};

/// Routed experts of one pipeline stage in one step, all its MoE layers. Nanoseconds, as in
/// MoeLayerCost.
struct MoeStageCost {
  double gemm_ns = 0, wait_ns = 0, dispatch_ns = 0, combine_ns = 0;
  double copy_ns = 0, prefetch_ns = 0;
  double prefetch_layers = 0;             ///< with copies for them during the layer before
  double active = 0, rank_imbalance = 0;  ///< as in MoeLayerCost, summed over layers
  Provenance provenance = Provenance::kRoofline;
};

/// What a run's routing looked like at one MoE layer. Sums over steps with work, weighted by
/// nothing.
struct MoeLayerStats {
  std::uint64_t steps = 0;
  double tokens = 0, assignments = 0;  ///< of requests: no padding, no dummies
  double padded = 0;                   ///< tokens beside those: padding, and ranks without work
  double dropped = 0;                  ///< assignments nobody computes: the expert was full
  double moved = 0;                    ///< to a next choice
  double left_with_none = 0;           ///< tokens whose every assignment was dropped
  double padding = 0;                  ///< rows computed for nobody
  double active = 0, rank_imbalance = 0, expert_imbalance = 0;
  /// Tokens of the steps, padding included, and those times the step's rank_imbalance.
  double step_tokens = 0, rank_imbalance_tokens = 0;
  double bytes_intra = 0, bytes_inter = 0;
  TierUse tier;                  ///< times of the average rank, the rest over all
  LogHistogram rank_imbalances;  ///< in thousandths
};

/// How far draws of steps were from the steps themselves (SampledCheck), relative: sums over steps.
struct SampledError {
  /// Sum over sum less 1: a mean of single ratios would lie high, since what divides is noisy, too.
  struct Sum {
    double drawn = 0, exact = 0, drawn_squares = 0, exact_squares = 0, products = 0;

    void add(double one_drawn, double one_exact);
    void add(const Sum& other);
    [[nodiscard]] double mean() const { return exact > 0 ? drawn / exact - 1 : 0; }
    /// Standard error of `mean`, by its linear part, of `count` steps that are as good as
    /// unrelated.
    [[nodiscard]] double error(double count) const;
  };
  std::uint64_t steps = 0;
  Sum active, rank_imbalance, time;  ///< time of the routed experts and their messages
};

struct MoeStats {
  std::string fidelity;  ///< exact, rank_exact, sampled, steps
  std::vector<MoeLayerStats> layers;
  std::vector<double> expert_load;  ///< [layer][logical expert] assignments of requests
  std::vector<double> straggler;    ///< [rank] layers of steps in which others waited for it
  int ranks = 1, experts = 0;
  std::vector<double> by_experts;     ///< [n] tokens, by layer, that n experts chose; else empty
  SampledError error;                 ///< of the draws; no steps in the other tiers
  bool prefill_from_decode = false;   ///< the trace has no prompt rows
  bool dispatch_estimated = false;    ///< ranks a token reaches were not recorded but guessed
  std::uint64_t sequence_epochs = 0;  ///< times the trace's sequences were used; 0 with replacement
  struct Rebalance {
    std::uint64_t step = 0;
    double copy_ns = 0;                                ///< serving stopped, or beside it
    double moved_bytes = 0;                            ///< over all ranks
    double imbalance_before = 1, imbalance_after = 1;  ///< of the window's load, mean over layers
    /// Of what came while it was in force, until the next or the end; null if nothing did.
    std::optional<double> imbalance_next = {};
  };
  std::vector<Rebalance> rebalances;
};

/// The MoE layers of one pipeline stage.
struct MoeStageSpec {
  MoeGroup group;
  std::vector<LayerClass> classes;
  std::vector<int> class_of;  ///< [MoE layer of the stage]
  int first = 0;              ///< its first MoE layer, counted over the model
};

/// Adds a layer, or a sum of layers, `weight` times.
inline void add_cost(const MoeStageCost& cost, double weight, MoeStageCost& sum) {
  sum.gemm_ns += weight * cost.gemm_ns;
  sum.wait_ns += weight * cost.wait_ns;
  sum.dispatch_ns += weight * cost.dispatch_ns;
  sum.combine_ns += weight * cost.combine_ns;
  sum.copy_ns += weight * cost.copy_ns;
  sum.prefetch_ns += weight * cost.prefetch_ns;
  sum.prefetch_layers += weight * cost.prefetch_layers;
  sum.active += weight * cost.active;
  sum.rank_imbalance += weight * cost.rank_imbalance;
  if (cost.gemm_ns > 0) sum.provenance = cost.provenance;
}
[[nodiscard]] inline MoeStageCost stage_cost(const MoeLayerCost& layer) {
  return {layer.gemm_ns,
          layer.wait_ns,
          layer.dispatch_ns,
          layer.combine_ns,
          layer.copy_ns,
          layer.prefetch_ns,
          layer.prefetch_ns > 0 ? 1.0 : 0.0,
          layer.active,
          layer.rank_imbalance,
          layer.provenance};
}

/// Prices the routed experts of steps, and remembers what it saw. Four ways: draws made beforehand
/// (sampled), every token of every step by itself, with its experts (exact) or only its ranks
/// (rank_exact), or loads of recorded steps (steps).
class MoeModel {
 public:
  virtual ~MoeModel() = default;
  /// Fills `cost`, one entry per stage.
  virtual void price(const MoeStep& step, std::span<MoeStageCost> cost) = 0;
  /// Whether MoeStep::works of step number `step` must name every decoding sequence.
  [[nodiscard]] virtual bool wants_tokens(std::uint64_t /*step*/) const { return false; }
  [[nodiscard]] virtual MoeStats stats() const = 0;
  /// New places for the experts, from the next step on.
  virtual void set_placement(const ExpertPlacement& placement) = 0;
  /// Assignments per expert, [layer][expert], since the last call; for a balancer.
  virtual void take_load(std::vector<double>& load) = 0;
};

/// Experts that take only so many tokens: routing-traces.md 4.3.
struct CapacityRule {
  double factor = 1;
  bool expert_choice = false;  ///< they choose them (ChoiceCounts): nothing overflows
  Overflow overflow = Overflow::kDrop;
  CapacityScope scope = CapacityScope::kBatch;
};

/// What all ways are made from. `routing` makes tables; the rest is plain.
struct MoeSetup {
  std::unique_ptr<ExpertRouting> routing;
  RoutingShape shape;  ///< of the whole model
  std::vector<MoeStageSpec> stages;
  std::uint64_t seed = 1;
  int mean_prompt = 512, mean_output = 256;  ///< tokens of a request
  const Workload* workload = nullptr;        ///< for the identity of prompt blocks; may be null
  std::optional<CapacityRule> capacity;  ///< experts may be full; exact only, unless they choose
};

[[nodiscard]] std::unique_ptr<MoeModel> make_sampled_moe(MoeSetup setup);
[[nodiscard]] std::unique_ptr<MoeModel> make_exact_moe(MoeSetup setup);
/// Precondition: nothing stands in its way (rank_exact_obstacle in expert_setup.h).
[[nodiscard]] std::unique_ptr<MoeModel> make_rank_exact_moe(MoeSetup setup);
/// From counts of steps; the routing serves for what is hot (ExpertTier) alone.
[[nodiscard]] std::unique_ptr<MoeModel> make_step_moe(MoeSetup setup,
                                                      std::unique_ptr<StepReplay> steps);

}  // namespace moesim
