#include "sim/steptime/expert_pool.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace moesim {
namespace {

constexpr int kPerOctave = 16;

/// Token count and slot of the pools around `tokens` (> kExact): `low` <= tokens < `high`.
struct Neighbours {
  int low, high;
  std::size_t slot;
};
Neighbours neighbours(int tokens) {
  const int octave = static_cast<int>(std::bit_width(static_cast<unsigned>(tokens))) - 1;
  const int step = (1 << octave) / kPerOctave;
  const int low = tokens / step * step;
  const int first_octave =
      static_cast<int>(std::bit_width(static_cast<unsigned>(ExpertPool::kExact))) - 1;
  const int index = (octave - first_octave) * kPerOctave + (low - (1 << octave)) / step;
  return {low, low + step, static_cast<std::size_t>(ExpertPool::kExact + index)};
}

}  // namespace

ExpertPool::ExpertPool(const ExpertRouting& routing, Price price, int experts, int top_k,
                       int layers, std::uint64_t seed, int max_tokens)
    : routing_(&routing),
      price_(std::move(price)),
      top_k_(top_k),
      layers_(layers),
      seed_(seed),
      counts_(static_cast<std::size_t>(experts)) {
  const int largest = std::max(max_tokens, kExact);
  pools_.resize((largest > kExact ? neighbours(largest).slot : kExact) + 2);
}

const ExpertPool::Pool& ExpertPool::pool(int tokens, std::size_t slot) {
  Pool& pool = pools_[slot];
  if (pool.draws != 0) return pool;
  ++made_;
  const std::int64_t assignments = static_cast<std::int64_t>(tokens) * top_k_;
  pool.draws = static_cast<std::uint32_t>(std::clamp(
      kAssignmentsPerPool / std::max<std::int64_t>(1, assignments), kMinDraws, kMaxDraws));
  Rng rng(seed_, "expert_counts", static_cast<std::uint64_t>(tokens));
  std::vector<double> draws(pool.draws);
  for (double& draw : draws) {
    routing_->draw(0, tokens, top_k_, rng, counts_);
    draw = price_(tokens, counts_);
  }
  pool.sums.assign(1, 0.0);
  for (std::size_t i = 0; i < draws.size() + static_cast<std::size_t>(layers_); ++i) {
    pool.sums.push_back(pool.sums.back() + draws[i % draws.size()]);
  }
  return pool;
}

double ExpertPool::from(const Pool& pool, std::uint64_t key) const {
  const auto start = static_cast<std::size_t>(key % pool.draws);
  return pool.sums[start + static_cast<std::size_t>(layers_)] - pool.sums[start];
}

double ExpertPool::layers_ns(int tokens, std::uint64_t step) {
  if (tokens <= 0) return 0;
  const std::uint64_t key = mix64(step * 0x9e3779b97f4a7c15ULL + seed_);
  if (tokens <= kExact) return from(pool(tokens, static_cast<std::size_t>(tokens)), key);
  const Neighbours near = neighbours(tokens);
  if (near.slot + 2 > pools_.size()) pools_.resize(near.slot + 2);
  const double low = from(pool(near.low, near.slot), key);
  if (near.low == tokens) return low;
  const double high = from(pool(near.high, near.slot + 1), key);
  return low + (high - low) * (tokens - near.low) / (near.high - near.low);
}

}  // namespace moesim
