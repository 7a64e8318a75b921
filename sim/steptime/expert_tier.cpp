#include "sim/steptime/expert_tier.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "sim/base/check.h"

namespace moesim {
namespace {

/// Rows looked at, evenly over the table: shares of an expert are then off by less than 2 %.
constexpr std::uint64_t kLearnedRows = 4096;
constexpr int kCountBits = 24;  ///< of tokens beside the step number
constexpr std::uint64_t kMostCount = (std::uint64_t{1} << kCountBits) - 1;

/// The `keep` largest of order[0..), ties to the lower index, come first.
template <class Key>
void keep_largest(std::vector<int>& order, int keep, Key&& key) {
  if (keep <= 0 || keep >= static_cast<int>(order.size())) return;
  std::nth_element(order.begin(), order.begin() + keep, order.end(), [&](int a, int b) {
    const auto x = key(a), y = key(b);
    return x != y ? x > y : a < b;
  });
}

}  // namespace

ExpertTier::ExpertTier(Config config, const ExpertPlacement& placement)
    : config_(std::move(config)),
      layers_(static_cast<int>(config_.expert_bytes.size())),
      experts_(placement.experts),
      slots_(placement.slots),
      ranks_(placement.ranks),
      model_layers_(placement.layers),
      first_slot_(placement.first_slot) {
  MOESIM_CHECK(config_.first_layer + layers_ <= placement.layers, "the stage is of this model");
  for (int l = 0; l < layers_; ++l) {
    const auto slots = placement.layer(config_.first_layer + l);
    logical_.insert(logical_.end(), slots.begin(), slots.end());
  }
  pinned_.assign(logical_.size(), 0);
  resident_.assign(logical_.size(), 0);
  guessed_.assign(static_cast<std::size_t>(experts_), 0);
  before_.assign(static_cast<std::size_t>(experts_), 0);
  expected_.assign(static_cast<std::size_t>(experts_), 0.0);
  reset();
}

void ExpertTier::reset() {
  rank_ = pinned_;
  clock_ = 0;
  layer_ = -1;
  for (int l = 0; l < layers_; ++l) {
    for (int r = 0; r < ranks_; ++r) choose_resident(l, r);
  }
}

void ExpertTier::learn(const RoutingTable& table) {
  const bool ahead = config_.spec.prefetch == OffloadPrefetch::kNextLayer;
  if (!ahead && config_.spec.policy == OffloadPolicy::kWholeLayers) return;
  const auto experts = static_cast<std::size_t>(experts_);
  if (ahead) follow_.assign(static_cast<std::size_t>(layers_ - 1) * experts * experts, 0.0F);
  std::vector<std::uint64_t> load(static_cast<std::size_t>(layers_) * experts, 0);
  const std::uint64_t rows = std::min(table.rows(), kLearnedRows);
  for (std::uint64_t i = 0; i < rows; ++i) {
    const std::uint64_t row = i * table.rows() / rows;
    table.check_rows(row, 1);
    for (int l = 0; l < layers_; ++l) {
      for (int k = 0; k < table.shape().top_k; ++k) {
        const int expert = table.expert(row, config_.first_layer + l, k);
        ++load[static_cast<std::size_t>(l) * experts + static_cast<std::size_t>(expert)];
      }
    }
    if (ahead) count_followers(table, row);
  }
  if (ahead) finish_followers(table);
  for (int l = 0; l < layers_; ++l) {
    const auto slots = std::span(logical_).subspan(at(l, 0), static_cast<std::size_t>(slots_));
    for (int s = 0; s < slots_; ++s) {
      // Copies of an expert share its tokens.
      const std::uint16_t expert = slots[static_cast<std::size_t>(s)];
      const auto copies = static_cast<std::uint64_t>(std::ranges::count(slots, expert));
      const bool hot = config_.spec.policy == OffloadPolicy::kPinnedHot;
      pinned_[at(l, s)] = hot ? load[static_cast<std::size_t>(l) * experts + expert] / copies : 0;
    }
  }
  reset();
}

void ExpertTier::count_followers(const RoutingTable& table, std::uint64_t row) {
  const auto experts = static_cast<std::size_t>(experts_);
  const int top_k = table.shape().top_k;
  for (int l = 0; l + 1 < layers_; ++l) {
    float* const pairs = follow_.data() + static_cast<std::size_t>(l) * experts * experts;
    for (int a = 0; a < top_k; ++a) {
      const auto from = static_cast<std::size_t>(table.expert(row, config_.first_layer + l, a));
      for (int b = 0; b < top_k; ++b) {
        const int to = table.expert(row, config_.first_layer + l + 1, b);
        pairs[from * experts + static_cast<std::size_t>(to)] += 1;
      }
    }
  }
}

/// Pairs to shares: a token at e is counted top_k times, once for each of its next choices.
void ExpertTier::finish_followers(const RoutingTable& table) {
  const auto experts = static_cast<std::ptrdiff_t>(experts_);
  for (auto row = follow_.begin(); row != follow_.end(); row += experts) {
    const float sum = std::accumulate(row, row + experts, 0.0F);
    if (sum <= 0) continue;
    const float scale = static_cast<float>(table.shape().top_k) / sum;
    std::for_each(row, row + experts, [scale](float& share) { share *= scale; });
  }
}

void ExpertTier::guess(std::span<const std::uint32_t> before) {
  std::ranges::fill(guessed_, std::uint8_t{0});
  std::ranges::fill(expected_, 0.0);
  const auto experts = static_cast<std::size_t>(experts_);
  const float* const pairs =
      follow_.data() + static_cast<std::size_t>(layer_ - 1) * experts * experts;
  int active = 0;
  for (std::size_t e = 0; e < experts; ++e) {
    if (before[e] == 0) continue;
    ++active;
    for (std::size_t f = 0; f < experts; ++f)
      expected_[f] += before[e] * static_cast<double>(pairs[e * experts + f]);
  }
  order_.resize(experts);
  std::iota(order_.begin(), order_.end(), 0);
  const auto expected = [this](int e) { return expected_[static_cast<std::size_t>(e)]; };
  keep_largest(order_, active, expected);
  for (int i = 0; i < active; ++i) {
    const int e = order_[static_cast<std::size_t>(i)];
    if (expected(e) > 0) guessed_[static_cast<std::size_t>(e)] = 1;
  }
}

void ExpertTier::begin_layer(int moe_layer, std::span<const std::uint32_t> counts, int tokens) {
  tokens_ = tokens;
  const int layer = moe_layer - config_.first_layer;
  const bool follows = layer_ + 1 == layer && layer > 0;
  layer_ = layer;
  ++clock_;
  if (follow_.empty()) return;
  if (follows) {
    guess(before_);
  } else {
    std::ranges::fill(guessed_, std::uint8_t{0});
  }
  std::ranges::copy(counts, before_.begin());
}

double ExpertTier::link_ns(double experts) const {
  if (experts <= 0) return 0;
  const double bytes = config_.expert_bytes[static_cast<std::size_t>(layer_)];
  return config_.latency_ns + experts * bytes / config_.bytes_per_ns;
}

double ExpertTier::cpu_ns(double experts, double pairs) const {
  if (experts <= 0) return 0;
  const Config::Cpu& cpu = config_.cpu;
  const auto layer = static_cast<std::size_t>(layer_);
  const double hidden = std::min<double>(tokens_, pairs) * cpu.hidden_bytes;
  const double read = experts * config_.expert_bytes[layer] / cpu.bytes_per_ns;
  const double computed = pairs * cpu.expert_flops[layer] / cpu.flops_per_ns;
  return 2 * (config_.latency_ns + hidden / config_.bytes_per_ns) + std::max(read, computed);
}

/// An expert on the GPU, there or copied, computes `tokens`.
void ExpertTier::note_use(std::size_t slot, std::uint32_t tokens) {
  if (config_.spec.policy == OffloadPolicy::kLru)
    rank_[slot] = clock_ << kCountBits | std::min<std::uint64_t>(tokens, kMostCount);
  if (config_.spec.policy == OffloadPolicy::kLfu) rank_[slot] += tokens;
}

TierUse ExpertTier::visit(int rank, std::span<const std::uint32_t> counts) {
  TierUse use;
  double demand = 0, fetched = 0, pairs = 0;
  const bool cpu = config_.spec.on_cpu() && tokens_ < kCopiedFrom;
  if (cpu) on_gpu_.assign(counts.begin(), counts.end());
  const int first = first_slot_[static_cast<std::size_t>(rank)];
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const std::size_t slot = at(layer_, first) + i;
    const bool there = resident_[slot] != 0;
    const bool guessed = !there && guessed_[logical_[slot]] != 0;
    fetched += guessed ? 1 : 0;
    if (counts[i] == 0) continue;
    use.looked += 1;
    use.hits += there ? 1 : 0;
    use.ahead += guessed ? 1 : 0;
    if (cpu && !there) {
      use.computed += 1;
      pairs += counts[i];
      on_gpu_[i] = 0;
      continue;
    }
    demand += there || guessed ? 0 : 1;
    note_use(slot, counts[i]);
  }
  use.bytes = (demand + fetched) * config_.expert_bytes[static_cast<std::size_t>(layer_)];
  use.demand_ns = link_ns(demand);
  use.ahead_ns = link_ns(fetched);
  use.cpu_ns = cpu_ns(use.computed, pairs);
  // Residents that were used rise further: without a miss nothing changes places.
  if (learns() && use.hits < use.looked) choose_resident(layer_, rank);
  return use;
}

void ExpertTier::choose_resident(int layer, int rank) {
  const int first = first_slot_[static_cast<std::size_t>(rank)];
  const int count = first_slot_[static_cast<std::size_t>(rank) + 1] - first;
  const int keep = config_.spec.resident(count, config_.first_layer + layer, model_layers_);
  order_.resize(static_cast<std::size_t>(count));
  std::iota(order_.begin(), order_.end(), 0);
  const std::size_t base = at(layer, first);
  keep_largest(order_, keep, [&](int s) { return rank_[base + static_cast<std::size_t>(s)]; });
  for (int i = 0; i < count; ++i)
    resident_[base + static_cast<std::size_t>(order_[static_cast<std::size_t>(i)])] = i < keep;
}

}  // namespace moesim
