#include "scenarios/latent_tokens.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "sim/base/check.h"

namespace moesim {
namespace {

/// Shuffles `list` (R. Durstenfeld, CACM 7(7), 1964).
void shuffle(std::span<int> list, Rng& rng) {
  for (std::size_t left = list.size(); left > 1; --left)
    std::swap(list[left - 1], list[rng.below(static_cast<std::uint32_t>(left))]);
}

std::vector<float> scaled(const std::vector<float>& values, double factor) {
  std::vector<float> out(values);
  for (float& value : out) value *= static_cast<float>(factor);
  return out;
}

constexpr std::size_t kLanes = 8;  ///< scores looked at side by side, in vector instructions
constexpr float kLowest = -std::numeric_limits<float>::infinity();

/// The two largest scores.
std::pair<float, float> two_best(std::span<const float> scores) {
  std::array<float, kLanes> first, second;
  first.fill(kLowest);
  second.fill(kLowest);
  const std::size_t whole = scores.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float score = scores[i + lane], least = std::min(first[lane], score);
      second[lane] = std::max(second[lane], least);
      first[lane] = std::max(first[lane], score);
    }
  }
  float best = kLowest, next = kLowest;
  const auto see = [&](float score) {
    next = std::max(next, std::min(best, score));
    best = std::max(best, score);
  };
  for (const float score : scores.subspan(whole)) see(score);
  for (std::size_t lane = 0; lane < std::min(kLanes, whole); ++lane) {
    see(first[lane]);
    see(second[lane]);
  }
  return {best, next};
}

}  // namespace

TopExperts::TopExperts(const RoutingShape& shape)
    : shape_(shape),
      groups_(static_cast<std::size_t>(std::max(shape.groups, 1))),
      best_(static_cast<std::size_t>(shape.top_k)),
      best_scores_(best_.size()) {}

std::span<const int> TopExperts::of(std::span<const float> scores) {
  offered_ = 0;
  if (shape_.groups == 0) {
    offer(scores, 0, scores.size(), kLowest);
    return best_;
  }
  const std::size_t size = scores.size() / groups_.size();
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const auto [best, next] = two_best(scores.subspan(g * size, size));
    groups_[g] = {-(size == 1 ? best : best + next), next, g * size};
  }
  const auto kept = std::span(groups_).first(static_cast<std::size_t>(shape_.topk_groups));
  std::ranges::partial_sort(groups_, groups_.begin() + shape_.topk_groups, {},
                            [](const Group& group) { return std::pair(group.rank, group.first); });
  // Two scores of every kept group are at least as high as the lowest second one.
  float floor = kLowest;
  if (2 * kept.size() >= best_.size()) floor = std::ranges::min(kept, {}, &Group::next).next;
  for (const Group& group : kept) offer(scores, group.first, size, floor);
  return best_;
}

void TopExperts::offer(std::span<const float> scores, std::size_t first, std::size_t count,
                       float floor) {
  int* const best = best_.data();
  float* const top = best_scores_.data();
  const std::size_t top_k = best_.size();
  for (std::size_t e = first; e < first + count; ++e) {
    const float score = scores[e];
    if (score < floor) [[likely]]
      continue;
    if (offered_ == top_k && score <= top[top_k - 1]) continue;
    std::size_t at = offered_ < top_k ? offered_++ : top_k - 1;
    for (; at > 0 && top[at - 1] < score; --at) {
      top[at] = top[at - 1];
      best[at] = best[at - 1];
    }
    top[at] = score;
    best[at] = static_cast<int>(e);
  }
}

LatentTokens::LatentTokens(const RoutingShape& shape, const LatentParameters& parameters,
                           std::uint64_t seed)
    : shape_(shape),
      parameters_(parameters),
      seed_(seed),
      rho_(static_cast<float>(parameters.layer_rho)),
      fresh_(static_cast<float>(std::sqrt(1 - parameters.layer_rho * parameters.layer_rho))),
      log_rho_(std::log(rho_)),
      log_fresh_(std::log(1 - rho_)),
      normal_(shape.experts,
              [rng = Rng(seed, "latent_normals")]() mutable { return rng.normal(); }),
      gumbel_(
          shape.experts,
          [rng = Rng(seed, "latent_gumbels")]() mutable { return -std::log(rng.exponential()); }),
      top_(shape),
      domain_(static_cast<std::size_t>(parameters.domains) * experts()),
      classes_(static_cast<std::size_t>(parameters.classes) * experts()),
      score_(experts()),
      noise_(experts()),
      innovation_(experts()) {
  double sum = 0;
  for (int c = 1; c <= parameters.classes; ++c) class_below_.push_back(sum += 1.0 / c);
}

/// Experts of a group stay together, so that groups are as far apart in either order.
std::vector<int> LatentTokens::permutation(std::uint64_t layer) const {
  Rng rng(seed_, "latent_experts", layer);
  const int groups = std::max(shape_.groups, 1);
  const int size = shape_.experts / groups;
  std::vector<int> order(static_cast<std::size_t>(groups));
  std::iota(order.begin(), order.end(), 0);
  shuffle(order, rng);
  std::vector<int> experts;
  for (const int group : order) {
    const std::size_t first = experts.size();
    for (int i = 0; i < size; ++i) experts.push_back(group * size + i);
    shuffle(std::span(experts).subspan(first), rng);
  }
  return experts;
}

/// Standard normals of one layer become those of the next.
void LatentTokens::go_on(std::vector<float>& values, Rng rng) const {
  const bool first = layers_.empty();
  for (float& value : values) {
    const auto fresh = static_cast<float>(rng.normal());
    value = first ? fresh : rho_ * value + fresh_ * fresh;
  }
}

