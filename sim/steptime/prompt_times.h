#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sim/steptime/kernel_model.h"

namespace moesim {

/// Attention of single prompt chunks, remembered by (tokens, context): lengths of prompts repeat,
/// and so do the ways they are cut. The same numbers as pricing afresh.
class PromptTimes {
 public:
  /// One execution. `price()` is asked for chunks that are not remembered.
  template <class Price>
  const KernelTime& at(std::int32_t tokens, std::int32_t context, const Price& price) {
    if (entries_.empty()) entries_.resize(kEntries);
    const std::uint64_t key = static_cast<std::uint64_t>(static_cast<std::uint32_t>(tokens)) << 32 |
                              static_cast<std::uint32_t>(context);
    // 2^64 over the golden ratio: neighbours land apart (Knuth, TAOCP 3, 6.4).
    Entry& entry = entries_[static_cast<std::size_t>(key * 0x9e3779b97f4a7c15ULL >> kShift)];
    if (entry.key != key) entry = {key, price()};
    return entry.time;
  }

 private:
  static constexpr int kShift = 53;
  static constexpr std::size_t kEntries = std::size_t{1} << (64 - kShift);
  struct Entry {
    std::uint64_t key = 0;  ///< 0: none, for a chunk has tokens
    KernelTime time;
  };
  std::vector<Entry> entries_;
};

}  // namespace moesim
