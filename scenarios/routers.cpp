#include "scenarios/routers.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "sim/base/check.h"
#include "sim/base/random.h"

namespace moesim {
namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

/// Of tokens with `slots` places each, those whose every place is empty.
int tokens_with_none(std::span<const int> placed, std::size_t slots) {
  int tokens = 0;
  for (std::size_t first = 0; first < placed.size(); first += slots) {
    const auto own = placed.subspan(first, slots);
    tokens += std::ranges::all_of(own, [](int expert) { return expert < 0; }) ? 1 : 0;
  }
  return tokens;
}

/// Scores exp(x - max) over their sum, in place.
void softmax(std::span<double> values) {
  const double largest = *std::ranges::max_element(values);
  double sum = 0;
  for (double& value : values) sum += value = std::exp(value - largest);
  for (double& value : values) value /= sum;
}

}  // namespace

Router::Router(const RoutingShape& shape, const RouterRule& rule)
    : shape_(shape), rule_(rule), scores_(at(shape.experts)), biased_(at(shape.experts)) {
  MOESIM_CHECK(shape.top_k >= 1 && shape.top_k <= shape.experts, "a token has top_k experts");
  if (shape.groups == 0) return;
  MOESIM_CHECK(shape.experts % shape.groups == 0 &&
                   shape.top_k <= shape.experts / shape.groups * shape.topk_groups,
               "the groups a token keeps hold top_k experts");
  group_scores_.resize(at(shape.groups));
}

void Router::score(std::span<const double> logits) {
  std::ranges::copy(logits, scores_.begin());
  if (rule_.score == RouterRule::Score::kSoftmax) softmax(scores_);
  if (rule_.score != RouterRule::Score::kSigmoid) return;
  for (double& value : scores_) value = 1 / (1 + std::exp(-value));
}

/// Leaves the experts of the best groups in `candidates_`.
void Router::keep_groups() {
  const int size = shape_.experts / shape_.groups;
  groups_.resize(group_scores_.size());
  std::iota(groups_.begin(), groups_.end(), 0);
  for (const int g : groups_) {
    double best = std::numeric_limits<double>::lowest(), second = best;
    for (int e = g * size; e < (g + 1) * size; ++e) {
      second = std::max(second, std::min(best, biased_[at(e)]));
      best = std::max(best, biased_[at(e)]);
    }
    const bool sum = rule_.group_score == RouterRule::GroupScore::kSumOfTwo && size > 1;
    group_scores_[at(g)] = sum ? best + second : best;
  }
  std::ranges::partial_sort(groups_, groups_.begin() + shape_.topk_groups, [&](int a, int b) {
    const double first = group_scores_[at(a)], second = group_scores_[at(b)];
    return first != second ? first > second : a < b;
  });
  candidates_.clear();
  for (int i = 0; i < shape_.topk_groups; ++i) {
    for (int e = groups_[at(i)] * size; e < (groups_[at(i)] + 1) * size; ++e)
      candidates_.push_back(e);
  }
}

void Router::route(std::span<const double> logits, std::span<const double> bias,
                   std::span<int> chosen, std::span<double> weights) {
  MOESIM_CHECK(logits.size() == scores_.size() && chosen.size() == at(shape_.top_k) &&
                   weights.size() == chosen.size(),
               "one logit an expert, one weight a choice");
  score(logits);
  std::ranges::copy(scores_, biased_.begin());
  for (std::size_t e = 0; e < bias.size(); ++e) biased_[e] += bias[e];
  if (shape_.groups > 0) {
    keep_groups();
  } else {
    candidates_.resize(scores_.size());
    std::iota(candidates_.begin(), candidates_.end(), 0);
  }
  std::ranges::partial_sort(candidates_, candidates_.begin() + shape_.top_k, [&](int a, int b) {
    const double first = biased_[at(a)], second = biased_[at(b)];
    return first != second ? first > second : a < b;
  });
  double sum = 0;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    chosen[i] = candidates_[i];
    weights[i] = scores_[at(chosen[i])];
  }
  if (rule_.score == RouterRule::Score::kSoftmaxOfChosen) softmax(weights);
  for (const double weight : weights) sum += weight;
  const bool rescale = rule_.renormalize && sum > 0;
  for (double& weight : weights) weight *= rescale ? rule_.scale / sum : rule_.scale;
}

