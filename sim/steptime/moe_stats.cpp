#include "sim/steptime/moe_stats.h"

#include <cmath>

namespace moesim {

MoeLayerRecord record_of(const MoeLayerCost& cost, int ranks) {
  const TierUse& tier = cost.tier;
  return {static_cast<float>(cost.active),
          static_cast<float>(cost.rank_imbalance),
          static_cast<float>(cost.expert_imbalance),
          static_cast<float>(cost.bytes_intra),
          static_cast<float>(cost.bytes_inter),
          cost.straggler,
          static_cast<float>(tier.looked),
          static_cast<float>(tier.hits),
          static_cast<float>(tier.ahead),
          static_cast<float>(tier.bytes),
          static_cast<float>(tier.demand_ns / ranks),
          static_cast<float>(tier.ahead_ns / ranks)};
}

void learn_tiers(const RoutingTable& table, std::span<MoeStageSpec> stages) {
  for (MoeStageSpec& stage : stages) {
    if (stage.group.tier() != nullptr) stage.group.tier()->learn(table);
  }
}

void add_record(const MoeLayerRecord& record, std::uint64_t times, int layer, MoeStats& stats) {
  MoeLayerStats& sums = stats.layers[static_cast<std::size_t>(layer)];
  const auto weight = static_cast<double>(times);
  sums.steps += times;
  sums.active += weight * static_cast<double>(record.active);
  sums.rank_imbalance += weight * static_cast<double>(record.rank_imbalance);
  sums.expert_imbalance += weight * static_cast<double>(record.expert_imbalance);
  sums.bytes_intra += weight * static_cast<double>(record.bytes_intra);
  sums.bytes_inter += weight * static_cast<double>(record.bytes_inter);
  sums.tier.looked += weight * static_cast<double>(record.looked);
  sums.tier.hits += weight * static_cast<double>(record.hits);
  sums.tier.ahead += weight * static_cast<double>(record.ahead);
  sums.tier.bytes += weight * static_cast<double>(record.copied);
  sums.tier.demand_ns += weight * static_cast<double>(record.demand_ns);
  sums.tier.ahead_ns += weight * static_cast<double>(record.ahead_ns);
  sums.rank_imbalances.add(std::lround(static_cast<double>(record.rank_imbalance) * 1000),
                           static_cast<std::int64_t>(times));
  if (stats.ranks > 1) stats.straggler[static_cast<std::size_t>(record.straggler)] += weight;
}

MoeStats empty_stats(const RoutingShape& shape, int ranks, const char* fidelity) {
  MoeStats stats;
  stats.fidelity = fidelity;
  stats.layers.resize(static_cast<std::size_t>(shape.layers));
  stats.expert_load.assign(
      static_cast<std::size_t>(shape.layers) * static_cast<std::size_t>(shape.experts), 0.0);
  stats.straggler.assign(static_cast<std::size_t>(ranks), 0.0);
  stats.ranks = ranks;
  stats.experts = shape.experts;
  return stats;
}

}  // namespace moesim
