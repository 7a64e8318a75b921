#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "models/memory.h"
#include "scenarios/workload.h"

namespace moesim {

/// The identity of a request's tokens, as the prefix cache sees it: the workload's chain, then
/// (optionally) one id of its own for everything after the chain. Two requests share a block only
/// if it lies in the same element of both chains; a block that straddles two elements belongs to
/// the later one, because its hash depends on both.
struct TokenChain {
  static constexpr std::uint32_t kNoId = std::numeric_limits<std::uint32_t>::max();

  std::span<const ChainElement> elements;
  bool last_is_open = false;  ///< the last element also covers what follows (sessions)
  std::uint32_t own_id =
      kNoId;  ///< covers what follows the elements, once the request was preempted
};

/// Paged KV memory of one instance: a free list, reference counts and the prefix cache, with the
/// order of serving-semantics 1.4-1.5, kept as extents (performance.md 4.1, rules 4-5): one entry
/// per run of blocks instead of one per block. Blocks have no numbers; only counts, identities and
/// the order of eviction matter. A block computed while the same content is already cached is kept
/// without identity.
///
/// A cached extent is popped from its end, so what is left of a prefix stays a prefix. Refuses
/// instead of overdrawing: callers test `free_blocks()` against `blocks_needed` before they take.
class KvCache {
 public:
  static constexpr std::size_t kMaxGroups = 8;

  struct Config {
    std::int64_t usable_blocks = 0;  ///< num_gpu_blocks - 1: the null block is never handed out
    int block_size = 16;
    std::vector<KvGroup> groups;
    bool prefix_caching = true;
    int max_num_batched_tokens = 8192;
    int max_model_len = 0;
  };

  /// A run of blocks [begin, end) (positions in the request) with an identity, or without one.
  struct Run {
    std::uint32_t id = TokenChain::kNoId;
    std::uint32_t begin = 0, end = 0;
  };
  struct GroupHolding {
    std::vector<Run> runs;         ///< ascending, no gaps from `first`
    std::uint32_t first = 0;       ///< blocks before this one left the window
    std::uint32_t end = 0;         ///< blocks held: [first, end)
    std::uint32_t registered = 0;  ///< blocks before this one had their chance of an identity
  };
  /// What one admitted request holds. Reused by the next request in the same slot.
  struct Holding {
    std::vector<GroupHolding> groups;
  };

  explicit KvCache(const Config& config);

  [[nodiscard]] std::int64_t free_blocks() const { return free_; }
  [[nodiscard]] std::int64_t usable_blocks() const { return config_.usable_blocks; }
  [[nodiscard]] int block_size() const { return config_.block_size; }
  [[nodiscard]] std::size_t group_count() const { return config_.groups.size(); }
  [[nodiscard]] const KvGroup& group(std::size_t g) const { return config_.groups[g]; }
  /// Off with linear-attention layers: a hit would need their state at its end, which is not kept.
  [[nodiscard]] bool caching() const { return config_.prefix_caching; }
  /// Blocks of a group that hold `tokens` tokens; one, however many, for linear-attention layers.
  [[nodiscard]] std::int64_t blocks_for(std::size_t group, std::int64_t tokens) const;
  /// Grows whenever something happens that can lower what a waiting request needs: content became
  /// cached, or cached content came into use.
  [[nodiscard]] std::uint64_t changes() const { return changes_; }
  [[nodiscard]] std::int64_t blocks_taken() const { return taken_; }
  /// Cached blocks overwritten so far, those that steps only counted included.
  [[nodiscard]] std::int64_t blocks_evicted() const;

  /// Cached blocks a request of `tokens` tokens may reuse: whole blocks, at most tokens - 1, the
  /// longest length on which all groups agree.
  [[nodiscard]] std::uint32_t find_hit(const TokenChain& chain, std::int64_t tokens);
  /// Free blocks consumed by taking `hit` blocks and then holding `slots` tokens (all groups).
  [[nodiscard]] std::int64_t blocks_needed(const TokenChain& chain, std::uint32_t hit,
                                           std::int64_t slots);
  /// The same for the whole sequence at once, where a windowed group needs at most its window
  /// (`scheduler_reserve_full_isl`).
  [[nodiscard]] std::int64_t blocks_needed_in_full(const TokenChain& chain, std::uint32_t hit,
                                                   std::int64_t tokens);
  /// Blocks of the hit in windowed groups that nobody uses: they count as needed, but only until
  /// they are evicted.
  [[nodiscard]] std::int64_t idle_windowed_hit(const TokenChain& chain, std::uint32_t hit) const;
  /// Free blocks consumed by a holding that grows to `slots` tokens.
  [[nodiscard]] std::int64_t blocks_to_grow(const Holding& holding, std::int64_t slots) const;

  /// Identity of a block of a request (kNoId: none); two requests with the same one there have the
  /// same tokens up to its end.
  [[nodiscard]] std::uint32_t id_at(const TokenChain& chain, std::uint32_t block) const;

