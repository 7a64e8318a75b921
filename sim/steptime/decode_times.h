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
    Row& nodes = rows_[row];
    nodes.cover(index);
    const std::int64_t low = step * width;
    KernelTime& first = nodes.times[index - nodes.begin];
    if (first.time.value() == 0) first = price(low);
    if (context == low) return first;
    KernelTime& second = nodes.times[index + 1 - nodes.begin];
    if (second.time.value() == 0) second = price(low + width);
    const double part = static_cast<double>(context - low) / static_cast<double>(width);
    return {first.time + (second.time - first.time) * part,
            part < 0.5 ? first.provenance : second.provenance};
  }

 private:
  static constexpr std::int64_t kNodes = 32;
  static constexpr int kFirstOctave = 5;
  /// Contexts of so many sequences lie close together: only the nodes around them are stored.
  struct Row {
    std::size_t begin = 0;          ///< node of times[0]
    std::vector<KernelTime> times;  ///< time 0: not priced yet

    /// Makes room for the node and the one after it.
    void cover(std::size_t node) {
      if (times.empty()) begin = node;
      if (node < begin) {
        times.insert(times.begin(), begin - node, KernelTime());
        begin = node;
      }
      if (node + 2 > begin + times.size()) times.resize(node + 2 - begin);
    }
  };
  std::vector<Row> rows_;  ///< [sequences]
};

}  // namespace moesim
