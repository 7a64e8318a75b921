#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "sim/engine/event_queue.h"
#include "sim/engine/instance.h"
#include "sim/engine/request_router.h"

namespace moesim {

/// The cluster in motion: requests, a router, instances, and the clock between them. Instances meet
/// only where a request is sent or its end releases another one; if neither needs live state, each
/// runs to the end on its own.
///
/// Order at equal times: a request is sent before an instance acts (serving-semantics 0.3: a
/// schedule call sees what arrived by then); requests by number, instances by number.
class Simulation {
 public:
  struct Options {
    SimTime horizon = kNever;  ///< stop the clock here; what is unfinished is incomplete
    std::int64_t max_model_len =
        0;  ///< longer prompts are dropped, outputs cut (smallest over the instances)
    /// Longer prompts are dropped too: engines that run every prompt in one step.
    std::int64_t max_prompt = std::numeric_limits<std::int64_t>::max();
    std::uint64_t seed = 1;
    bool check = false;                       ///< verify invariants while running
    const std::atomic<bool>* stop = nullptr;  ///< set from outside to end early, as at the horizon
    std::atomic<std::int64_t>* completed = nullptr;  ///< progress, if somebody wants to know
  };

  Simulation(Workload workload, std::unique_ptr<RequestRouter> router, const Options& options);

  /// Instances are added before `run`, in order; they keep references to `workload()` and
  /// `table()`.
  void add(std::unique_ptr<Instance> instance) { instances_.push_back(std::move(instance)); }

  void run(Observer* observer);

  [[nodiscard]] const Workload& workload() const { return workload_; }
  [[nodiscard]] RequestTable& table() { return table_; }
  [[nodiscard]] const RequestTable& table() const { return table_; }
  [[nodiscard]] const std::vector<std::unique_ptr<Instance>>& instances() const {
    return instances_;
  }
  /// 64-bit fingerprint of what happened: completions and per-instance totals (performance.md 4.1,
  /// rule 9).
  [[nodiscard]] std::int64_t max_prompt() const { return options_.max_prompt; }
  [[nodiscard]] std::uint64_t digest() const;
  [[nodiscard]] SimTime end_time() const { return end_time_; }
  [[nodiscard]] std::uint64_t events() const { return events_; }
  [[nodiscard]] bool stopped_early() const { return stopped_; }

 private:
  void send(std::uint32_t request, SimTime now);
  void ready(std::uint32_t request, SimTime now);
  void released(std::uint32_t request, SimTime now);
  void run_together(Observer* observer);
  void run_apart(Observer* observer);
  void run_alone(Instance& instance, std::span<const std::uint32_t> mine, Observer* observer);
  void act(Instance& instance, Observer* observer);
  void skip_followers();
  [[nodiscard]] SimTime next_ready() const;
  void finish();
  bool stop_asked();

  Workload workload_;
  std::unique_ptr<RequestRouter> router_;
  Options options_;
  RequestTable table_;
  std::vector<std::unique_ptr<Instance>> instances_;
  std::vector<InstanceLoad> loads_;
  EventQueue queue_;              ///< follow-up turns
  std::uint32_t next_fresh_ = 0;  ///< next row with an arrival of its own
  std::vector<std::uint32_t> first_follower_,
      next_follower_;                        ///< turns released by a request's end
  std::vector<std::uint32_t> client_queue_;  ///< held back by max_concurrency, in order
  std::size_t client_head_ = 0;
  int in_system_ = 0;
  SimTime end_time_ = 0;
  std::uint64_t events_ = 0;
  bool stopped_ = false;
};

}  // namespace moesim
