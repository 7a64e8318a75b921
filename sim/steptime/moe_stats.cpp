#include "sim/steptime/moe_stats.h"

#include <cmath>

#include "sim/base/check.h"

namespace moesim {

MoeLayerRecord record_of(const MoeLayerCost& cost, int ranks, int tokens) {
  const TierUse& tier = cost.tier;
  constexpr double kRounding = 1e-9;
  const bool waited = cost.wait_ns > kRounding * (cost.gemm_ns + cost.copy_ns);
  return {static_cast<float>(cost.active),
          static_cast<float>(cost.rank_imbalance),
          static_cast<float>(cost.expert_imbalance),
          static_cast<float>(cost.bytes_intra),
          static_cast<float>(cost.bytes_inter),
          waited ? cost.straggler : -1,
          static_cast<float>(tier.looked),
          static_cast<float>(tier.hits),
          static_cast<float>(tier.ahead),
          static_cast<float>(tier.bytes),
          static_cast<float>(tier.demand_ns / ranks),
          static_cast<float>(tier.ahead_ns / ranks),
          static_cast<float>(cost.gemm_ns + cost.wait_ns),
          static_cast<float>(cost.dispatch_ns),
          static_cast<float>(cost.combine_ns),
          static_cast<float>(tokens),
          static_cast<float>(tier.computed),
          static_cast<float>(tier.cpu_ns / ranks)};
}

void take_since(const std::vector<double>& total, std::vector<double>& taken,
                std::vector<double>& load) {
  load = total;
  for (std::size_t i = 0; i < taken.size(); ++i) load[i] -= taken[i];
  taken = total;
}

void learn_tiers(const RoutingTable& table, std::span<MoeStageSpec> stages) {
  for (MoeStageSpec& stage : stages) {
    if (stage.group.tier() != nullptr) stage.group.tier()->learn(table);
  }
}

void add_record(const MoeLayerRecord& record, std::uint64_t times, double extent, int layer,
                MoeStats& stats) {
  MoeLayerStats& sums = stats.layers[static_cast<std::size_t>(layer)];
  const auto weight = static_cast<double>(times);
  sums.steps += times;
  sums.active += weight * static_cast<double>(record.active);
  sums.rank_imbalance += weight * static_cast<double>(record.rank_imbalance);
  const double weight_tokens = extent * static_cast<double>(record.tokens);
  sums.step_tokens += weight_tokens;
  sums.rank_imbalance_tokens += weight_tokens * static_cast<double>(record.rank_imbalance);
  sums.expert_imbalance += weight * static_cast<double>(record.expert_imbalance);
  sums.bytes_intra += extent * static_cast<double>(record.bytes_intra);
  sums.bytes_inter += extent * static_cast<double>(record.bytes_inter);
  sums.tier.looked += weight * static_cast<double>(record.looked);
  sums.tier.hits += weight * static_cast<double>(record.hits);
  sums.tier.ahead += weight * static_cast<double>(record.ahead);
  sums.tier.bytes += weight * static_cast<double>(record.copied);
  sums.tier.demand_ns += weight * static_cast<double>(record.demand_ns);
  sums.tier.ahead_ns += weight * static_cast<double>(record.ahead_ns);
  sums.tier.computed += weight * static_cast<double>(record.computed);
  sums.tier.cpu_ns += weight * static_cast<double>(record.cpu_ns);
  if (times == 0) return;
  sums.rank_imbalances.add(std::lround(static_cast<double>(record.rank_imbalance) * 1000),
                           static_cast<std::int64_t>(times));
  if (record.straggler >= 0) stats.straggler[static_cast<std::size_t>(record.straggler)] += weight;
}

void add_stats(const MoeStats& other, MoeStats& stats) {
  MOESIM_CHECK(other.layers.size() == stats.layers.size(), "both are of one model");
  for (std::size_t l = 0; l < stats.layers.size(); ++l) {
    const MoeLayerStats& from = other.layers[l];
    MoeLayerStats& to = stats.layers[l];
    to.steps += from.steps;
    to.tokens += from.tokens;
    to.assignments += from.assignments;
    to.padded += from.padded;
    to.dropped += from.dropped;
    to.moved += from.moved;
    to.left_with_none += from.left_with_none;
    to.padding += from.padding;
    to.active += from.active;
    to.rank_imbalance += from.rank_imbalance;
    to.step_tokens += from.step_tokens;
    to.rank_imbalance_tokens += from.rank_imbalance_tokens;
    to.expert_imbalance += from.expert_imbalance;
    to.bytes_intra += from.bytes_intra;
    to.bytes_inter += from.bytes_inter;
    to.tier.looked += from.tier.looked;
    to.tier.hits += from.tier.hits;
    to.tier.ahead += from.tier.ahead;
    to.tier.bytes += from.tier.bytes;
    to.tier.demand_ns += from.tier.demand_ns;
    to.tier.ahead_ns += from.tier.ahead_ns;
    to.tier.computed += from.tier.computed;
    to.tier.cpu_ns += from.tier.cpu_ns;
    to.rank_imbalances.merge(from.rank_imbalances);
  }
  // Kinds without favourites do not count loads.
  if (stats.expert_load.empty()) {
    stats.expert_load = other.expert_load;
  } else {
    for (std::size_t i = 0; i < other.expert_load.size(); ++i)
      stats.expert_load[i] += other.expert_load[i];
  }
  if (stats.by_experts.empty()) stats.by_experts.resize(other.by_experts.size());
  for (std::size_t n = 0; n < other.by_experts.size(); ++n)
    stats.by_experts[n] += other.by_experts[n];
  stats.error.steps += other.error.steps;
  for (const auto sum : {&SampledError::active, &SampledError::rank_imbalance, &SampledError::time})
    (stats.error.*sum).add(other.error.*sum);
  stats.prefill_from_decode = stats.prefill_from_decode || other.prefill_from_decode;
  stats.dispatch_estimated = stats.dispatch_estimated || other.dispatch_estimated;
  stats.sequence_epochs = std::max(stats.sequence_epochs, other.sequence_epochs);
  for (const char* const lesser : {"sampled", "rank_exact"}) {
    if (stats.fidelity != lesser && other.fidelity != lesser) continue;
    stats.fidelity = lesser;
    break;
  }
}

void add_counts(std::span<const std::uint32_t> counts, std::size_t tokens, int top_k, int layer,
                MoeStats& stats, double share) {
  MoeLayerStats& sums = stats.layers[static_cast<std::size_t>(layer)];
  sums.tokens += static_cast<double>(tokens);
  sums.assignments += static_cast<double>(tokens) * top_k;
  double* const load = stats.expert_load.data() + static_cast<std::size_t>(layer) * counts.size();
  for (std::size_t e = 0; e < counts.size(); ++e) load[e] += share * counts[e];
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

void SampledError::Sum::add(double one_drawn, double one_exact) {
  add(Sum{one_drawn, one_exact, one_drawn * one_drawn, one_exact * one_exact,
          one_drawn * one_exact});
}

void SampledError::Sum::add(const Sum& other) {
  drawn += other.drawn;
  exact += other.exact;
  drawn_squares += other.drawn_squares;
  exact_squares += other.exact_squares;
  products += other.products;
}

double SampledError::Sum::error(double count) const {
  if (exact <= 0 || count < 2) return 0;
  const double ratio = drawn / exact;
  const double squares = drawn_squares - 2 * ratio * products + ratio * ratio * exact_squares;
  return std::sqrt(std::max(0.0, squares) / (count * (count - 1))) / (exact / count);
}

}  // namespace moesim
