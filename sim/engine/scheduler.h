#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "scenarios/scenario.h"
#include "sim/engine/decode_set.h"
#include "sim/engine/kv_cache.h"
#include "sim/engine/request.h"
#include "sim/engine/running.h"
#include "sim/engine/time.h"
#include "sim/steptime/step_time.h"

namespace moesim {

/// What bounds a step, from the engine's configuration.
struct Limits {
  int max_num_seqs = 256;
  int max_num_batched_tokens = 2048;
  int max_model_len = 0;
  int long_prefill_token_threshold = 0;
  bool chunked_prefill = true;
  bool reserve_full_isl = true;
  bool priority = false;    ///< scheduling_policy: priority
  bool async = true;        ///< the next step is scheduled before this one's tokens are known
  bool finish_eos = false;  ///< the end of a request shows only when its last token is sampled
  int pipeline_stages = 1;
  /// Overlap scheduler of SGLang and TensorRT-LLM: whoever ends runs one step more, because the
  /// next step is always scheduled before this one's output is looked at.
  bool extra_step = false;
  /// Decode side of a split system: a request arrives with the KV of its prompt; only the prompt's
  /// last token is computed here, to sample the first one.
  bool kv_in_place = false;
  SglangOptions sglang = {};
  TrtllmOptions trtllm = {};
  /// A request that ends runs one more step, whose token is thrown away (serving-semantics 5.4).
  [[nodiscard]] bool late_end() const { return extra_step || (finish_eos && async); }
};

/// When a cohort's last tokens came out, and whether its last batch is still in flight.
struct CohortClock {
  SimTime last_out = 0;
  std::uint64_t last_batch = 0;      ///< number of its last batch
  bool in_flight = false;            ///< pipeline parallelism: its requests cannot be scheduled
  std::vector<std::uint32_t> fresh;  ///< requests whose first token is out and whose second is due
};

/// One scheduled step: what runs, and what its output will complete. Buffers are reused.
struct Batch {
  int cohort = 0;
  int decodes = 0;  ///< sequences with one token, wasted ones included
  int wasted = 0;   ///< of these, tokens that will be thrown away (eos under async)
  std::int64_t running = 0, waiting = 0;  ///< queue lengths after scheduling
  std::vector<PromptChunk> chunks;
  std::vector<std::uint32_t> finishing;  ///< requests whose last token this step samples
  std::vector<std::uint32_t>
      irregular;              ///< decodes whose previous token was not in the cohort's last step
  std::vector<SimTime> gaps;  ///< filled on completion: gaps of irregular and resumed tokens
  std::int64_t regular_tokens =
      0;  ///< filled on completion: tokens that came `regular_gap` after the last
  SimTime regular_gap = 0;
  int tokens_out = 0;
  int admitted = 0;
  int hashed_blocks = 0;
  bool plain = false;  ///< phase A walked every request
  /// A batch of prompts only, between two of decodes: the decodes' last token came before it.
  bool pauses_decodes = false;
  std::array<std::int64_t, kMaxKvGroups> decode_context{};
  std::int64_t kv_blocks_used = 0;
  [[nodiscard]] bool empty() const { return decodes == 0 && chunks.empty(); }
  void clear();
};

/// Everything a scheduler of one instance sees and changes, and the moves every scheduler makes.
struct SchedulerState {
  const Workload* workload = nullptr;
  RequestTable* table = nullptr;
  Limits limits;
  KvCache kv;
  Running running;
  std::vector<DecodeSet> cohorts;        ///< one; with pipeline parallelism one per batch in flight
  std::vector<CohortClock> clocks;       ///< beside `cohorts`
  std::vector<std::uint32_t> late;       ///< slots in state kLate, in running order
  std::vector<std::uint32_t> preempted;  ///< requests, by the last call of schedule, in order
  std::uint64_t batches = 0;             ///< scheduled so far; also the number of the next one
  std::uint64_t collected = 0;  ///< batches whose output was processed (first in, first out)
  std::uint64_t digest = 0;     ///< sum over completions: order-independent
  bool hold_prompts = false;    ///< trtllm: the next step starts and continues none (PromptBalance)
  std::int64_t preemptions = 0, prefix_query_tokens = 0, prefix_hit_tokens = 0;

  SchedulerState(const Workload& workload, RequestTable& table, const Limits& limits,
                 const KvCache::Config& kv);

  [[nodiscard]] TokenChain chain(std::uint32_t request) const;
  /// Tokens computed, in any state.
  [[nodiscard]] std::int64_t computed(const Slot& slot) const;
  /// Output tokens scheduled, in any state.
  [[nodiscard]] std::int64_t generated(const Slot& slot) const;
  /// Whether the slot is one of the decodes of `batch`, which was closed last.
  [[nodiscard]] bool decodes_in(const Slot& slot, const Batch& batch) const;

