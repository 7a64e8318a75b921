#include "sim/engine/decode_set.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "sim/base/check.h"

namespace moesim {
namespace {

constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
constexpr std::size_t kSmallestWheel = 1024;

bool windowed(const KvGroup& group) {
  return group.kind == AttentionKind::kSliding || group.kind == AttentionKind::kChunked;
}

}  // namespace

DecodeSet::DecodeSet(int block_size, std::span<const KvGroup> groups)
    : block_size_(block_size),
      groups_(groups.begin(), groups.end()),
      by_phase_(static_cast<std::size_t>(block_size)),
      drops_(groups.size(), std::vector<std::int64_t>(static_cast<std::size_t>(block_size))),
      wheel_(kSmallestWheel, kNone),
      free_event_(kNone) {
  has_windows_ = std::any_of(groups_.begin(), groups_.end(), windowed);
  growing_groups_ = std::count_if(groups_.begin(), groups_.end(), [](const KvGroup& group) {
    return group.kind != AttentionKind::kLinear;
  });
}

std::size_t DecodeSet::phase_of(std::int64_t numerator) const {
  return static_cast<std::size_t>((numerator % block_size_ + block_size_) % block_size_);
}

std::int64_t DecodeSet::visible(std::size_t g, std::int64_t computed) const {
  const KvGroup& group = groups_[g];
  if (group.kind == AttentionKind::kSliding)
    return std::min<std::int64_t>(computed + 1, group.window);
  if (group.kind == AttentionKind::kChunked) return computed % group.window + 1;
  return computed + 1;
}

bool DecodeSet::grows(std::size_t g, std::int64_t computed) const {
  return visible(g, computed + 1) == visible(g, computed) + 1;
}

std::int64_t DecodeSet::blocks_dropped() const {
  std::int64_t result = 0;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (windowed(groups_[g])) result += drops_[g][phase(counter_)];
  }
  return result;
}

void DecodeSet::join(Member& member, std::int64_t computed) {
  MOESIM_CHECK(!member.in_set, "a request joins one cohort at a time");
  member.in_set = true;
  member.offset = counter_ - computed;
  member.touched = counter_;
  member.counts_window_drops = false;
  ++member.epoch;
  ++size_;
  // A block is due whenever the tokens computed fill the blocks held.
  ++by_phase_[phase_of(member.offset)];
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    member.visible[g] = visible(g, computed);
    member.growing[g] = grows(g, computed);
    context_[g] += member.visible[g];
    growing_[g] += member.growing[g] ? 1 : 0;
  }
}

void DecodeSet::leave(Member& member) {
  MOESIM_CHECK(member.in_set, "a request leaves the cohort it is in");
  member.in_set = false;
  ++member.epoch;
  --size_;
  --by_phase_[phase_of(member.offset)];
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    context_[g] -= member.visible[g] + (member.growing[g] ? counter_ - member.touched : 0);
    growing_[g] -= member.growing[g] ? 1 : 0;
    if (member.counts_window_drops && windowed(groups_[g])) {
      --drops_[g][phase_of(member.offset + groups_[g].window - 1)];
    }
  }
  member.counts_window_drops = false;
}

/// Brings the visible context of a windowed group up to `now` computed tokens.
void DecodeSet::see(Member& member, std::size_t g, std::int64_t now) {
  const std::int64_t before =
      member.visible[g] + (member.growing[g] ? counter_ - member.touched : 0);
  const std::int64_t after = visible(g, now);
  context_[g] += after - before;
  growing_[g] += (grows(g, now) ? 1 : 0) - (member.growing[g] ? 1 : 0);
  member.visible[g] = after;
  member.growing[g] = grows(g, now);
}

/// When a windowed group that has computed `now` tokens wants to be looked at next. `regular` is
/// cleared if it does not drop a block each block_size steps from here on.
std::int64_t DecodeSet::next_look(const KvGroup& group, std::int64_t now, bool& regular) const {
  if (group.kind == AttentionKind::kChunked) {
    regular = false;
    const std::int64_t last = now / group.window * group.window + group.window - 1;
    return now == last ? now + 1 : last;
  }
  if (now < group.window - 1) {
    regular = false;
    return group.window - 1;
  }
  return now + block_size_ - (now - group.window + 1) % block_size_;
}

std::int64_t DecodeSet::touch(Member& member, bool holds_identity) {
  const std::int64_t now = computed(member);
  bool regular = !holds_identity;
  std::int64_t look = std::numeric_limits<std::int64_t>::max();
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (windowed(groups_[g])) {
      see(member, g, now);
      look = std::min(look, next_look(groups_[g], now, regular));
    } else {  // full groups keep their own visible count, measured from `touched` as well
      member.visible[g] += member.growing[g] ? counter_ - member.touched : 0;
    }
  }
  const int change = (regular ? 1 : 0) - (member.counts_window_drops ? 1 : 0);
  for (std::size_t g = 0; g < groups_.size() && change != 0; ++g) {
    if (windowed(groups_[g])) drops_[g][phase_of(member.offset + groups_[g].window - 1)] += change;
  }
  member.touched = counter_;
  member.counts_window_drops = regular;
  if (regular || look == std::numeric_limits<std::int64_t>::max()) return -1;
  return look + member.offset;
}

void DecodeSet::advance() {
  for (std::size_t g = 0; g < groups_.size(); ++g) context_[g] += growing_[g];
  ++counter_;
}

void DecodeSet::grow_wheel(std::int64_t horizon) {
  std::vector<std::uint32_t> wider(std::bit_ceil(static_cast<std::size_t>(horizon) + 2), kNone);
  const auto old_size = static_cast<std::int64_t>(wheel_.size());
  for (std::int64_t ahead = 0; ahead < old_size; ++ahead) {
    const auto at = static_cast<std::size_t>(counter_ + ahead);
    wider[at & (wider.size() - 1)] = wheel_[at & (wheel_.size() - 1)];
  }
  wheel_ = std::move(wider);
}

void DecodeSet::at(std::int64_t counter, std::uint32_t slot, std::uint32_t epoch, EventKind kind) {
  const std::int64_t ahead = counter - counter_;
  MOESIM_CHECK(ahead >= 0, "events lie ahead");
  if (ahead >= static_cast<std::int64_t>(wheel_.size())) grow_wheel(ahead);
  std::uint32_t event = free_event_;
  if (event == kNone) {
    event = static_cast<std::uint32_t>(events_.size());
    events_.emplace_back();
  } else {
    free_event_ = events_[event].next;
  }
  std::uint32_t& head = wheel_[static_cast<std::size_t>(counter) & (wheel_.size() - 1)];
  events_[event] = {slot, epoch, kind, head};
  head = event;
}

void DecodeSet::take_events(std::vector<Event>& out) {
  std::uint32_t& head = wheel_[static_cast<std::size_t>(counter_) & (wheel_.size() - 1)];
  while (head != kNone) {
    const std::uint32_t event = head;
    out.push_back(events_[event]);
    head = events_[event].next;
    events_[event].next = free_event_;
    free_event_ = event;
  }
}

}  // namespace moesim
