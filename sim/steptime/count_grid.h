#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <limits>

namespace moesim {

/// Counts that something is tabulated at: every one up to 2^exact_bits, above that 2^octave_bits of
/// them a doubling. Precondition: octave_bits <= exact_bits.
struct CountGrid {
  int exact_bits = 6, octave_bits = 3;

  /// The grid's counts on both sides of one, and the number of the lower; the higher is the next.
  struct Neighbours {
    int low = 0, high = 0;
    std::size_t slot = 0;
    /// How far `count` is from `low` towards `high`.
    [[nodiscard]] double part(int count) const {
      return high == low ? 0 : static_cast<double>(count - low) / (high - low);
    }
  };
  [[nodiscard]] Neighbours at(int count) const {
    if (count <= 1 << exact_bits) return {count, count, static_cast<std::size_t>(count)};
    const int octave = static_cast<int>(std::bit_width(static_cast<unsigned>(count))) - 1;
    const int shift = octave - octave_bits;
    const int low = count >> shift << shift;
    const int index = ((octave - exact_bits) << octave_bits) + ((low - (1 << octave)) >> shift);
    // The last step of all would end one beyond what an int holds.
    const int step = std::min(1 << shift, std::numeric_limits<int>::max() - low);
    return {low, low + step, static_cast<std::size_t>((1 << exact_bits) + index)};
  }
  /// Slots of a table for every count there is.
  [[nodiscard]] std::size_t slots() const {
    constexpr int kOctaves = 31;
    const int low = 1 << exact_bits, high = (kOctaves - exact_bits) << octave_bits;
    return static_cast<std::size_t>(low) + static_cast<std::size_t>(high) + 1;
  }
};

}  // namespace moesim
