#include "sim/engine/event_queue.h"

#include <algorithm>

namespace moesim {
namespace {

constexpr std::size_t kArity = 4;

}  // namespace

void EventQueue::push(ReadyEvent event) {
  std::size_t at = heap_.size();
  heap_.push_back(event);
  while (at > 0) {
    const std::size_t parent = (at - 1) / kArity;
    if (!earlier(event, heap_[parent])) break;
    heap_[at] = heap_[parent];
    at = parent;
  }
  heap_[at] = event;
}

ReadyEvent EventQueue::pop() {
  const ReadyEvent result = heap_.front();
  const ReadyEvent moved = heap_.back();
  heap_.pop_back();
  const std::size_t size = heap_.size();
  std::size_t at = 0;
  while (true) {
    const std::size_t first = at * kArity + 1;
    if (first >= size) break;
    std::size_t child = first;
    for (std::size_t i = first + 1; i < std::min(first + kArity, size); ++i) {
      if (earlier(heap_[i], heap_[child])) child = i;
    }
    if (!earlier(heap_[child], moved)) break;
    heap_[at] = heap_[child];
    at = child;
  }
  if (size > 0) heap_[at] = moved;
  return result;
}

}  // namespace moesim
