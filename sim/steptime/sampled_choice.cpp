#include "sim/steptime/sampled_choice.h"

#include <algorithm>

namespace moesim {

SampledChoice::SampledChoice(const CapacityRule& rule, const RoutingShape& shape,
                             std::uint64_t seed)
    : counts_(rule, shape), seed_(seed) {}

SampledChoice::Share SampledChoice::draw(const RowDraw& rows, int tokens, std::uint64_t index,
                                         int ranks, const ReplicaRanks& replicas, StepLoad& load) {
  const char* const stream = rows.kind == TokenKind::kDecode ? "decode_choice" : "prompt_choice";
  Rng rng(seed_, stream, static_cast<std::uint64_t>(tokens) << 8 | index);
  draw_rows(rows, static_cast<std::size_t>(tokens), rng, rows_);
  ranks_.clear();
  for (int rank = 0; rank < ranks; ++rank)
    ranks_.push_back(static_cast<std::size_t>(tokens / ranks + (rank < tokens % ranks ? 1 : 0)));
  load.clear(static_cast<std::uint32_t>(index));
  counts_.add({*rows.table, rows_, rows_.size(), ranks_}, replicas, load);
  Share share;
  for (const ChoiceCounts::Outcome& layer : counts_.layers()) {
    share.taken.push_back(layer.taken / tokens);
    share.none.push_back(layer.with_none / tokens);
  }
  for (const double count : counts_.by_experts()) share.by_experts.push_back(count / tokens);
  return share;
}

void add_share(const SampledChoice::Share& share, MoeStats& stats) {
  stats.by_experts.resize(share.by_experts.size());
  for (std::size_t n = 0; n < share.by_experts.size(); ++n)
    stats.by_experts[n] += share.tokens * share.by_experts[n];
  const auto experts = static_cast<std::size_t>(stats.experts);
  for (std::size_t l = 0; l < stats.layers.size(); ++l) {
    const double taken = share.tokens * share.taken[l];
    stats.layers[l].assignments += taken;
    stats.layers[l].left_with_none += share.tokens * share.none[l];
    for (std::size_t e = 0; e < experts; ++e)
      stats.expert_load[l * experts + e] += taken / stats.experts;
  }
}

}  // namespace moesim
