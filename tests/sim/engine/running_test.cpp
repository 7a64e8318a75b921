#include "sim/engine/running.h"

#include <doctest/doctest.h>
#include <vector>

using namespace moesim;

namespace {

std::vector<std::uint32_t> running_requests(const Running& running) {
  std::vector<std::uint32_t> result;
  for (std::uint32_t s = running.first(); s != kNoSlot; s = running[s].next) {
    result.push_back(running[s].request);
  }
  return result;
}

std::vector<std::uint32_t> drained(Running& running) {
  std::vector<std::uint32_t> result;
  while (!running.none_waiting()) {
    result.push_back(running.head());
    running.pop_head();
  }
  return result;
}

}  // namespace

TEST_CASE("the running list keeps the order of admission through removals") {
  Running running(false);
  for (const std::uint32_t request : {7U, 3U, 9U, 4U}) running.admit(request);
  CHECK(running_requests(running) == std::vector<std::uint32_t>{7, 3, 9, 4});
  running.remove(running.slot_of(3));
  CHECK(running_requests(running) == std::vector<std::uint32_t>{7, 9, 4});
  running.admit(3);
  CHECK(running_requests(running) == std::vector<std::uint32_t>{7, 9, 4, 3});
  running.remove(running.slot_of(7));
  running.remove(running.slot_of(3));
  CHECK(running_requests(running) == std::vector<std::uint32_t>{9, 4});
  CHECK(running.size() == 2);
  CHECK(running.slot_of(7) == kNoSlot);
  CHECK(running.slot_of(1000) == kNoSlot);
  CHECK(running[running.first()].request == 9);
  CHECK(running[running.last()].request == 4);
}

TEST_CASE("a slot is used again, with a new place in the order and nothing left of its last user") {
  Running running(false);
  const std::uint32_t slot = running.admit(1);
  running[slot].computed = 17;
  running[slot].generated = 3;
  const std::uint64_t order = running[slot].order;
  running.remove(slot);
  CHECK(running.admit(2) == slot);
  CHECK(running[slot].order > order);
  CHECK(running[slot].computed == 0);
  CHECK(running[slot].generated == 0);
  CHECK(running[slot].state == Slot::State::kPrompt);
}

TEST_CASE("a removed prompt leaves the list of prompts") {
  Running running(false);
  const std::uint32_t a = running.admit(1);
  const std::uint32_t b = running.admit(2);
  running.prompts = {a, b};
  running.remove(a);
  CHECK(running.prompts == std::vector<std::uint32_t>{b});
}

TEST_CASE("first come, first served: preempted requests go to the front") {
  Running running(false);
  for (std::uint32_t r = 0; r < 3; ++r) running.push_waiting({0, r, r});
  running.push_waiting_front({0, 0, 10});
  running.push_waiting_front({0, 0, 11});
  CHECK(running.waiting_requests() == std::vector<std::uint32_t>{11, 10, 0, 1, 2});
  CHECK(drained(running) == std::vector<std::uint32_t>{11, 10, 0, 1, 2});
}

TEST_CASE("by priority: smaller value, then arrival, then number") {
  Running running(true);
  running.push_waiting({1, 50, 0});
  running.push_waiting({0, 70, 1});
  running.push_waiting({0, 60, 3});
  running.push_waiting({0, 60, 2});
  running.push_waiting_front({1, 40, 4});
  CHECK(drained(running) == std::vector<std::uint32_t>{2, 3, 1, 4, 0});
}

TEST_CASE("a waiting request can be taken out") {
  for (const bool priority : {false, true}) {
    Running running(priority);
    for (std::uint32_t r = 0; r < 5; ++r) running.push_waiting({0, r, r});
    running.pop_head();
    running.erase_waiting(2);
    CHECK(running.waiting_count() == 3);
    CHECK(drained(running) == std::vector<std::uint32_t>{1, 3, 4});
  }
}

TEST_CASE("the queue grows past its first size, wrapped around or not") {
  Running running(false);
  std::vector<std::uint32_t> expect;
  for (std::uint32_t r = 0; r < 50; ++r) running.push_waiting({0, 0, r});
  for (int i = 0; i < 40; ++i) running.pop_head();
  for (std::uint32_t r = 50; r < 300; ++r) running.push_waiting({0, 0, r});
  for (std::uint32_t r = 40; r < 300; ++r) expect.push_back(r);
  CHECK(drained(running) == expect);
}