  /// The slot decodes from the cohort's next step on; its finish goes into the wheel.
  void join(std::uint32_t slot, int cohort, std::int64_t computed, std::int64_t generated);
  /// Takes a decoding slot out of its cohort and writes its progress down. `held` tokens have
  /// blocks; windows were applied up to position `dropped_at`.
  void leave(std::uint32_t slot, std::int64_t held, std::int64_t dropped_at);
  /// Remembers when the request's last token comes out, for the gap to the next one.
  void note_last_token(const Slot& slot);
  /// A preempted request's last token is still in flight: it cannot be admitted again before that.
  [[nodiscard]] bool output_pending(std::uint32_t request) const;
  /// Evicts a running request to the head of the queue (recompute); `current` is the cohort being
  /// scheduled.
  void preempt(std::uint32_t slot, int current);
  /// SGLang: evicts a request to the end of the queue. Its first `cached` tokens stay in the cache,
  /// the rest is freed. `fresh`: it has not decoded yet.
  void retract(std::uint32_t slot, std::int64_t cached, bool fresh);
  /// Tokens of a waiting request that are computed here, given `cached` of its `known` ones.
  [[nodiscard]] std::int64_t to_compute(std::uint32_t request, std::int64_t known,
                                        std::int64_t cached) const {
    return arrives_with_kv(request) ? 1 : known - cached;
  }
  [[nodiscard]] bool arrives_with_kv(std::uint32_t request) const {
    return limits.kv_in_place && table->generated[request] == 0;
  }
  /// Moves the head of the queue to the running list with `hit` cached blocks; `known` of its
  /// tokens exist. Returns its slot, which holds the hit and nothing else.
  std::uint32_t admit_head(SimTime now, Batch& batch, std::uint32_t hit, std::int64_t known);
  /// The next `tokens` tokens of a prompt run in this step; the request then holds `hold` tokens,
  /// of which those below `final_tokens` are cached at once. Returns whether the prompt ends.
  bool add_chunk(Batch& batch, std::uint32_t slot, std::int64_t tokens, std::int64_t hold,
                 std::int64_t final_tokens);
  /// What every scheduler writes into a batch in the end; numbers it if it is not empty.
  void close(Batch& batch);
  /// Decodes whose last token this step samples, after the cohort advanced: out of `events`.
  void finish_decodes(Batch& batch, std::span<const DecodeSet::Event> events);
  /// Slots whose last known token this step computes begin to decode, or end; sorts
  /// `batch.finishing` by admission. Call after the cohort advanced.
  void finish_prompts(Batch& batch, std::span<const std::uint32_t> slots);
  /// The request's last token is out: frees its blocks and takes it off every list.
  void retire(std::uint32_t request, SimTime out_done);
  /// Blocks that leave attention windows before the next step of `cohort`; requests whose blocks
  /// have identities first, in running order, then the anonymous ones (their order cannot be seen).
  /// Consumes the cohort's touch events.
  void leave_windows(int cohort, std::span<const DecodeSet::Event> events, std::int64_t anonymous);
  /// Output processing common to all schedulers: first tokens, gaps, completions.
  void process_output(SimTime out_done, Batch& batch);

 private:
  /// The second tokens of the cohort's fresh requests came out with its first decodes since.
  void hand_out_second_tokens(CohortClock& clock, SimTime out_done);
  struct Watch {
    std::uint32_t request;
    std::uint64_t batch;
  };
  std::vector<Watch> watches_;
  std::unordered_map<std::uint32_t, std::uint32_t>
      own_ids_;  ///< preempted request -> identity; never iterated
  std::uint32_t next_own_id_;
  std::vector<std::uint32_t> scratch_;
  /// Chain of a request that leaves: from now on its tokens have an identity of their own.
  TokenChain named_chain(std::uint32_t request);
  void requeue(std::uint32_t slot, bool front);
};

/// Chooses what changes in an instance's next step.
///
/// `schedule` fills `batch` (empty if nothing can run) from the queue and the KV state at time
/// `now`; requests already decoding go on and are implied, so a step in which nothing changes costs
/// O(1) (performance.md 4.1). `complete` is called when a batch's tokens are out: it retires what
/// ended. Never exceeds `limits`; doing nothing is wrong while a request that fits is queued
/// (contract test: work conservation).
///
/// Registered: vllm_v1, sglang, trtllm, static_batch.
class Scheduler {
 public:
  virtual ~Scheduler() = default;
  virtual void schedule(SchedulerState& state, SimTime now, Batch& batch) = 0;
  virtual void complete(SchedulerState& state, SimTime out_done, Batch& batch) = 0;
  /// Whether `schedule` would run prompt tokens now, whatever `hold_prompts` says; asked of
  /// schedulers that obey it only.
  [[nodiscard]] virtual bool has_prompt(SchedulerState& /*state*/) const { return false; }
};

}  // namespace moesim
