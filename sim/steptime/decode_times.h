#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sim/steptime/kernel_model.h"

namespace moesim {

/// Attention of decode steps, tabulated as it is asked for: by number of sequences and by their
/// summed context, 32 nodes a doubling, straight lines in between. Kernels read their keys once, so
/// time hardly bends over 3 % of context; a lookup costs a tenth of pricing the operator.
class DecodeTimes {
 public:
  /// Nanoseconds (all layers of a class) and where from. `price(context)` is asked for at nodes.
  template <class Price>
  KernelTime at(int sequences, std::int64_t context, const Price& price) {
    if (context < kNodes) return price(context);
    const auto row = static_cast<std::size_t>(sequences);
    if (row >= rows_.size()) rows_.resize(row + 1);
    const int octave = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(context))) - 1;
    const std::int64_t width = (std::int64_t{1} << octave) / kNodes;
    const std::int64_t step = context / width;  // kNodes to 2 kNodes - 1
    const std::size_t index = static_cast<std::size_t>(octave - kFirstOctave) * kNodes +
                              static_cast<std::size_t>(step - kNodes);
    std::vector<KernelTime>& nodes = rows_[row];
    if (index + 2 > nodes.size()) nodes.resize(index + 2);
    const std::int64_t low = step * width;
    KernelTime& first = nodes[index];
    if (first.time.value() == 0) first = price(low);
    if (context == low) return first;
    KernelTime& second = nodes[index + 1];
    if (second.time.value() == 0) second = price(low + width);
    const double part = static_cast<double>(context - low) / static_cast<double>(width);
    return {first.time + (second.time - first.time) * part,
            part < 0.5 ? first.provenance : second.provenance};
  }

 private:
  static constexpr std::int64_t kNodes = 32;
  static constexpr int kFirstOctave = 5;
  std::vector<std::vector<KernelTime>> rows_;  ///< [sequences][node]; time 0: not priced yet
};

}  // namespace moesim
