#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "scenarios/expert_routing.h"

namespace moesim {

/// Draws of tokens per expert for any number of tokens, at the cost of a few vector sums.
///
/// Tokens choose independently of each other, so the counts of T tokens are the sum of the counts
/// of any groups that make up T. The bank keeps `kBlocks` independent draws of 1, 2, 4, ... tokens,
/// made on first use; a draw of T tokens sums one block for each binary digit of T, with up to
/// eight of the largest size. So every draw has exactly the distribution of letting T tokens
/// choose. Different draws may have blocks in common; those of one set have few (none if T is below
/// 512).
class CountBank {
 public:
  static constexpr int kMinDraws = 64, kMaxDraws = 512;
  /// A set of more than kMinDraws draws may cost about this many assignments.
  static constexpr int kAssignments = 1 << 15;

  /// `routing` must outlive the bank. The blocks depend on the seed only.
  CountBank(const ExpertRouting& routing, int experts, int top_k, std::uint64_t seed);

  /// The largest set for `tokens` tokens: kMinDraws to kMaxDraws, a power of two.
  [[nodiscard]] int most_draws(int tokens) const;
  /// Begins a set of `draws` draws (kMinDraws, twice as many, ... up to most_draws) for `tokens` >=
  /// 1 tokens; `rng` says which blocks go together. Draws of a set have different largest blocks.
  void choose(int tokens, int draws, Rng& rng);
  /// Fills `counts` (one per expert) with draw `index` of the set.
  void draw(int index, std::span<std::uint32_t> counts);

 private:
  /// Draw i takes block (offset + i * stride) & mask; an odd stride visits every block once.
  struct Pick {
    const std::uint16_t* blocks;
    std::uint32_t offset, stride, mask;
  };
  const std::uint16_t* blocks_of(int level, int count);
  template <class Sum>
  void add(int index, std::vector<Sum>& sums, std::span<std::uint32_t> counts) const;

  const ExpertRouting* routing_;
  int top_k_;
  int tokens_ = 0;   ///< of the set begun last
  std::size_t row_;  ///< experts, rounded up to whole vectors
  /// Blocks of 2^level tokens, drawn one after the other as more are asked for.
  struct Level {
    Rng rng;
    std::vector<std::uint16_t> counts;  ///< [block * row_ + expert]
  };
  std::vector<Level> levels_;
  std::vector<Pick> picks_;
  std::vector<std::uint32_t> scratch_, long_sums_;
  std::vector<std::uint16_t> short_sums_;
};

}  // namespace moesim
