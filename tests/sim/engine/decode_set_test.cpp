#include "sim/engine/decode_set.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <utility>
#include <vector>

using namespace moesim;

namespace {

constexpr KvGroup kFullGroup{AttentionKind::kFull, 0, 1};

/// Steps a set, serving its touch events as the scheduler does.
struct Driver {
  std::vector<KvGroup> groups;
  DecodeSet set;
  std::vector<DecodeSet::Member> members;
  std::vector<DecodeSet::Event> due;

  Driver(int block_size, std::vector<KvGroup> of)
      : groups(std::move(of)), set(block_size, groups) {}

  std::uint32_t join(std::int64_t computed) {
    members.emplace_back();
    const auto slot = static_cast<std::uint32_t>(members.size() - 1);
    set.join(members[slot], computed);
    if (set.has_windows()) {
      set.at(set.counter(), slot, members[slot].epoch, DecodeSet::EventKind::kTouch);
    }
    return slot;
  }
  /// Before a step: members that must be looked at are.
  void touch_due() {
    due.clear();
    set.take_events(due);
    for (const DecodeSet::Event& event : due) {
      DecodeSet::Member& member = members[event.slot];
      if (event.kind != DecodeSet::EventKind::kTouch || member.epoch != event.epoch) continue;
      const std::int64_t look = set.touch(member, false);
      if (look >= 0) set.at(look, event.slot, member.epoch, DecodeSet::EventKind::kTouch);
    }
  }
  /// What the next step of a request with `computed` tokens sees in a group, by definition.
  [[nodiscard]] std::int64_t sees(std::size_t g, std::int64_t computed) const {
    std::int64_t result = 0;
    for (std::int64_t token = 0; token <= computed; ++token) {
      const KvGroup& group = groups[g];
      const bool in_window = group.kind == AttentionKind::kSliding ? token > computed - group.window
                             : group.kind == AttentionKind::kChunked
                                 ? token / group.window == computed / group.window
                                 : true;
      result += in_window ? 1 : 0;
    }
    return result;
  }
};

}  // namespace

TEST_CASE("a request takes a block whenever the tokens computed fill the blocks held") {
  DecodeSet set(4, std::vector{kFullGroup});
  DecodeSet::Member a, b;
  set.join(a, 4);
  set.join(b, 6);
  const std::vector<std::int64_t> expect = {1, 0, 1, 0, 1, 0, 1, 0};  // a at 4, 8, ...; b at 8, 12
  for (const std::int64_t blocks : expect) {
    CHECK(set.blocks_needed() == blocks);
    set.advance();
  }
  CHECK(set.computed(a) == 12);
  CHECK(set.computed(b) == 14);
  set.leave(a);
  CHECK(set.size() == 1);
  set.advance();
  set.advance();
  CHECK(set.blocks_needed() == 1);  // b at 16
}

TEST_CASE("a block is taken in every group but those of linear attention") {
  const std::vector<KvGroup> groups = {
      kFullGroup, {AttentionKind::kLinear, 0, 1}, {AttentionKind::kSliding, 4, 1}};
  DecodeSet set(4, groups);
  DecodeSet::Member a;
  set.join(a, 8);
  CHECK(set.growing_groups() == 2);
  CHECK(set.blocks_needed() == 2);
}

TEST_CASE("visible context is the sum over members, however they came and went") {
  Driver driver(4, {kFullGroup, {AttentionKind::kSliding, 6, 1}, {AttentionKind::kChunked, 5, 1}});
  driver.join(3);
  driver.join(9);
  for (int step = 0; step < 40; ++step) {
    if (step == 7) driver.join(1);
    if (step == 20) driver.set.leave(driver.members[1]);
    if (step == 21) driver.join(30);
    driver.touch_due();
    for (std::size_t g = 0; g < driver.groups.size(); ++g) {
      std::int64_t expect = 0;
      for (const DecodeSet::Member& member : driver.members) {
        if (member.in_set) expect += driver.sees(g, driver.set.computed(member));
      }
      CAPTURE(step);
      CAPTURE(g);
      CHECK(driver.set.context()[g] == expect);
    }
    driver.set.advance();
  }
}

TEST_CASE("past its window a member gives back one block per block size, counted") {
  Driver driver(4, {{AttentionKind::kSliding, 4, 1}});
  driver.join(3);  // sees 0..3 next: window full, regular from here on
  const std::vector<std::int64_t> expect = {0, 0, 0, 0, 1, 0, 0, 0, 1};  // at 7, 11 computed
  for (const std::int64_t dropped : expect) {
    const std::int64_t counted = driver.set.blocks_dropped();
    driver.touch_due();
    CHECK(counted == dropped);
    driver.set.advance();
  }
}

TEST_CASE("the wheel hands out events at their step, however far ahead") {
  DecodeSet set(4, std::vector{kFullGroup});
  set.at(0, 1, 0, DecodeSet::EventKind::kFinish);
  set.at(3, 2, 0, DecodeSet::EventKind::kFinish);
  set.at(5000, 3, 7, DecodeSet::EventKind::kWasted);
  set.at(1024, 4, 0, DecodeSet::EventKind::kTouch);
  set.at(1024, 5, 0, DecodeSet::EventKind::kFinish);
  std::vector<std::pair<std::int64_t, std::uint32_t>> seen;
  std::vector<DecodeSet::Event> due;
  for (; set.counter() <= 5000; set.advance()) {
    due.clear();
    set.take_events(due);
    for (const DecodeSet::Event& event : due) seen.emplace_back(set.counter(), event.slot);
  }
  std::sort(seen.begin(), seen.end());
  const std::vector<std::pair<std::int64_t, std::uint32_t>> expect = {
      {0, 1}, {3, 2}, {1024, 4}, {1024, 5}, {5000, 3}};
  CHECK(seen == expect);
}

TEST_CASE("leaving makes a member's events void") {
  DecodeSet set(4, std::vector{kFullGroup});
  DecodeSet::Member a;
  set.join(a, 4);
  const std::uint32_t epoch = a.epoch;
  set.leave(a);
  set.join(a, 4);
  CHECK(a.epoch != epoch);
}
