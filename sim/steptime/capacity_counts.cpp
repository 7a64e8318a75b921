#include "sim/steptime/capacity_counts.h"

#include <algorithm>

namespace moesim {

CapacityCounts::CapacityCounts(const CapacityRule& rule, const RoutingShape& shape)
    : rule_(rule), shape_(shape) {}

void CapacityCounts::add(const Tokens& tokens, const ReplicaRanks& replicas, StepLoad& load,
                         std::vector<MoeLayerStats>& stats) {
  const std::size_t whole[] = {tokens.rows.size()};
  const auto parts = rule_.scope == CapacityScope::kRank ? tokens.ranks : std::span(whole);
  for (int layer = 0; layer < shape_.layers; ++layer) {
    std::size_t first = 0;
    for (const std::size_t count : parts) {
      Tokens part = tokens;
      part.rows = tokens.rows.subspan(first, count);
      add_layer(part, layer, static_cast<std::uint32_t>(first), replicas, load,
                stats[static_cast<std::size_t>(layer)]);
      first += count;
    }
  }
}

void CapacityCounts::add_layer(const Tokens& part, int layer, std::uint32_t first_key,
                               const ReplicaRanks& replicas, StepLoad& load, MoeLayerStats& stats) {
  const std::span<const std::uint64_t> rows = part.rows;
  const int next = part.next == nullptr ? 0 : part.next->shape().top_k;
  const int listed = shape_.top_k + next;
  const auto tokens = static_cast<int>(rows.size());
  if (tokens == 0) return;
  choices_.resize(rows.size() * static_cast<std::size_t>(listed));
  placed_.resize(rows.size() * static_cast<std::size_t>(shape_.top_k));
  std::size_t at = 0;
  for (const std::uint64_t row : rows) {
    for (int k = 0; k < shape_.top_k; ++k) choices_[at++] = part.table.expert(row, layer, k);
    for (int k = 0; k < next; ++k) choices_[at++] = part.next->expert(row, layer, k);
  }
  const int capacity = expert_capacity(rule_.factor, tokens, shape_.top_k, shape_.experts);
  const CapacityLimit::Outcome out = limit_.apply({choices_, listed, shape_.top_k}, shape_.experts,
                                                  capacity, rule_.overflow, placed_);
  stats.dropped += static_cast<double>(out.dropped);
  stats.moved += static_cast<double>(out.moved);
  stats.left_with_none += out.tokens_with_none;
  stats.padding += static_cast<double>(out.padding);
  const auto experts = static_cast<std::size_t>(shape_.experts);
  std::uint32_t* const counts = load.counts().data() + static_cast<std::size_t>(layer) * experts;
  for (std::size_t e = 0; e < experts; ++e) {
    const int taken = rule_.overflow == Overflow::kPad ? capacity : limit_.load()[e];
    counts[e] += static_cast<std::uint32_t>(taken);
  }
  if (load.copies().empty()) return;
  replicas.count_placed(placed_, shape_.top_k, layer, load.key() + first_key, load.copies(),
                        load.slots());
}

}  // namespace moesim
