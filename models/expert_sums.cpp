#include "models/expert_sums.h"

#include <algorithm>
#include <bit>

#include "sim/base/check.h"

namespace moesim {

namespace {

/// Signed, for SSE2 and AVX2 compare only such.
[[gnu::always_inline]] inline ExpertSums sum(std::span<const std::uint32_t> tokens,
                                             std::uint32_t tile) {
  std::int32_t active = 0, largest = 0, rows = 0, padded = 0, above_64 = 0, above_256 = 0;
  const auto last = static_cast<std::int32_t>(tile - 1);
  for (const std::uint32_t of_one : tokens) {
    const auto count = static_cast<std::int32_t>(of_one);
    active += count > 0 ? 1 : 0;
    largest = std::max(largest, count);
    rows += count;
    padded += (count + last) & ~last;
    above_64 += std::max(count - 64, 0);
    above_256 += std::max(count - 256, 0);
  }
  return {active, largest, rows, padded, above_64, above_256};
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] ExpertSums sum_avx2(std::span<const std::uint32_t> tokens,
                                            std::uint32_t tile) {
  return sum(tokens, tile);
}
const bool kHasAvx2 = __builtin_cpu_supports("avx2") != 0;
#else
constexpr auto sum_avx2 = sum;
constexpr bool kHasAvx2 = false;
#endif

}  // namespace

ExpertSums expert_sums(std::span<const std::uint32_t> tokens, std::uint32_t tile) {
  MOESIM_CHECK(std::has_single_bit(tile), "tiles are powers of two");
  return kHasAvx2 ? sum_avx2(tokens, tile) : sum(tokens, tile);
}

ExpertSums expert_sums_plain(std::span<const std::uint32_t> tokens, std::uint32_t tile) {
  return sum(tokens, tile);
}

}  // namespace moesim