  /// References the first `hit` blocks. The holding must be empty.
  void take_hit(Holding& holding, const TokenChain& chain, std::uint32_t hit);
  /// Grows to `slots` tokens; blocks completed by tokens below `final_tokens` get their identity.
  /// Precondition: blocks_to_grow <= free_blocks().
  void grow(Holding& holding, const TokenChain& chain, std::int64_t slots,
            std::int64_t final_tokens);
  /// Frees blocks that no query at position `computed` or later can see.
  void drop_outside_window(Holding& holding, std::int64_t computed);
  /// How many blocks that would free.
  [[nodiscard]] std::int64_t outside_window(const Holding& holding, std::int64_t computed) const;
  /// Whether it would free a block with an identity (whose place in the free list matters).
  [[nodiscard]] bool drops_identity(const Holding& holding, std::int64_t computed) const;
  /// Whether any block of a windowed group has an identity.
  [[nodiscard]] bool holds_windowed_identity(const Holding& holding) const;
  /// Gives blocks of the first `tokens` tokens their identity after the fact. What is cached by now
  /// stays without one, or (`share`, as a radix tree does) is used from there and freed here.
  /// Not for holdings of windowed groups.
  void insert(Holding& holding, const TokenChain& chain, std::int64_t tokens, bool share);
  /// Where blocks without identity go in the order of eviction: last (they could be cached content
  /// that nobody asks for), or first (the pool that is used up before anything cached).
  enum class Unnamed : std::uint8_t { kLast, kFirst };
  /// Frees everything, last block first. Blocks before `known_tokens` that have no identity get the
  /// chain's.
  void release(Holding& holding, const TokenChain& chain, std::int64_t known_tokens,
               Unnamed unnamed = Unnamed::kLast);

  /// Counted steps of requests that are not touched: `count` blocks taken from the free list.
  void take_uncounted(std::int64_t count) {
    free_ -= count;
    taken_ += count;
    pending_ += count;
  }
  /// Blocks without identity that left a window.
  void give_anonymous(std::int64_t count);
  /// The holding of an untouched request catches up: blocks [end, blocks for `slots`) were counted
  /// by take_uncounted, and those that left a window by position `computed` were given back by
  /// give_anonymous.
  void catch_up(Holding& holding, std::int64_t slots, std::int64_t computed);

  /// Blocks before this one are invisible to a query at position `computed` (0 for full attention).
  [[nodiscard]] std::uint32_t first_visible(std::size_t group, std::int64_t computed) const;
  /// Cached or held blocks with identity plus free blocks equal the pool; walks everything
  /// (--check).
  [[nodiscard]] bool consistent() const;

 private:
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

  /// Cached blocks [begin, end) of one id in one group (or, in the free list, blocks without
  /// identity).
  struct Extent {
    std::uint32_t id = TokenChain::kNoId;
    std::uint32_t begin = 0, end = 0;
    std::uint32_t refs = 0;
    std::uint32_t prev = kNone, next = kNone;  ///< free list, when refs == 0
    std::uint32_t sibling = kNone;             ///< next extent of the same id, ascending
    std::uint32_t group = 0;
    [[nodiscard]] std::uint32_t size() const { return end - begin; }
  };
  struct ElementBlocks {
    std::uint32_t id, begin, end;
  };

  [[nodiscard]] ElementBlocks element(const TokenChain& chain, std::size_t i) const;
  [[nodiscard]] std::size_t element_count(const TokenChain& chain) const;
  /// Blocks before this one have an identity.
  [[nodiscard]] std::uint32_t identified_end(const TokenChain& chain) const;
  [[nodiscard]] std::uint32_t prefix_hit(std::size_t g, const TokenChain& chain,
                                         std::uint32_t limit) const;
  [[nodiscard]] std::uint32_t blind_length(std::size_t g, std::uint32_t blocks) const;
  [[nodiscard]] bool ends_at_gap(std::size_t g, std::uint32_t begin, std::uint32_t end,
                                 std::uint32_t& hit) const;
  [[nodiscard]] std::uint32_t windowed_hit(std::size_t g, const TokenChain& chain,
                                           std::uint32_t limit);
  [[nodiscard]] std::int64_t free_in_hit(std::size_t g, const TokenChain& chain,
                                         std::uint32_t hit) const;
  std::uint32_t& head(std::size_t g, std::uint32_t id);
  [[nodiscard]] std::uint32_t head_or_none(std::size_t g, std::uint32_t id) const;

  std::uint32_t new_extent();
  void insert_sibling(std::uint32_t extent);
  void remove_sibling(std::uint32_t extent);
  void split(std::uint32_t extent, std::uint32_t at);
  void append_free(std::uint32_t extent);
  void give_first(std::uint32_t count);
  void reference(std::size_t g, const Run& run);
  std::uint32_t share_cached(std::size_t g, GroupHolding& holding, ElementBlocks blocks);
  void unlink_free(std::uint32_t extent);
  void apply_pending();
  void pop(std::int64_t count);
  void add_identified(std::size_t g, GroupHolding& holding, ElementBlocks blocks);
  void add_blocks(std::size_t g, GroupHolding& holding, const TokenChain& chain, std::uint32_t end,
                  std::uint32_t final_end);
  void unref(std::size_t g, const Run& run);
  void free_run(std::size_t g, const Run& run);
  static void push_run(GroupHolding& holding, const Run& run);
  static void cut_runs(GroupHolding& holding, std::uint32_t end);
  static bool has_identity(const GroupHolding& holding, std::uint32_t end);

  Config config_;
  std::vector<Extent> extents_;
  std::vector<std::uint32_t> recycled_;
  std::vector<std::uint32_t> scratch_;
  std::vector<std::vector<std::uint32_t>> heads_;  ///< [group][id] -> first extent
  std::uint32_t list_head_ = kNone, list_tail_ = kNone;
  std::int64_t free_ = 0, pending_ = 0, taken_ = 0, evicted_ = 0;
  std::uint64_t changes_ = 0;
};

}  // namespace moesim
