#pragma once

#include <compare>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <vector>

namespace moesim::reference {

/// KV memory of serving-semantics 1.4-1.5, one struct per block: a reference count, an identity,
/// and a place in the free queue. Slow and plain; the twin of sim/engine/kv_cache.
class PlainBlocks {
 public:
  /// What a cached block holds: block `index` of the tokens named `id`, in one attention group.
  struct Identity {
    std::uint32_t group = 0, id = 0, index = 0;
    friend auto operator<=>(const Identity&, const Identity&) = default;
  };
  using Block = int;

  explicit PlainBlocks(std::int64_t usable);

  [[nodiscard]] std::int64_t free_count() const { return static_cast<std::int64_t>(queue_.size()); }
  [[nodiscard]] std::int64_t taken() const { return taken_; }
  [[nodiscard]] std::int64_t evicted() const { return evicted_; }

  /// The block that owns an identity: in use, or free and not overwritten yet.
  [[nodiscard]] std::optional<Block> find(const Identity& identity) const;
  [[nodiscard]] bool in_use(Block block) const { return at(block).references > 0; }
  [[nodiscard]] bool has_identity(Block block) const { return at(block).identity.has_value(); }

  /// Pops the head of the free queue; what it cached is gone.
  Block take();
  /// One more user of a cached block.
  void share(Block block);
  /// One user less; at none the block goes to the tail of the free queue and keeps what it caches.
  void release(Block block);
  /// Makes the block the owner of `identity`, unless another block is: the first copy keeps it.
  void name(Block block, const Identity& identity);

 private:
  struct State {
    int references = 0;
    std::optional<Identity> identity;
    std::list<Block>::iterator place;  ///< in the free queue, while nobody uses it
  };
  [[nodiscard]] const State& at(Block block) const {
    return blocks_[static_cast<std::size_t>(block)];
  }
  State& at(Block block) { return blocks_[static_cast<std::size_t>(block)]; }

  std::vector<State> blocks_;
  std::list<Block> queue_;  ///< head = next victim
  std::map<Identity, Block> owners_;
  std::int64_t taken_ = 0, evicted_ = 0;
};

}  // namespace moesim::reference
