#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "sim/base/ids.h"
#include "sim/engine/time.h"
#include "sim/steptime/step_time.h"

namespace moesim {

enum class Phase : std::uint8_t { kPrefill, kDecode, kMixed };

/// A step on one pipeline stage.
struct StageSpan {
  SimTime start = 0, end = 0;
};

/// One finished step of an instance.
struct StepRecord {
  InstanceId instance;
  std::uint64_t step = 0;  ///< per instance, from 0
  SimTime scheduled = 0;   ///< schedule() began
  SimTime launched = 0;    ///< input prepared, launch issued
  SimTime gpu_start = 0, gpu_end = 0;
  SimTime gap = 0;  ///< GPU idle before it for the host's sake (0 after an idle time without work)
  SimTime out_done = 0;  ///< tokens handed out
  Phase phase = Phase::kDecode;
  GraphMode graph = GraphMode::kNone;
  int decodes = 0;         ///< sequences that decoded one token
  int prefill_tokens = 0;  ///< prompt tokens in chunks
  int sequences = 0;       ///< sequences in the batches of all ranks
  int most_sequences = 0;  ///< in the largest batch of a rank
  bool plain = false;      ///< some rank's scheduler walked every request
  int padded_tokens = 0;
  double rank_imbalance = 0;  ///< of the experts' ranks, as in StepCost
  int sampled_rows = 0;       ///< rows of logits: decodes (wasted ones too) and completed prompts
  int tokens_out = 0;         ///< output tokens produced (decodes + prompts completed)
  int running = 0, waiting = 0;
  std::int64_t kv_blocks_used = 0;
  /// First to last, each after the one before; between them a step may wait. Valid during the call.
  std::span<const StageSpan> stages;
  const TermTimes* terms = nullptr;  ///< over all stages; valid during the call
  /// Nanoseconds of the step by class; valid during the call.
  const std::array<double, kProvenanceCount>* provenance_ns = nullptr;
};

/// Told what happened; cannot change it. The engine calls at most one observer.
class Observer {
 public:
  virtual ~Observer() = default;
  /// At `out_done` of every step, in step order per instance.
  virtual void step(const StepRecord& record) = 0;
  /// `count` sequences of one instance each got a token `gap` after their previous one.
  virtual void inter_token(InstanceId instance, SimTime gap, std::int64_t count) = 0;
  virtual void preempted(InstanceId instance, RequestId request, SimTime when) = 0;
  virtual void finished(InstanceId instance, RequestId request, SimTime when) = 0;
};

/// Sums of one instance over a run: what both ways of evaluating a step know.
struct InstanceTotals {
  std::uint64_t steps = 0;
  std::uint64_t plain_steps = 0;  ///< steps that needed the plain walk (performance.md 4.1)
  std::uint64_t dummy_steps = 0;  ///< after a wave of requests, as far as any request met them
  std::int64_t step_ns = 0;       ///< sum of times from a step's start to its end
  std::int64_t gap_ns = 0;        ///< exposed host time between steps while work was waiting
  std::int64_t blocks_taken = 0;
  std::int64_t blocks_evicted = 0;  ///< cached blocks overwritten
  std::int64_t preemptions = 0;
  std::int64_t prefix_query_tokens = 0;  ///< prompt tokens looked up
  std::int64_t prefix_hit_tokens = 0;
  std::int64_t kv_blocks_total = 0;  ///< usable
  std::int64_t kv_blocks_peak = 0;
};

}  // namespace moesim