void LatentTokens::add_layer(const LatentSpread& spread, const std::vector<double>& popularity) {
  const auto l = static_cast<std::uint64_t>(layers_.size());
  MOESIM_CHECK(popularity.size() == experts(), "popularity of every expert");
  go_on(domain_, Rng(seed_, "latent_domains", l));
  go_on(classes_, Rng(seed_, "latent_classes", l));
  Layer layer{spread, permutation(l), {}, {}, {}};
  for (const int expert : layer.expert)
    layer.base.push_back(
        static_cast<float>(spread.layer * popularity[static_cast<std::size_t>(expert)]));
  layer.domain = scaled(domain_, spread.domain);
  layer.classes = scaled(classes_, spread.token_class);
  layers_.push_back(std::move(layer));
}

int LatentTokens::domain_of(std::uint64_t number) const {
  const auto domains = static_cast<std::uint64_t>(parameters_.domains);
  std::vector<int> order(domains);
  std::iota(order.begin(), order.end(), 0);
  Rng rng(seed_, "latent_domain_order", number / domains);
  shuffle(order, rng);
  return order[number % domains];
}

void LatentTokens::fill(RoutingTable& table) {
  for (RoutedSequence& one : table.sequences) {
    sequence(table, one.first_row, one.rows, one.source_id);
    one.domain = static_cast<std::uint16_t>(domain_of(one.source_id));
  }
}

void LatentTokens::sequence(RoutingTable& table, std::uint64_t first_row, std::uint32_t rows,
                            std::uint64_t number) {
  Rng rng(seed_, "latent_tokens", number);
  start(domain_of(number), number);
  std::size_t token_class = draw_class(rng);
  for (std::uint32_t i = 0; i < rows; ++i) {
    if (i > 0 && rng.uniform() >= parameters_.class_stay) token_class = draw_class(rng);
    for (std::size_t l = 0; l < layers_.size(); ++l) {
      const std::uint64_t bits = rng.next();
      score(l, token_class, gumbel_.run(bits));
      const std::span<const int> best = top_.of(score_);
      for (int rank = 0; rank < shape_.top_k; ++rank) {
        const auto place = static_cast<std::size_t>(best[static_cast<std::size_t>(rank)]);
        table.set(first_row + i, static_cast<int>(l), rank, layers_[l].expert[place]);
      }
      step(l, normal_.run(bits >> 32));
    }
  }
}

std::size_t LatentTokens::draw_class(Rng& rng) const {
  const double mark = rng.uniform() * class_below_.back();
  return static_cast<std::size_t>(std::ranges::upper_bound(class_below_, mark) -
                                  class_below_.begin());
}

/// What stays for the sequence, and its slow process at a typical value.
void LatentTokens::start(int domain, std::uint64_t number) {
  fixed_.assign(layers_.size() * experts(), 0);
  slow_.assign(layers_.size() * experts(), 0);
  std::vector<float> own(experts()), slow(experts());
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    const float* const of_domain = &layer.domain[static_cast<std::size_t>(domain) * experts()];
    Rng rng(seed_, "latent_sequences", (number << 16) + l);
    const auto go_on_from = [&](float before) {
      const auto fresh = static_cast<float>(rng.normal());
      return l == 0 ? fresh : rho_ * before + fresh_ * fresh;
    };
    const auto sequence = static_cast<float>(layer.spread.sequence);
    const auto slow_spread = static_cast<float>(layer.spread.slow);
    for (std::size_t i = 0; i < experts(); ++i) {
      own[i] = go_on_from(own[i]);
      fixed_[l * experts() + i] = layer.base[i] + sequence * own[i] + of_domain[i];
    }
    for (std::size_t i = 0; i < experts(); ++i) {
      slow[i] = go_on_from(slow[i]);
      slow_[l * experts() + i] = slow_spread * slow[i];
    }
  }
}

void LatentTokens::score(std::size_t l, std::size_t token_class, const float* fresh) {
  const float* const fixed = &fixed_[l * experts()];
  const float* const slow = &slow_[l * experts()];
  const float* const of_class = &layers_[l].classes[token_class * experts()];
  float* const score = score_.data();
  float* const noise = noise_.data();
  const float keep = l == 0 ? -std::numeric_limits<float>::infinity() : log_rho_;
  const float renew = l == 0 ? 0 : log_fresh_;
  for (std::size_t i = 0; i < experts(); ++i) {
    noise[i] = std::max(noise[i] + keep, fresh[i] + renew);
    score[i] = fixed[i] + slow[i] + of_class[i] + noise[i];
  }
}

/// The slow process one token on: x' = rho x + sigma sqrt(1 - rho^2) e.
void LatentTokens::step(std::size_t l, const float* fresh) {
  const LatentSpread& spread = layers_[l].spread;
  const auto rho = static_cast<float>(spread.slow_rho);
  const auto grow =
      static_cast<float>(spread.slow * std::sqrt(1 - spread.slow_rho * spread.slow_rho));
  const float keep = l == 0 ? 0 : rho_;
  const float renew = l == 0 ? 1 : fresh_;
  float* const slow = &slow_[l * experts()];
  float* const innovation = innovation_.data();
  for (std::size_t i = 0; i < experts(); ++i) {
    innovation[i] = keep * innovation[i] + renew * fresh[i];
    slow[i] = rho * slow[i] + grow * innovation[i];
  }
}

}  // namespace moesim
