#include "sim/steptime/expert_pool.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "models/expert_sums.h"

namespace moesim {
namespace {

constexpr int kPerOctave = 16;
constexpr int kStartBits = 9;                             // of a hash, for where a run begins
constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;  // 2^64 / golden ratio: SplitMix64's step

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
                       int layers, std::uint64_t seed)
    : bank_(routing, experts, top_k, seed),
      price_(std::move(price)),
      layers_(layers),
      top_k_(top_k),
      seed_(seed),
      pools_(kExact + 1),
      counts_(static_cast<std::size_t>(experts)) {}

/// Fills `draws_`: their number is a power of two.
void ExpertPool::price_draws(int tokens) {
  const int most = bank_.most_draws(tokens);
  for (int count = CountBank::kMinDraws;; count *= 2) {
    Rng rng(seed_, "expert_pool", static_cast<std::uint64_t>(tokens));
    bank_.choose(tokens, count, rng);
    draws_.resize(static_cast<std::size_t>(count));
    double sum = 0;
    double squares = 0;
    std::int64_t active = 0, largest_sum = 0;
    for (int i = 0; i < count; ++i) {
      bank_.draw(i, counts_);
      const double price = price_(tokens, counts_);
      draws_[static_cast<std::size_t>(i)] = price;
      sum += price;
      squares += price * price;
      const ExpertSums sums = expert_sums(counts_, 1);
      active += sums.active;
      largest_sum += sums.largest;
    }
    active_ = static_cast<double>(active) / count;
    imbalance_ = static_cast<double>(largest_sum) / count * static_cast<double>(counts_.size()) /
                 (static_cast<double>(tokens) * top_k_);
    const double mean = sum / count;
    const double allowed = kStandardError * mean;
    if (count >= most || squares / count - mean * mean <= allowed * allowed * count) return;
  }
}

const ExpertPool::Pool& ExpertPool::pool(int tokens, std::size_t slot) {
  Pool& pool = pools_[slot];
  if (!pool.sums.empty()) return pool;
  ++made_;
  price_draws(tokens);
  pool.last = draws_.size() - 1;
  pool.sums.reserve(draws_.size() + kRun + 1);
  pool.sums.push_back(0);
  for (std::size_t i = 0; i < draws_.size() + kRun; ++i)
    pool.sums.push_back(pool.sums.back() + draws_[i & pool.last]);
  pool.active = active_;
  pool.imbalance = imbalance_;
  pool.mean = pool.sums[draws_.size()] / static_cast<double>(draws_.size()) * layers_;
  return pool;
}

/// Sum over the layers: runs of kRun draws that begin anywhere, the last one shorter.
double ExpertPool::from(const Pool& pool, std::uint64_t key) const {
  static_assert(CountBank::kMaxDraws <= 1 << kStartBits);
  double sum = 0;
  std::uint64_t starts = key;
  int unused = 64 / kStartBits;
  for (int left = layers_; left > 0; left -= kRun) {
    if (unused-- == 0) {
      starts = key = mix64(key + kGolden);
      unused = 64 / kStartBits - 1;
    }
    const std::size_t start = starts & pool.last;
    starts >>= kStartBits;
    sum += pool.sums[start + static_cast<std::size_t>(std::min(left, kRun))] - pool.sums[start];
  }
  return sum;
}

double ExpertPool::use(std::size_t slot, std::uint64_t key) {
  ++pools_[slot].uses;
  return from(pools_[slot], key);
}

double ExpertPool::layers_ns(int tokens, std::uint64_t step) {
  if (tokens <= 0) return 0;
  tokens_ += tokens;
  const std::uint64_t key = mix64(step * kGolden + seed_);
  if (tokens <= kExact) {
    const auto slot = static_cast<std::size_t>(tokens);
    pool(tokens, slot);
    return use(slot, key);
  }
  const Neighbours near = neighbours(tokens);
  if (near.slot + 2 > pools_.size()) pools_.resize(near.slot + 2);
  const Pool& low = pool(near.low, near.slot);
  if (near.low == tokens) return use(near.slot, key);
  const Pool& high = pool(near.high, near.slot + 1);
  const double part = static_cast<double>(tokens - near.low) / (near.high - near.low);
  // Interpolating draws would average two of them and halve the spread midway.
  const std::size_t nearer = near.slot + (part < 0.5 ? 0 : 1);
  return low.mean + (high.mean - low.mean) * part + (use(nearer, key) - pools_[nearer].mean);
}

ExpertPool::Seen ExpertPool::seen() const {
  Seen seen;
  for (const Pool& pool : pools_) {
    const auto uses = static_cast<double>(pool.uses);
    seen.steps += pool.uses;
    seen.active += uses * pool.active;
    seen.imbalance += uses * pool.imbalance;
  }
  if (seen.steps == 0) return seen;
  seen.tokens = tokens_;
  seen.active /= static_cast<double>(seen.steps);
  seen.imbalance /= static_cast<double>(seen.steps);
  return seen;
}

}  // namespace moesim
