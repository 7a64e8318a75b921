#include "sim/steptime/choice_counts.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sim/base/random.h"

namespace moesim {
namespace {

constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;  // 2^64 / golden ratio: SplitMix64's step

/// A standard exponential time from random bits.
double exponential(std::uint64_t bits) {
  return -std::log((static_cast<double>(bits >> 11) + 1) * 0x1p-53);
}

/// Mean of 1/(x + t), t standard exponential: e^x E1(x) (Abramowitz and Stegun, 5.1.1). Beyond 500
/// the first term of its series, 1/x, is within 0.2 % and nothing overflows.
double mean_inverse(double x) {
  return x > 500 ? 1 / x : std::exp(x) * -std::expint(-x);
}

}  // namespace

ChoiceCounts::ChoiceCounts(const CapacityRule& rule, const RoutingShape& shape)
    : rule_(rule),
      shape_(shape),
      outcomes_(static_cast<std::size_t>(shape.layers)),
      by_experts_(static_cast<std::size_t>(shape.experts) + 1),
      expert_load_(static_cast<std::size_t>(shape.layers) *
                   static_cast<std::size_t>(shape.experts)),
      scores_(static_cast<std::size_t>(shape.top_k)) {}

void ChoiceCounts::add(const Tokens& tokens, const ReplicaRanks& replicas, StepLoad& load) {
  std::ranges::fill(outcomes_, Outcome{});
  std::ranges::fill(by_experts_, 0.0);
  std::ranges::fill(expert_load_, 0.0);
  const std::size_t whole[] = {tokens.rows.size()};
  const bool by_rank = rule_.scope == CapacityScope::kRank;
  for (int layer = 0; layer < shape_.layers; ++layer) {
    std::size_t first = 0;
    const auto one = [&](std::size_t count) {
      Tokens part = tokens;
      part.rows = tokens.rows.subspan(first, count);
      part.real = std::min(count, tokens.real - std::min(tokens.real, first));
      add_layer(part, layer, static_cast<std::uint32_t>(first), replicas, load);
      first += count;
    };
    for (const std::size_t count : by_rank ? tokens.ranks : std::span(whole)) one(count);
    // Padding comes last, of all ranks together.
    if (first < tokens.rows.size()) one(tokens.rows.size() - first);
  }
}

/// Fills `scores_`, best first, of a token whose randomness is `key`.
void ChoiceCounts::score(std::uint64_t key) {
  double time = 0, sum = 0;
  int left = shape_.experts;
  for (double& score : scores_) {
    key += kGolden;
    time += exponential(mix64(key)) / left--;
    score = 1 / time;
    sum += score;
  }
  sum += left * (left > 0 ? mean_inverse(time) : 0);
  for (double& score : scores_) score /= sum;
}

void ChoiceCounts::list_candidates(const Tokens& part, int layer) {
  const auto experts = static_cast<std::size_t>(shape_.experts);
  first_.assign(experts + 1, 0);
  for (const std::uint64_t row : part.rows) {
    for (int k = 0; k < shape_.top_k; ++k)
      ++first_[static_cast<std::size_t>(part.table.expert(row, layer, k)) + 1];
  }
  std::partial_sum(first_.begin(), first_.end(), first_.begin());
  fill_.assign(first_.begin(), first_.end() - 1);
  candidates_.resize(first_.back());
  for (std::size_t token = 0; token < part.rows.size(); ++token) {
    const std::uint64_t row = part.rows[token];
    score(mix64(mix64(row + kGolden) ^ static_cast<std::uint64_t>(layer)));
    for (int k = 0; k < shape_.top_k; ++k) {
      const auto expert = static_cast<std::size_t>(part.table.expert(row, layer, k));
      candidates_[fill_[expert]++] = {scores_[static_cast<std::size_t>(k)],
                                      static_cast<std::uint32_t>(token)};
    }
  }
}

/// Picks the best `room` tokens of an expert; `room` <= `tokens`.
void ChoiceCounts::choose(int expert, std::size_t room, std::size_t tokens, std::uint64_t key) {
  const auto e = static_cast<std::size_t>(expert);
  const auto own = std::span(candidates_).subspan(first_[e], first_[e + 1] - first_[e]);
  const std::size_t taken = std::min(room, own.size());
  if (taken < own.size()) {
    std::ranges::nth_element(own, own.begin() + static_cast<std::ptrdiff_t>(taken),
                             [](const Candidate& a, const Candidate& b) {
                               return a.score != b.score ? a.score > b.score : a.token < b.token;
                             });
  }
  const auto mark = static_cast<std::uint32_t>(expert) + 1;
  for (const Candidate& one : own.first(taken)) {
    lists_[one.token] = mark;
    picks_.push_back({one.token, expert});
  }
  std::size_t at = key % tokens;
  for (std::size_t left = room - taken; left > 0; at = at + 1 == tokens ? 0 : at + 1) {
    if (lists_[at] == mark) continue;
    picks_.push_back({static_cast<std::uint32_t>(at), expert});
    --left;
  }
}

void ChoiceCounts::add_layer(const Tokens& part, int layer, std::uint32_t first_key,
                             const ReplicaRanks& replicas, StepLoad& load) {
  const std::size_t tokens = part.rows.size();
  if (tokens == 0) return;
  const auto experts = static_cast<std::size_t>(shape_.experts);
  const auto at = static_cast<std::size_t>(layer) * experts;
  const auto room =
      std::min(tokens, static_cast<std::size_t>(expert_capacity(
                           rule_.factor, static_cast<int>(tokens), shape_.top_k, shape_.experts)));
  list_candidates(part, layer);
  lists_.assign(tokens, 0);
  got_.assign(tokens, 0);
  picks_.clear();
  const std::uint64_t key = mix64(mix64(part.rows.front()) ^ static_cast<std::uint64_t>(layer));
  for (int e = 0; e < shape_.experts; ++e)
    choose(e, room, tokens, mix64(key + static_cast<std::uint64_t>(e) * kGolden));
  Outcome& outcome = outcomes_[static_cast<std::size_t>(layer)];
  for (const Pick& pick : picks_) {
    ++got_[pick.token];
    if (pick.token >= part.real) continue;
    ++outcome.taken;
    ++expert_load_[at + static_cast<std::size_t>(pick.expert)];
  }
  for (std::size_t token = 0; token < part.real; ++token) {
    outcome.with_none += got_[token] == 0 ? 1 : 0;
    ++by_experts_[got_[token]];
  }
  for (std::size_t e = 0; e < experts; ++e)
    load.counts()[at + e] += static_cast<std::uint32_t>(room);
  if (!load.copies().empty()) place(tokens, layer, first_key, replicas, load);
}

/// Which ranks get the tokens: a rank with several of a token's experts gets it once.
void ChoiceCounts::place(std::size_t tokens, int layer, std::uint32_t first_key,
                         const ReplicaRanks& replicas, StepLoad& load) {
  const std::size_t most = *std::ranges::max_element(got_);
  placed_.assign(tokens * most, -1);
  for (const Pick& pick : picks_) placed_[pick.token * most + --got_[pick.token]] = pick.expert;
  replicas.count_placed(placed_, static_cast<int>(most), layer, load.key() + first_key,
                        load.copies(), load.slots());
}

void add_choice(const ChoiceCounts& choice, double times, double tokens, MoeStats& stats) {
  stats.by_experts.resize(choice.by_experts().size());
  for (std::size_t n = 0; n < stats.by_experts.size(); ++n)
    stats.by_experts[n] += times * choice.by_experts()[n];
  for (std::size_t l = 0; l < stats.layers.size(); ++l) {
    MoeLayerStats& layer = stats.layers[l];
    layer.tokens += times * tokens;
    layer.assignments += times * choice.layers()[l].taken;
    layer.left_with_none += times * choice.layers()[l].with_none;
  }
  for (std::size_t i = 0; i < stats.expert_load.size(); ++i)
    stats.expert_load[i] += times * choice.expert_load()[i];
}

}  // namespace moesim
