#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sim/base/ids.h"
#include "sim/engine/observer.h"
#include "sim/engine/scheduler.h"
#include "sim/engine/time.h"
#include "sim/steptime/step_time.h"

namespace moesim {

/// One serving engine: the loop of serving-semantics 0.3 and 1.9 over a scheduler, a KV cache and a
/// GPU pipeline.
///
/// The loop is one thread. It alternates between scheduling a batch (host: schedule + prepare) and,
/// when the queue of batches is full, the oldest is done, or nothing could be scheduled, waiting
/// for the oldest batch and processing its output. Queue depth 1: synchronous; 2: async scheduling;
/// PP: pipeline parallelism. Each such action happens at a known time (`next_time`), so a caller
/// can interleave instances in time order.
class Instance {
 public:
  struct Config {
    InstanceId id;
    Limits limits;
    KvCache::Config kv;
    HostCost host;
    ApiCost api;
    int queue_depth = 1;
    /// Overlap loops of SGLang and TensorRT-LLM: schedule the next step before looking at the
    /// output of this one, even if it is there.
    bool always_ahead = false;
  };
  /// `workload`, `table` and `pricer` must outlive the instance.
  Instance(const Config& config, const Workload& workload, RequestTable& table,
           std::unique_ptr<Scheduler> scheduler, StepPricer& pricer);

  /// A request reaches the queue. Times never decrease and never lie before an action already
  /// taken.
  void arrive(std::uint32_t request, SimTime now);
  /// When the next action happens; kNever while there is nothing to do.
  [[nodiscard]] SimTime next_time() const { return next_time_; }
  /// Does the next action. Returns the requests that completed in it (valid until the next call).
  const std::vector<std::uint32_t>& act(Observer* observer);

  [[nodiscard]] int waiting() const {
    return static_cast<int>(state_.running.waiting_count() + door_.size() - door_head_);
  }
  [[nodiscard]] int running() const { return state_.running.size(); }
  /// Prompt and output tokens of the requests sent here that are not finished: the load a router
  /// sees.
  [[nodiscard]] std::int64_t token_load() const { return token_load_; }
  [[nodiscard]] const SchedulerState& state() const { return state_; }
  [[nodiscard]] const std::array<double, kProvenanceCount>& provenance_ns() const {
    return provenance_ns_;
  }
  [[nodiscard]] InstanceTotals totals() const;
  /// Writes `generated` and the status of requests that are still here when the run is cut off.
  void cut_off();
  /// Invariants of the design; aborts with what failed (--check).
  void check() const;

 private:
  struct InFlight {
    Batch batch;
    StepCost cost;
    StepRecord record;
  };
  /// A request on its way through the API server.
  struct AtDoor {
    SimTime ready;
    std::uint32_t request;
  };
  void enqueue(std::uint32_t request);
  void open_door(SimTime now);
  /// When the first request at the door may be scheduled; kNever if none.
  [[nodiscard]] SimTime door_time() const;
  void schedule(Observer* observer);
  void collect(Observer* observer);
  void launch(InFlight& step);
  void decide(bool scheduled);

  Config config_;
  std::unique_ptr<Scheduler> scheduler_;
  StepPricer* pricer_;
  SchedulerState state_;
  std::vector<InFlight> ring_;  ///< queue_depth + 1 reusable entries
  std::size_t oldest_ = 0, in_flight_ = 0;
  bool collect_next_ = false;
  SimTime next_time_ = kNever;
  SimTime cpu_free_ = 0;
  std::vector<SimTime> stage_free_;
  SimTime collected_end_ = 0;  ///< GPU end of the last step whose output was processed
  bool idle_ = true;           ///< nothing was in flight or queued since the last step
  std::int64_t token_load_ = 0;
  std::vector<AtDoor> door_;  ///< first in, first out; cleared whenever it is empty
  std::size_t door_head_ = 0;
  SimTime api_free_ = 0;  ///< when the API server has tokenised what arrived so far
  std::vector<std::uint32_t> completed_;
  std::array<double, kProvenanceCount> provenance_ns_{};
  InstanceTotals totals_;
};

}  // namespace moesim
