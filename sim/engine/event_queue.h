#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sim/engine/time.h"

namespace moesim {

/// A shared event: a request becomes ready to be sent. (Steps are never queued: performance.md 4.)
struct ReadyEvent {
  SimTime time = 0;
  std::uint64_t sequence = 0;  ///< the request; ties in time go to the lower one
};

/// 4-ary implicit heap of 16-byte entries ordered by (time, sequence).
class EventQueue {
 public:
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] std::size_t size() const { return heap_.size(); }
  [[nodiscard]] const ReadyEvent& top() const { return heap_.front(); }
  void push(ReadyEvent event);
  ReadyEvent pop();

 private:
  static bool earlier(const ReadyEvent& a, const ReadyEvent& b) {
    return a.time != b.time ? a.time < b.time : a.sequence < b.sequence;
  }
  std::vector<ReadyEvent> heap_;
};

}  // namespace moesim
