#include "sim/engine/event_queue.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <string>
#include <utility>
#include <vector>

#include "sim/base/random.h"

using namespace moesim;

namespace {

using Key = std::pair<SimTime, std::uint64_t>;

Key popped(EventQueue& queue) {
  const ReadyEvent event = queue.pop();
  return {event.time, event.sequence};
}

}  // namespace

TEST_CASE("events leave by time, and by number at the same time") {
  struct Case {
    std::string why;
    std::vector<ReadyEvent> pushed;
    std::vector<Key> expect;
  };
  const Case cases[] = {
      {"nothing in, nothing out", {}, {}},
      {"one event", {{7, 1}}, {{7, 1}}},
      {"the earliest first, whatever the order of pushing",
       {{30, 0}, {10, 1}, {20, 2}},
       {{10, 1}, {20, 2}, {30, 0}}},
      {"ties go to the lower number", {{5, 9}, {5, 2}, {5, 4}}, {{5, 2}, {5, 4}, {5, 9}}},
      {"time counts before number", {{6, 1}, {5, 9}}, {{5, 9}, {6, 1}}},
      {"five children fill a second row of a 4-ary heap",
       {{60, 0}, {50, 1}, {40, 2}, {30, 3}, {20, 4}, {10, 5}},
       {{10, 5}, {20, 4}, {30, 3}, {40, 2}, {50, 1}, {60, 0}}},
      {"times as large as the clock goes",
       {{kNever, 0}, {kNever - 1, 1}, {0, 2}},
       {{0, 2}, {kNever - 1, 1}, {kNever, 0}}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    EventQueue queue;
    for (const ReadyEvent& event : c.pushed) queue.push(event);
    CHECK(queue.size() == c.pushed.size());
    std::vector<Key> order;
    while (!queue.empty()) order.push_back(popped(queue));
    CHECK(order == c.expect);
  }
}

TEST_CASE("the top is what pop returns") {
  EventQueue queue;
  queue.push({20, 1});
  queue.push({10, 2});
  CHECK(queue.top().time == 10);
  CHECK(queue.top().sequence == 2);
  CHECK(popped(queue) == Key{10, 2});
  CHECK(queue.top().time == 20);
}

TEST_CASE("a thousand random pushes and pops agree with a sorted list") {
  Rng rng(1, "event queue");
  EventQueue queue;
  std::vector<Key> sorted;  // descending: the next one is last
  for (std::uint64_t i = 0; i < 1000; ++i) {
    if (!sorted.empty() && rng.below(5) < 2) {
      REQUIRE(popped(queue) == sorted.back());
      sorted.pop_back();
      continue;
    }
    const Key key{static_cast<SimTime>(rng.below(50)), i};  // few times: many ties
    queue.push({key.first, key.second});
    sorted.insert(std::upper_bound(sorted.begin(), sorted.end(), key, std::greater<>()), key);
  }
  while (!sorted.empty()) {
    REQUIRE(popped(queue) == sorted.back());
    sorted.pop_back();
  }
  CHECK(queue.empty());
}
