#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "hardware/dispatch.h"
#include "models/family.h"
#include "models/placement.h"
#include "sim/steptime/expert_tier.h"
#include "sim/steptime/kernel_model.h"
#include "sim/steptime/replica_ranks.h"
#include "sim/steptime/shape_prices.h"

namespace moesim {

/// Where the tokens of a step go at one MoE layer.
struct LayerLoad {
  std::span<const std::uint32_t> counts;  ///< [logical expert] tokens that chose it
  std::span<const std::uint32_t> rank_copies, node_copies;  ///< distinct tokens; only if asked for
  /// [slot] tokens that were sent there. Empty: `counts` are dealt out to the copies of experts.
  std::span<const std::uint32_t> slots = {};
  std::uint32_t key = 0;  ///< of the step: says which copies begin
};

/// What the experts of one rank take in one layer of one step. Nanoseconds.
struct RankCost {
  double gemm_ns = 0;
  double copy_ns = 0;  ///< of absent experts, before the GEMM, or CPU work after it
  double active = 0;   ///< experts with tokens
  Provenance provenance = Provenance::kRoofline;
};

/// What one MoE layer of one step takes and shows. Nanoseconds.
struct MoeLayerCost {
  double gemm_ns = 0;  ///< experts of the average rank
  double wait_ns = 0;  ///< what the average rank then waits for the slowest
  double dispatch_ns = 0, combine_ns = 0;
  double bytes_intra = 0,
         bytes_inter = 0;       ///< sent by all ranks, both ways, inside and between nodes
  double active = 0;            ///< experts with tokens, on the average rank
  double rank_imbalance = 1;    ///< most over mean assignments of a rank
  double expert_imbalance = 1;  ///< the same over logical experts
  int straggler = 0;            ///< rank whose experts take longest
  /// Of the average rank: absent experts copied before its GEMM, or the CPU waited for after it.
  double copy_ns = 0;
  double prefetch_ns = 0;  ///< of the slowest rank: copied for this layer during the one before
  TierUse tier;            ///< over all ranks; zero if all experts are resident
  Provenance provenance = Provenance::kRoofline;
};

/// The ranks that share the routed experts of one pipeline stage (glossary: MoE group). Prices a
/// layer from where its tokens go:
///   dispatch + max over ranks(experts) + combine     (serving-semantics 3.5)
/// Not const: it has scratch space of its own and allocates nothing.
class MoeGroup {
 public:
  struct Config {
    const Family* family = nullptr;
    Shard shard;
    const KernelModel* kernels = nullptr;
    const DispatchBackend* dispatch = nullptr;  ///< null: every rank has all tokens already
    int ranks = 1;
    std::vector<int> node_of_rank;
  };
  /// `placement` covers the MoE layers of the whole model; ignored where experts are cut, not
  /// placed (EP off).
  MoeGroup(Config config, ExpertPlacement placement);

  /// Whether `LayerLoad::rank_copies` and `node_copies` are looked at.
  [[nodiscard]] bool needs_copies() const { return needs_copies_; }
  [[nodiscard]] int ranks() const { return config_.ranks; }
  /// Whether tokens are sent where their experts are, not everywhere.
  [[nodiscard]] bool routed() const {
    return config_.dispatch != nullptr && config_.dispatch->routed();
  }
  [[nodiscard]] const DispatchBackend* dispatch() const { return config_.dispatch; }
  /// Where the tokens of the layer priced last went; without who held them.
  [[nodiscard]] DispatchTraffic last_traffic() const { return {{}, copies_, slots_, node_copies_}; }
  [[nodiscard]] int nodes() const { return nodes_; }
  [[nodiscard]] const ReplicaRanks& replicas() const { return replicas_; }
  [[nodiscard]] const ExpertPlacement& placement() const { return placement_; }
  void set_placement(ExpertPlacement placement);
  /// Experts are not all resident from now on. Precondition: their placement does not change.
  void set_tier(const ExpertTier::Config& config, int layers, int experts);
  [[nodiscard]] ExpertTier* tier() { return tier_.get(); }
  /// Uses the experts of a layer without pricing them, so that policies see what is used.
  void visit(int moe_layer, const LayerLoad& load);

  /// Layer `moe_layer` (counted over the whole model) of class `layers`, with `held` tokens on each
  /// rank before the dispatch; `tokens` in all.
  [[nodiscard]] MoeLayerCost cost(const LayerClass& layers, int moe_layer, int tokens,
                                  std::span<const double> held, const LayerLoad& load);
  /// The same where ranks' costs are known already, and how many `pairs` each has; of `load` only
  /// the copies are looked at. `expert_imbalance` is not known.
  [[nodiscard]] MoeLayerCost cost(std::span<const RankCost> ranks,
                                  std::span<const std::uint32_t> pairs,
                                  std::span<const double> held, const LayerLoad& load);

  /// Tokens the experts of a rank see that has `pairs` assignments of `copies` distinct tokens, in
  /// a step of `tokens`.
  [[nodiscard]] int seen(const LayerClass& layers, int tokens, std::uint64_t pairs,
                         std::uint32_t copies) const;
  /// GEMM of one rank, `counts` by its slots. `layers`: one of the stage's, always the same object.
  [[nodiscard]] RankCost rank_cost(const LayerClass& layers, int seen,
                                   std::span<const std::uint32_t> counts);

 private:
  [[nodiscard]] std::span<const std::uint32_t> rank_counts(int rank, const LayerLoad& load) const;
  TierUse fetch(int rank, std::span<const std::uint32_t> counts, MoeLayerCost& cost);
  [[nodiscard]] RankCost rank_cost(const LayerClass& layers, int seen,
                                   std::span<const std::uint32_t> counts, const TierUse& use);
  void spread(int moe_layer, const LayerLoad& load);
  void price_ranks(const LayerClass& layers, int tokens, const LayerLoad& load, MoeLayerCost& cost);
  void meet(std::span<const RankCost> ranks, MoeLayerCost& cost) const;
  void price_dispatch(std::span<const double> held, const LayerLoad& load, MoeLayerCost& cost);

  Config config_;
  ExpertPlacement placement_;
  ReplicaRanks replicas_;
  int nodes_ = 1;
  bool whole_ = false;  ///< whole experts on ranks, else every expert cut over all
  bool needs_copies_ = false;
  ShapePrices prices_;
  std::unique_ptr<ExpertTier> tier_;        ///< null: all experts are resident
  std::vector<std::uint32_t> slot_counts_;  ///< [slot]
  std::vector<RankCost> rank_costs_;
  std::vector<double> slots_, copies_, node_copies_;
};

}  // namespace moesim
