// Extents, the lists they are in, and the order of eviction.
#include <algorithm>

#include "sim/base/check.h"
#include "sim/engine/kv_cache.h"

namespace moesim {

std::uint32_t KvCache::new_extent() {
  if (recycled_.empty()) {
    extents_.emplace_back();
    return static_cast<std::uint32_t>(extents_.size() - 1);
  }
  const std::uint32_t e = recycled_.back();
  recycled_.pop_back();
  extents_[e] = Extent{};
  return e;
}

void KvCache::insert_sibling(std::uint32_t extent) {
  std::uint32_t* link = &head(extents_[extent].group, extents_[extent].id);
  while (*link != kNone && extents_[*link].begin < extents_[extent].begin)
    link = &extents_[*link].sibling;
  extents_[extent].sibling = *link;
  *link = extent;
}

void KvCache::remove_sibling(std::uint32_t extent) {
  std::uint32_t* link = &head(extents_[extent].group, extents_[extent].id);
  while (*link != extent) link = &extents_[*link].sibling;
  *link = extents_[extent].sibling;
}

/// Cuts an extent in two at block `at`. The later half keeps being evicted before the earlier one.
void KvCache::split(std::uint32_t extent, std::uint32_t at) {
  const std::uint32_t later = new_extent();
  Extent& low = extents_[extent];
  Extent& high = extents_[later];
  high = low;
  high.begin = at;
  low.end = at;
  low.sibling = later;
  if (low.refs > 0) return;
  high.prev = low.prev;
  high.next = extent;
  if (high.prev != kNone) extents_[high.prev].next = later;
  if (list_head_ == extent) list_head_ = later;
  low.prev = later;
}

void KvCache::append_free(std::uint32_t e) {
  if (list_tail_ != kNone && extents_[e].id == TokenChain::kNoId &&
      extents_[list_tail_].id == TokenChain::kNoId) {
    extents_[list_tail_].end += extents_[e].size();
    recycled_.push_back(e);
    return;
  }
  extents_[e].prev = list_tail_;
  extents_[e].next = kNone;
  if (list_tail_ != kNone) extents_[list_tail_].next = e;
  list_tail_ = e;
  if (list_head_ == kNone) list_head_ = e;
}

/// Blocks without identity go to the head of the free list. Precondition: nothing is pending there.
void KvCache::give_first(std::uint32_t count) {
  if (count == 0) return;
  free_ += count;
  if (list_head_ != kNone && extents_[list_head_].id == TokenChain::kNoId) {
    extents_[list_head_].end += count;
    return;
  }
  const std::uint32_t e = new_extent();
  extents_[e].end = count;
  extents_[e].next = list_head_;
  if (list_head_ != kNone) extents_[list_head_].prev = e;
  list_head_ = e;
  if (list_tail_ == kNone) list_tail_ = e;
}

void KvCache::unlink_free(std::uint32_t e) {
  Extent& extent = extents_[e];
  (extent.prev == kNone ? list_head_ : extents_[extent.prev].next) = extent.next;
  (extent.next == kNone ? list_tail_ : extents_[extent.next].prev) = extent.prev;
  extent.prev = extent.next = kNone;
}

std::int64_t KvCache::blocks_evicted() const {
  std::int64_t result = evicted_;
  std::int64_t left = pending_;
  for (std::uint32_t e = list_head_; left > 0; e = extents_[e].next) {
    const auto some = std::min<std::int64_t>(left, extents_[e].size());
    if (extents_[e].id != TokenChain::kNoId) result += some;
    left -= some;
  }
  return result;
}

void KvCache::apply_pending() {
  const std::int64_t count = pending_;
  pending_ = 0;
  if (count > 0) pop(count);
}

void KvCache::pop(std::int64_t count) {
  while (count > 0) {
    MOESIM_CHECK(list_head_ != kNone, "the free list holds as many blocks as are counted free");
    const std::uint32_t e = list_head_;
    Extent& extent = extents_[e];
    const auto some = static_cast<std::uint32_t>(std::min<std::int64_t>(count, extent.size()));
    extent.end -= some;
    count -= some;
    const bool identified = extent.id != TokenChain::kNoId;
    if (identified) evicted_ += some;
    if (extent.size() > 0) return;
    unlink_free(e);
    if (identified) remove_sibling(e);
    recycled_.push_back(e);
  }
}

bool KvCache::consistent() const {
  std::int64_t listed = 0;
  std::uint32_t before = kNone;
  for (std::uint32_t e = list_head_; e != kNone; e = extents_[e].next) {
    if (extents_[e].refs != 0 || extents_[e].prev != before || extents_[e].size() == 0)
      return false;
    listed += extents_[e].size();
    before = e;
  }
  return before == list_tail_ && listed == free_ + pending_ && free_ >= 0 &&
         free_ <= config_.usable_blocks;
}

}  // namespace moesim
