#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "tests/reference/plain_scheduler.h"
#include "tests/reference/plain_tables.h"

// Private to the reference: one engine's state. plain_scheduler.cpp runs its loop,
// plain_schedule.cpp decides what goes into a step.

namespace moesim::reference {

/// A request's state while it is in the system.
struct PlainState {
  std::int64_t prompt = 0, output = 0;
  std::int32_t priority = 0;
  std::int64_t generated = 0;  ///< output tokens sampled or in flight
  std::int64_t out = 0;        ///< output tokens handed out
  std::int64_t known = 0;      ///< tokens at admission: what it computes before it decodes
  std::int64_t computed = 0;
  bool in_flight = false;   ///< its last token is not out yet
  bool extra_step = false;  ///< its last token is not out, and it already runs once more
  SimTime last_token = kNever;
};

class PlainInstance {
 public:
  PlainInstance(const PlainConfig& config, const Workload& workload, StepPricer& pricer);
  PlainResult run();

 private:
  using Id = std::uint32_t;

  // The loop.
  void deliver(SimTime now);
  bool schedule(SimTime& now);
  void launch(PlainCall& call, SimTime& now);
  void collect(SimTime now);
  void retire(Id id, SimTime now);

  // One call of schedule().
  void leave_windows();
  void serve_running(PlainCall& call, int& budget);
  void admit_waiting(PlainCall& call, int& budget, SimTime now);
  bool make_room(PlainCall& call, Id for_id, std::size_t& i, int& budget);
  void preempt(PlainCall& call, Id id);
  void settle(PlainCall& call);
  [[nodiscard]] bool may_decode(const PlainState& r) const;
  [[nodiscard]] std::int64_t wanted(const PlainState& r, int budget) const;
  [[nodiscard]] std::size_t victim() const;
  void sort_waiting();

  const PlainConfig config_;
  const Workload& workload_;
  StepPricer& pricer_;
  PlainResult result_;
  PlainTables tables_;
  std::vector<PlainState> requests_;
  std::vector<Id> running_;
  std::deque<Id> waiting_;
  std::size_t next_arrival_ = 0;
  std::deque<std::size_t> flight_;  ///< calls, oldest first
  std::vector<SimTime> stage_free_;
  SimTime collected_end_ = 0;
  int admitted_ = 0, hashed_blocks_ = 0;
  std::uint64_t steps_ = 0;
  bool slept_ = true;
};

}  // namespace moesim::reference
