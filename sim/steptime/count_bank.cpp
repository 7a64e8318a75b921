#include "sim/steptime/count_bank.h"

#include <algorithm>
#include <bit>

#include "sim/base/check.h"

namespace moesim {
namespace {

constexpr std::size_t kVector = 32;  // rows are a multiple of this long
/// Blocks up to 2^8 tokens serve 2303 tokens with nine blocks; above, at most eight of the largest.
constexpr int kEasyLevel = 8;
constexpr int kLargestPerDraw = 8;
constexpr int kBlocksPerDraw = 2;  // so that sets for different counts differ in their blocks, too
constexpr int kLastLevel = 15;     // counts of a block of 2^15 tokens fit into 16 bits

/// log2 of the largest block in a draw of `tokens` tokens.
int top_level(int tokens) {
  const int digits = static_cast<int>(std::bit_width(static_cast<unsigned>(tokens))) - 1;
  int level = std::min(digits, kEasyLevel);
  while (tokens >> level > kLargestPerDraw && level < kLastLevel) ++level;
  return level;
}

}  // namespace

CountBank::CountBank(const ExpertRouting& routing, int experts, int top_k, std::uint64_t seed)
    : routing_(&routing),
      top_k_(top_k),
      row_((static_cast<std::size_t>(experts) + kVector - 1) / kVector * kVector),
      scratch_(static_cast<std::size_t>(experts)) {
  for (int level = 0; level <= kLastLevel; ++level)
    levels_.push_back({Rng(seed, "expert_counts", static_cast<std::uint64_t>(level)), {}});
}

int CountBank::most_draws(int tokens) const {
  const auto assignments = static_cast<unsigned>(top_k_) << top_level(tokens);
  const auto affordable = static_cast<int>(std::bit_floor(kAssignments / assignments));
  return std::clamp(affordable / kBlocksPerDraw, kMinDraws, kMaxDraws);
}

const std::uint16_t* CountBank::blocks_of(int level, int count) {
  auto& [rng, counts] = levels_[static_cast<std::size_t>(level)];
  const std::size_t end = static_cast<std::size_t>(count) * row_;
  std::size_t begin = counts.size();
  if (begin < end) counts.resize(end);
  for (; begin < end; begin += row_) {
    routing_->draw(0, 1 << level, top_k_, rng, scratch_);
    for (std::size_t e = 0; e < scratch_.size(); ++e)
      counts[begin + e] = static_cast<std::uint16_t>(scratch_[e]);
  }
  return counts.data();
}

void CountBank::choose(int tokens, int draws, Rng& rng) {
  MOESIM_CHECK(tokens >= 1, "somebody has to choose");
  tokens_ = tokens;
  picks_.clear();
  const int top = top_level(tokens);
  const auto bits = [&rng] { return static_cast<std::uint32_t>(rng.next() >> 32); };
  for (int level = 0; level <= top; ++level) {
    const int blocks = level == top ? tokens >> top : (tokens >> level) & 1;
    if (blocks == 0) continue;
    const std::uint32_t stride = bits() | 1U;
    const std::uint32_t apart = bits() | 1U;  // odd: the blocks of a draw are different ones
    std::uint32_t offset = bits();
    // The few tokens beside a large block add little to the spread.
    const int count = kBlocksPerDraw * (level == top ? draws : kMinDraws);
    const std::uint16_t* const base = blocks_of(level, count);
    for (int i = 0; i < blocks; ++i, offset += apart)
      picks_.push_back({base, offset, stride, static_cast<std::uint32_t>(count) - 1});
  }
}

/// Loops over whole rows of one type, which compilers turn into vector instructions.
template <class Sum>
void CountBank::add(int index, std::vector<Sum>& sums, std::span<std::uint32_t> counts) const {
  sums.assign(row_, 0);
  Sum* const sum = sums.data();
  for (const Pick& pick : picks_) {
    const std::uint32_t block =
        (pick.offset + static_cast<std::uint32_t>(index) * pick.stride) & pick.mask;
    const std::uint16_t* const row = pick.blocks + block * row_;
    for (std::size_t e = 0; e < row_; ++e) sum[e] = static_cast<Sum>(sum[e] + row[e]);
  }
  std::copy_n(sum, counts.size(), counts.begin());
}

void CountBank::draw(int index, std::span<std::uint32_t> counts) {
  if (tokens_ <= 0xffff) {  // no expert gets a token twice
    add(index, short_sums_, counts);
  } else {
    add(index, long_sums_, counts);
  }
}

}  // namespace moesim
