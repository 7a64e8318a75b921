#pragma once

#include <span>
#include <vector>

#include "sim/steptime/moe_model.h"

namespace moesim {

/// One layer of one step, kept small: what statistics need of a MoeLayerCost.
struct MoeLayerRecord {
  float active = 0, rank_imbalance = 1, expert_imbalance = 1;
  float bytes_intra = 0, bytes_inter = 0;
  int straggler = -1;  ///< the rank that the others wait for, -1: nobody waits
  float looked = 0, hits = 0, ahead = 0, copied = 0;   ///< as in TierUse
  float demand_ns = 0, ahead_ns = 0;                   ///< of the average rank
  float work_ns = 0, dispatch_ns = 0, combine_ns = 0;  ///< experts of the slowest rank; messages
  float tokens = 0;                                    ///< of the step, padding included
  float computed = 0, cpu_ns = 0;                      ///< as in TierUse, of the average rank
};
[[nodiscard]] MoeLayerRecord record_of(const MoeLayerCost& cost, int ranks, int tokens);

/// Adds `times` steps like this to the statistics of a layer. What grows with the tokens of a step
/// (bytes of messages, weights by token) counts `extent` times: those steps have so many times the
/// record's tokens.
void add_record(const MoeLayerRecord& record, std::uint64_t times, double extent, int layer,
                MoeStats& stats);
/// Adds one step.
inline void add_record(const MoeLayerRecord& record, int layer, MoeStats& stats) {
  add_record(record, 1, 1, layer, stats);
}

/// Adds `tokens` tokens of a step, counted by expert, to the statistics of a layer; `share` of the
/// counts is theirs, the rest padding's.
void add_counts(std::span<const std::uint32_t> counts, std::size_t tokens, int top_k, int layer,
                MoeStats& stats, double share = 1);

/// Loads of experts since they were last taken; `taken` remembers, empty at first.
void take_since(const std::vector<double>& total, std::vector<double>& taken,
                std::vector<double>& load);

/// Tells the tiers of all stages which experts are hot.
void learn_tiers(const RoutingTable& table, std::span<MoeStageSpec> stages);

/// Adds another run's statistics, or another instance's, of the same model: sums and histograms.
/// What belongs to ranks of one instance (straggler, rebalances) stays that of `stats`; fidelity is
/// the lesser.
void add_stats(const MoeStats& other, MoeStats& stats);

[[nodiscard]] MoeStats empty_stats(const RoutingShape& shape, int ranks, const char* fidelity);

}  // namespace moesim
