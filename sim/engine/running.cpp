#include "sim/engine/running.h"

#include <algorithm>
#include <tuple>

#include "sim/base/check.h"

namespace moesim {
namespace {

/// Heap order: the smallest (priority, arrival, id) is served first.
bool served_later(const Running::Waiting& a, const Running::Waiting& b) {
  return std::tie(a.priority, a.arrival, a.request) > std::tie(b.priority, b.arrival, b.request);
}

}  // namespace

std::uint32_t Running::admit(std::uint32_t request) {
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const std::uint32_t s = free_slots_.back();
  free_slots_.pop_back();
  Slot& slot = slots_[s];
  slot.request = request;
  slot.order = next_order_++;
  slot.state = Slot::State::kPrompt;
  slot.computed = slot.known = slot.generated = slot.joined = 0;
  slot.ran = false;
  slot.prev = last_;
  slot.next = kNoSlot;
  (last_ == kNoSlot ? first_ : slots_[last_].next) = s;
  last_ = s;
  ++size_;
  if (request >= slot_of_.size()) slot_of_.resize(request + 1, kNoSlot);
  slot_of_[request] = s;
  return s;
}

void Running::remove(std::uint32_t s) {
  Slot& slot = slots_[s];
  MOESIM_CHECK(!slot.member.in_set, "a request leaves its cohort before the running list");
  (slot.prev == kNoSlot ? first_ : slots_[slot.prev].next) = slot.next;
  (slot.next == kNoSlot ? last_ : slots_[slot.next].prev) = slot.prev;
  --size_;
  slot_of_[slot.request] = kNoSlot;
  if (slot.state == Slot::State::kPrompt) std::erase(prompts, s);
  free_slots_.push_back(s);
}

std::uint32_t Running::head() const {
  MOESIM_CHECK(!none_waiting(), "somebody waits");
  return priority_ ? heap_.front().request : ring_[ring_head_];
}

void Running::pop_head() {
  if (priority_) {
    std::pop_heap(heap_.begin(), heap_.end(), served_later);
    heap_.pop_back();
    return;
  }
  ring_head_ = (ring_head_ + 1) % ring_.size();
  --ring_count_;
}

void Running::widen_ring() {
  if (ring_count_ < ring_.size()) return;
  std::vector<std::uint32_t> wider(std::max<std::size_t>(64, 2 * ring_.size()));
  for (std::size_t i = 0; i < ring_count_; ++i) wider[i] = ring_[(ring_head_ + i) % ring_.size()];
  ring_ = std::move(wider);
  ring_head_ = 0;
}

void Running::push_waiting(const Waiting& request) {
  if (priority_) {
    heap_.push_back(request);
    std::push_heap(heap_.begin(), heap_.end(), served_later);
    return;
  }
  widen_ring();
  ring_[(ring_head_ + ring_count_++) % ring_.size()] = request.request;
}

void Running::push_waiting_front(const Waiting& request) {
  if (priority_) {
    push_waiting(request);
    return;
  }
  widen_ring();
  ring_head_ = (ring_head_ + ring_.size() - 1) % ring_.size();
  ring_[ring_head_] = request.request;
  ++ring_count_;
}

void Running::erase_waiting(std::uint32_t request) {
  if (priority_) {
    std::erase_if(heap_, [&](const Waiting& w) { return w.request == request; });
    std::make_heap(heap_.begin(), heap_.end(), served_later);
    return;
  }
  std::vector<std::uint32_t> kept = waiting_requests();
  std::erase(kept, request);
  std::copy(kept.begin(), kept.end(), ring_.begin());
  ring_head_ = 0;
  ring_count_ = kept.size();
}

void Running::reorder_waiting(std::span<const std::uint32_t> requests) {
  MOESIM_CHECK(!priority_ && requests.size() <= ring_count_,
               "the queue holds what is put in order");
  for (std::size_t i = 0; i < requests.size(); ++i)
    ring_[(ring_head_ + i) % ring_.size()] = requests[i];
}

std::vector<std::uint32_t> Running::waiting_requests() const {
  std::vector<std::uint32_t> result;
  if (priority_) {
    for (const Waiting& w : heap_) result.push_back(w.request);
  } else {
    for (std::size_t i = 0; i < ring_count_; ++i)
      result.push_back(ring_[(ring_head_ + i) % ring_.size()]);
  }
  return result;
}

}  // namespace moesim
