#pragma once

#include <cstdint>
#include <span>

namespace moesim {

/// What a grouped product needs to know of the tokens of each expert.
struct ExpertSums {
  std::int32_t active = 0;   ///< experts with tokens
  std::int32_t largest = 0;  ///< tokens of the expert that has most
  std::int64_t rows = 0;     ///< tokens of all experts
  std::int64_t padded = 0;   ///< the same, of every expert rounded up to whole tiles
  std::int64_t above_64 = 0, above_256 = 0;  ///< beyond the first 64, 256 of an expert
  friend bool operator==(const ExpertSums&, const ExpertSums&) = default;
};

/// `tile` is a power of two. At most 2^31 - 1 rows in all, after padding. Runs for every draw of a
/// pool, so no branch, no division, and on AVX2 where the processor has it: the same sums.
[[nodiscard]] ExpertSums expert_sums(std::span<const std::uint32_t> tokens, std::uint32_t tile);
/// The same for any processor.
[[nodiscard]] ExpertSums expert_sums_plain(std::span<const std::uint32_t> tokens,
                                           std::uint32_t tile);

}  // namespace moesim
