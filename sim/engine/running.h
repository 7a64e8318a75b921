#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "sim/engine/decode_set.h"
#include "sim/engine/kv_cache.h"
#include "sim/engine/time.h"

namespace moesim {

inline constexpr std::uint32_t kNoSlot = std::numeric_limits<std::uint32_t>::max();

/// An admitted request.
struct Slot {
  enum class State : std::uint8_t {
    kPrompt,     ///< part of its known tokens is not computed yet
    kDecoding,   ///< in a cohort's DecodeSet
    kLate,       ///< decoding, but left out of the last step
    kFinishing,  ///< its last token is in flight
  };
  std::uint32_t request = 0;
  std::uint64_t order = 0;  ///< position in the running list: admission number
  State state = State::kPrompt;
  int cohort = 0;
  std::int64_t computed = 0;  ///< tokens whose KV exists or is scheduled; decoding: see DecodeSet
  std::int64_t known = 0;     ///< prompt plus generated tokens at admission
  std::int64_t generated =
      0;  ///< output tokens scheduled; decoding: grows with the counter since `joined`
  std::int64_t joined = 0;       ///< cohort counter when it began to decode
  std::uint64_t decoded_in = 0;  ///< finishing: number of the batch in which it decoded last
  DecodeSet::Member member;
  KvCache::Holding kv;
  std::uint32_t prev = kNoSlot, next = kNoSlot;
  // Scratch of the plain walk.
  bool ran = false;
};

/// The running list, in admission order, and the waiting queue of one instance. Slots are reused,
/// so nothing is allocated once the largest batch has been seen.
class Running {
 public:
  explicit Running(bool priority) : priority_(priority) {}

  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] std::uint32_t first() const { return first_; }
  [[nodiscard]] std::uint32_t last() const { return last_; }
  Slot& operator[](std::uint32_t slot) { return slots_[slot]; }
  const Slot& operator[](std::uint32_t slot) const { return slots_[slot]; }

  /// Appends a request to the running list and returns its slot, with an empty holding.
  std::uint32_t admit(std::uint32_t request);
  /// Takes a slot off the list; the caller has released its KV.
  void remove(std::uint32_t slot);
  /// Slot of an admitted request, or kNoSlot.
  [[nodiscard]] std::uint32_t slot_of(std::uint32_t request) const {
    return request < slot_of_.size() ? slot_of_[request] : kNoSlot;
  }
  void reserve_requests(std::size_t count) { slot_of_.resize(count, kNoSlot); }

  // ---- waiting ----
  struct Waiting {
    std::int32_t priority = 0;
    SimTime arrival = 0;
    std::uint32_t request = 0;
  };
  [[nodiscard]] bool none_waiting() const { return waiting_count() == 0; }
  [[nodiscard]] std::size_t waiting_count() const { return priority_ ? heap_.size() : ring_count_; }
  [[nodiscard]] std::uint32_t head() const;
  void pop_head();
  void push_waiting(const Waiting& request);  ///< at the back (fcfs) or by (priority, arrival, id)
  void push_waiting_front(const Waiting& request);  ///< preempted: at the front (fcfs)
  void erase_waiting(std::uint32_t request);        ///< a preempted request turned out to be done
  /// The i-th request of the queue (fcfs), and a new order of its first ones: a permutation.
  [[nodiscard]] std::uint32_t waiting_at(std::size_t i) const {
    return ring_[(ring_head_ + i) % ring_.size()];
  }
  void reorder_waiting(std::span<const std::uint32_t> requests);
  /// Waiting requests, head first (priority: in no particular order).
  [[nodiscard]] std::vector<std::uint32_t> waiting_requests() const;

  std::vector<std::uint32_t> prompts;  ///< slots in state kPrompt, in running order

 private:
  void widen_ring();
  bool priority_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_slots_;
  std::vector<std::uint32_t> slot_of_;  ///< by request
  std::uint32_t first_ = kNoSlot, last_ = kNoSlot;
  int size_ = 0;
  std::uint64_t next_order_ = 0;
  std::vector<std::uint32_t> ring_;  ///< fcfs: circular buffer
  std::size_t ring_head_ = 0, ring_count_ = 0;
  std::vector<Waiting> heap_;  ///< priority
};

}  // namespace moesim
