#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "scenarios/workload.h"

namespace moesim {

/// Turns a trace's block ids into our dense chain ids. Block ids are a chain: a block is identified
/// by all blocks before it and its own id, so the identity of an element is the pair (identity of
/// the one before, block id).
class ChainIds {
 public:
  /// `rows` requests and `blocks` block ids are about to come.
  ChainIds(std::size_t rows, std::size_t blocks);
  /// Appends the next row's chain. Preconditions: at most ceil(prompt / block_tokens) ids.
  void append(std::span<const std::uint64_t> blocks, std::uint32_t prompt_tokens,
              std::uint32_t block_tokens, Workload& workload);
  [[nodiscard]] std::uint32_t size() const { return next_; }

 private:
  static constexpr std::uint32_t kRoot = 0xffffffffU;  ///< parent of a first block
  struct Known {
    std::uint32_t parent = 0;
    std::uint32_t id = kRoot;  ///< kRoot: not seen yet
  };
  struct Pair {
    std::uint32_t parent;
    std::uint64_t block;
    friend bool operator==(const Pair&, const Pair&) = default;
  };
  struct PairHash {
    std::size_t operator()(const Pair& pair) const;
  };
  std::uint32_t identity(std::uint32_t parent, std::uint64_t block);

  /// By block id, the first identity it had: in real traces a block id has one parent, and ids are
  /// small.
  std::vector<Known> first_;
  std::unordered_map<Pair, std::uint32_t, PairHash> others_;
  std::uint32_t next_ = 0;
};

}  // namespace moesim