int expert_capacity(double factor, int tokens, int top_k, int experts) {
  const double room = factor * tokens * top_k / experts;
  // 1.25 * 8 * 2 / 5 is a whole number that arithmetic may miss by the last bit.
  return static_cast<int>(std::ceil(room - 1e-9 * std::max(1.0, room)));
}

int CapacityLimit::next_with_room(std::span<const int> own, int capacity, int& next) const {
  while (at(next) < own.size()) {
    const int expert = own[at(next++)];
    if (load_[at(expert)] < capacity) return expert;
  }
  return -1;
}

CapacityLimit::Outcome CapacityLimit::apply(const Choices& choices, int experts, int capacity,
                                            Overflow overflow, std::span<int> placed) {
  const std::size_t tokens = choices.experts.size() / at(choices.per_token);
  MOESIM_CHECK(choices.per_token >= choices.top_k && choices.top_k >= 1 &&
                   placed.size() == tokens * at(choices.top_k),
               "every slot has a choice and a place");
  load_.assign(at(experts), 0);
  next_.assign(tokens, choices.top_k);
  Outcome outcome;
  for (std::size_t slot = 0; slot < placed.size(); ++slot) {
    const std::size_t rank = slot / tokens, token = slot % tokens;
    const auto own = choices.experts.subspan(token * at(choices.per_token), at(choices.per_token));
    const int meant = own[rank];
    int expert = load_[at(meant)] < capacity ? meant : -1;
    if (expert < 0 && overflow == Overflow::kNextChoice)
      expert = next_with_room(own, capacity, next_[token]);
    if (expert >= 0) ++load_[at(expert)];
    placed[token * at(choices.top_k) + rank] = expert;
    ++(expert == meant ? outcome.kept : expert >= 0 ? outcome.moved : outcome.dropped);
  }
  outcome.tokens_with_none = tokens_with_none(placed, at(choices.top_k));
  if (overflow == Overflow::kPad) outcome.padding = std::int64_t{experts} * capacity - outcome.kept;
  return outcome;
}

std::span<const int> ExpertChoice::apply(std::span<const double> scores, int experts,
                                         int capacity) {
  const std::size_t tokens = scores.size() / at(experts);
  each_ = std::min(at(capacity), tokens);
  order_.resize(tokens);
  taken_.resize(each_ * at(experts));
  got_.assign(tokens, 0);
  for (std::size_t e = 0; e < at(experts); ++e) {
    std::iota(order_.begin(), order_.end(), 0);
    const auto score = [&](int token) { return scores[at(token) * at(experts) + e]; };
    std::ranges::partial_sort(order_, order_.begin() + static_cast<std::ptrdiff_t>(each_),
                              [&](int a, int b) {
                                const double first = score(a), second = score(b);
                                return first != second ? first > second : a < b;
                              });
    for (std::size_t i = 0; i < each_; ++i) {
      taken_[e * each_ + i] = order_[i];
      ++got_[at(order_[i])];
    }
  }
  return got_;
}

void hash_experts(std::uint64_t seed, int layer, std::uint64_t token_id, int experts,
                  std::span<int> chosen) {
  MOESIM_CHECK(chosen.size() <= at(experts), "there are enough experts");
  constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;  // 2^64 / golden ratio
  std::uint64_t state = mix64(seed + kGolden);
  state = mix64(state ^ (static_cast<std::uint64_t>(layer) + kGolden));
  state = mix64(state ^ (token_id + kGolden));
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const auto before = chosen.first(i);
    int expert = 0;
    do {
      state += kGolden;
      const std::uint64_t bits = mix64(state) >> 32;
      expert = static_cast<int>((bits * static_cast<std::uint64_t>(experts)) >> 32);
    } while (std::ranges::find(before, expert) != before.end());
    chosen[i] = expert;
  }
}

}  // namespace moesim
