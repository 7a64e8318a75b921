#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "models/memory.h"
#include "sim/steptime/step_time.h"

namespace moesim {

/// The decoding requests of one cohort, advanced together without touching any of them
/// (performance.md 4.1, rules 2-3). A request at counter x has computed `x - offset` tokens; the
/// set knows, in O(1), how many blocks the next step takes, the visible context per KV group, and
/// which requests end or need a look at a given counter (the wheel).
class DecodeSet {
 public:
  /// Per request; lives in its slot.
  struct Member {
    std::int64_t offset = 0;           ///< counter - computed tokens
    std::uint32_t epoch = 0;           ///< wheel entries of an earlier epoch are void
    bool counts_window_drops = false;  ///< its window drops are in `drops_`
    std::array<std::int64_t, kMaxKvGroups> visible{};  ///< at counter `touched`
    std::array<bool, kMaxKvGroups> growing{};
    std::int64_t touched = 0;
    bool in_set = false;
  };
  enum class EventKind : std::uint8_t { kFinish, kWasted, kTouch };
  struct Event {
    std::uint32_t slot = 0;
    std::uint32_t epoch = 0;
    EventKind kind = EventKind::kFinish;
    std::uint32_t next = 0;
  };

  DecodeSet(int block_size, std::span<const KvGroup> groups);

  [[nodiscard]] std::int64_t counter() const { return counter_; }
  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] std::int64_t computed(const Member& member) const {
    return counter_ - member.offset;
  }

  /// Blocks the next step takes, over all groups.
  [[nodiscard]] std::int64_t blocks_needed() const {
    return by_phase_[phase(counter_)] * growing_groups_;
  }
  /// Groups that take a block whenever block_size tokens were computed: all but linear attention.
  [[nodiscard]] std::int64_t growing_groups() const { return growing_groups_; }
  /// Blocks without identity that leave their windows before the next step.
  [[nodiscard]] std::int64_t blocks_dropped() const;
  /// Visible context of the next step per group, new tokens included.
  [[nodiscard]] const std::array<std::int64_t, kMaxKvGroups>& context() const { return context_; }
  [[nodiscard]] bool has_windows() const { return has_windows_; }

  /// Adds a request that has computed `computed` tokens and decodes from the next step on.
  void join(Member& member, std::int64_t computed);
  void leave(Member& member);
  /// Recomputes the member's window terms at the current counter. `holds_identity`: blocks of its
  /// windowed groups have identities, so their drops must be done one by one. Returns the counter
  /// at which to look again, or -1.
  [[nodiscard]] std::int64_t touch(Member& member, bool holds_identity);
  /// All members ran one step.
  void advance();

  void at(std::int64_t counter, std::uint32_t slot, std::uint32_t epoch, EventKind kind);
  /// Moves the events of the current counter to `out` (void ones included).
  void take_events(std::vector<Event>& out);

 private:
  void see(Member& member, std::size_t g, std::int64_t now);
  [[nodiscard]] std::int64_t next_look(const KvGroup& group, std::int64_t now, bool& regular) const;
  [[nodiscard]] std::size_t phase(std::int64_t counter) const {
    return static_cast<std::size_t>(counter % block_size_);
  }
  [[nodiscard]] std::size_t phase_of(std::int64_t numerator) const;
  [[nodiscard]] std::int64_t visible(std::size_t g, std::int64_t computed) const;
  [[nodiscard]] bool grows(std::size_t g, std::int64_t computed) const;
  void grow_wheel(std::int64_t horizon);

  std::int64_t block_size_;
  std::vector<KvGroup> groups_;
  bool has_windows_ = false;
  std::int64_t growing_groups_ = 0;
  std::int64_t counter_ = 0;
  int size_ = 0;
  std::vector<std::int64_t> by_phase_;  ///< [counter mod block size] -> requests that take a block
  std::vector<std::vector<std::int64_t>> drops_;  ///< [group][counter mod block size]
  std::array<std::int64_t, kMaxKvGroups> context_{}, growing_{};
  std::vector<std::uint32_t> wheel_;  ///< [counter mod size] -> first event
  std::vector<Event> events_;
  std::uint32_t free_event_;
};

}  // namespace moesim
