#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/base/ids.h"
#include "sim/engine/observer.h"
#include "sim/engine/prompt_balance.h"
#include "sim/engine/scheduler.h"
#include "sim/engine/time.h"
#include "sim/steptime/step_time.h"

namespace moesim {

/// How requests are spread over the data-parallel ranks of an instance (serving-semantics 1.10, 8).
enum class RankBalance : std::uint8_t {
  kPublished,    ///< vLLM: least 4 waiting + running, of counts published every 100 ms
  kRoundRobin,   ///< SGLang
  kLeastTokens,  ///< TensorRT-LLM: the rank with the least work to do
};

/// What data-parallel ranks that step together have to do with each other.
struct RankRules {
  RankBalance balance = RankBalance::kPublished;
  /// They ask each other after so many steps whether anybody has work left; until then they run
  /// dummy batches. 1: after every step.
  int sync_interval = 1;
};
/// Of an engine: vLLM's ranks ask every 32 steps, the others in every step they make.
[[nodiscard]] RankRules rank_rules(const std::string& backend);

/// One serving engine: the loop of serving-semantics 0.3 and 1.9 over schedulers, KV caches and a
/// GPU pipeline.
///
/// With attention data parallelism (`ranks` > 1) every rank has a scheduler and a KV cache of its
/// own, but all ranks step together, because they meet at every MoE layer: a step is scheduled on
/// all ranks at once, costs what the slowest rank of each layer takes, and its output comes out
/// everywhere at once. A rank without work runs a dummy batch (serving-semantics 1.10).
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
    int ranks = 1;  ///< attention data parallelism; `limits` and `kv` are of one rank
    RankRules rules = {};
    int queue_depth = 1;
    /// Overlap loops of SGLang and TensorRT-LLM: schedule the next step before looking at the
    /// output of this one, even if it is there.
    bool always_ahead = false;
    /// The loop fetches requests after so many steps of decodes alone, after every step with
    /// prompts, and when it has nothing to do.
    int recv_interval = 1;
  };
  /// `workload`, `table` and `pricer` must outlive the instance.
  Instance(const Config& config, const Workload& workload, RequestTable& table,
           std::unique_ptr<Scheduler> scheduler, StepPricer& pricer);
  /// One scheduler per rank.
  Instance(const Config& config, const Workload& workload, RequestTable& table,
           std::vector<std::unique_ptr<Scheduler>> schedulers, StepPricer& pricer);

  /// A request reaches the queue. Times never decrease and never lie before an action already
  /// taken.
  void arrive(std::uint32_t request, SimTime now);
  /// When the next action happens; kNever while there is nothing to do.
  [[nodiscard]] SimTime next_time() const { return next_time_; }
  /// Does the next action. Returns the requests that completed in it (valid until the next call).
  const std::vector<std::uint32_t>& act(Observer* observer);

  [[nodiscard]] int waiting() const;
  [[nodiscard]] int running() const;
  /// Prompt and output tokens of the requests sent here that are not finished: the load a router
  /// sees.
  [[nodiscard]] std::int64_t token_load() const { return token_load_; }
  [[nodiscard]] int ranks() const { return static_cast<int>(ranks_.size()); }
  [[nodiscard]] const SchedulerState& state(int rank = 0) const {
    return ranks_[static_cast<std::size_t>(rank)]->state;
  }
  [[nodiscard]] const std::array<double, kProvenanceCount>& provenance_ns() const {
    return provenance_ns_;
  }
  [[nodiscard]] InstanceTotals totals() const;
  /// Writes `generated` and the status of requests that are still here when the run is cut off.
  void cut_off();
  /// Invariants of the design; aborts with what failed (--check).
  void check() const;
  /// Sum over ranks of what completed: independent of the order.
  [[nodiscard]] std::uint64_t digest() const;

 private:
  struct InFlight {
    std::vector<Batch> batches;  ///< by rank
    StepCost cost;
    std::vector<StageSpan> stages;
    StepRecord record;
  };
  struct Rank {
    std::unique_ptr<Scheduler> scheduler;
    SchedulerState state;
    std::int64_t token_load = 0;
    int published_waiting = 0, published_running = 0;  ///< what the API server knows
    std::vector<RoutedToken> routed;  ///< decodes of the step being priced, if asked for
    std::vector<PromptChunk> chunks;  ///< its prompts, without those that arrived with their KV
  };
  /// A request on its way through the API server.
  struct AtDoor {
    SimTime ready;
    std::uint32_t request;
  };
  void enqueue(std::uint32_t request);
  void open_door(SimTime now);
  /// Whether this turn of the loop fetches requests.
  [[nodiscard]] bool fetches();
  /// When the first request at the door may be scheduled; kNever if none.
  [[nodiscard]] SimTime door_time() const;
  [[nodiscard]] SimTime wake_time();
  [[nodiscard]] std::int64_t tokens_of(std::uint32_t request) const;
  void check(const SchedulerState& state) const;
  void schedule(Observer* observer);
  /// attention_dp_config: whether the ranks' prompts wait for each other in the step to come.
  void hold_prompts();
  void collect(Observer* observer);
  void launch(InFlight& step);
  /// Rank a new request goes to.
  std::size_t choose_rank();
  void publish(SimTime now);
  void list_tokens(Rank& rank, const Batch& batch) const;
  void list_chunk(Rank& rank, const PromptChunk& chunk) const;
  void describe(InFlight& step) const;
  [[nodiscard]] double host_us(const InFlight& step) const;
  [[nodiscard]] StepWork work_of(Rank& rank, const Batch& batch, SimTime now) const;
  void decide(bool scheduled);
  /// Number of the next step to the pricer, dummies included.
  [[nodiscard]] std::uint64_t turn() const { return totals_.steps + totals_.dummy_steps; }
  void run_dummies(SimTime until);

  Config config_;
  StepPricer* pricer_;
  const Workload* workload_;
  RequestTable* table_;
  std::vector<std::unique_ptr<Rank>> ranks_;
  std::optional<PromptBalance> balance_;  ///< trtllm, if prompts wait for each other
  std::vector<RankDemand> demands_;
  std::vector<StepWork> works_;  ///< of the step being launched, by rank
  std::size_t next_rank_ = 0;    ///< round robin
  SimTime published_at_ = 0;
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
  int turns_ = 0;             ///< of the loop since requests were last fetched
  bool prompts_ran_ = false;  ///< in the step launched last
  int wave_steps_ = 0;        ///< since the ranks last agreed that there is work
  SimTime dummies_end_ = 0;   ///< of those run so far
  StepCost dummy_cost_;
  SimTime api_free_ = 0;  ///< when the API server has tokenised what arrived so far
  std::vector<std::uint32_t> completed_;
  std::array<double, kProvenanceCount> provenance_ns_{};
  InstanceTotals totals_;
};

}  // namespace moesim
