#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "scenarios/workload.h"
#include "tests/reference/plain_blocks.h"
#include "tests/reference/plain_scheduler.h"

namespace moesim::reference {

/// The block tables of all requests, one entry per block and attention group, over one pool:
/// serving-semantics 1.4 and 1.5, with the decisions a to d and h of plain_scheduler.h.
class PlainTables {
 public:
  using Id = std::uint32_t;

  PlainTables(const PlainConfig& config, const Workload& workload);

  [[nodiscard]] const PlainBlocks& pool() const { return pool_; }
  [[nodiscard]] bool caching() const { return caching_; }

  /// Blocks that a request of `tokens` tokens may reuse: at most those of tokens - 1.
  [[nodiscard]] std::int64_t find_hit(Id id, std::int64_t tokens) const;
  /// Blocks of a hit that nobody uses: taking them uses up free blocks.
  [[nodiscard]] std::int64_t free_in_hit(Id id, std::int64_t hit) const;
  /// New blocks for `slots` tokens beyond what the request holds, or beyond a hit when it holds
  /// none.
  [[nodiscard]] std::int64_t needed(Id id, std::int64_t hit, std::int64_t slots) const;
  /// scheduler_reserve_full_isl: free blocks for the whole sequence, where a windowed group keeps
  /// its window and one step.
  [[nodiscard]] std::int64_t needed_in_full(Id id, std::int64_t hit, std::int64_t tokens) const;

  void take_hit(Id id, std::int64_t hit);
  void grow(Id id, std::int64_t slots);
  /// Full blocks of the first `tokens` tokens get their identity. One that has none yet may get it
  /// later (own id).
  void offer_identities(Id id, std::int64_t tokens);
  void give_own_id(Id id);
  /// Frees everything, group by group, last block first; full blocks of the first `known` tokens
  /// get their identity before.
  void release(Id id, std::int64_t known);
  /// Takes out of the table what no query at position `computed` or later can see. Frees it, if a
  /// block of it has an identity; else appends it to `others`.
  void leave_windows(Id id, std::int64_t computed, std::vector<PlainBlocks::Block>& others);
  void free(const std::vector<PlainBlocks::Block>& blocks);

 private:
  static constexpr PlainBlocks::Block kDropped = -1;
  struct Table {
    std::vector<std::vector<PlainBlocks::Block>>
        blocks;                ///< [group][index]; kDropped: left the window
    std::int64_t offered = 0;  ///< blocks before this one had their chance of an identity
    bool has_own_id = false;
  };
  [[nodiscard]] std::int64_t blocks_for(std::size_t g, std::int64_t tokens) const;
  [[nodiscard]] std::int64_t first_visible(std::size_t g, std::int64_t computed) const;
  [[nodiscard]] std::optional<PlainBlocks::Identity> identity(Id id, std::size_t g,
                                                              std::int64_t block) const;
  [[nodiscard]] bool hits(Id id, std::int64_t length) const;
  [[nodiscard]] std::int64_t free_in_hit(Id id, std::size_t g, std::int64_t hit) const;

  const PlainConfig config_;
  const Workload& workload_;
  bool caching_;
  PlainBlocks pool_;
  std::vector<Table> tables_;
};

}  // namespace moesim::reference
