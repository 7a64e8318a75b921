#include <algorithm>
#include <vector>

#include "sim/base/registry.h"
#include "sim/engine/scheduler.h"

namespace moesim {
namespace {

/// Static batching as in a plain `generate` loop: up to max_num_seqs queued requests start
/// together, every prompt is padded to the longest, all decode until the longest output is done,
/// and all answers return then. Padding costs compute, KV and attention like real tokens. The first
/// token counts when the prompt pass ends, as if it were streamed.
class StaticBatch final : public Scheduler {
 public:
  void schedule(SchedulerState& state, SimTime now, Batch& batch) override;
  void complete(SchedulerState& state, SimTime out_done, Batch& batch) override;

 private:
  bool start(SchedulerState& state, SimTime now, Batch& batch);
  static std::int64_t blocks(const SchedulerState& state, std::int64_t prompt, std::int64_t output);

  std::vector<std::uint32_t> members_;
  std::vector<std::uint32_t> outputs_;  ///< ascending: how many still need a token at step i
  std::int64_t prompt_ = 0, output_ = 0, made_ = 0;
  std::int64_t blocks_held_ = 0;
  bool in_flight_ = false;
};

std::int64_t StaticBatch::blocks(const SchedulerState& state, std::int64_t prompt,
                                 std::int64_t output) {
  std::int64_t sum = 0;
  for (std::size_t g = 0; g < state.kv.group_count(); ++g)
    sum += state.kv.blocks_for(g, prompt + output);
  return sum;
}

/// Takes requests from the head of the queue while the padded batch fits into the KV memory.
bool StaticBatch::start(SchedulerState& state, SimTime now, Batch& batch) {
  members_.clear();
  outputs_.clear();
  prompt_ = output_ = 0;
  while (!state.running.none_waiting() &&
         static_cast<int>(members_.size()) < state.limits.max_num_seqs) {
    const std::uint32_t request = state.running.head();
    const std::int64_t prompt =
        std::max<std::int64_t>(prompt_, state.workload->prompt_tokens[request]);
    const std::int64_t output =
        std::max<std::int64_t>(output_, state.table->output_tokens[request]);
    const auto count = static_cast<std::int64_t>(members_.size()) + 1;
    if (count * blocks(state, prompt, output) > state.kv.usable_blocks()) break;
    prompt_ = prompt;
    output_ = output;
    state.running.pop_head();
    Slot& slot = state.running[state.running.admit(request)];
    slot.state = Slot::State::kFinishing;
    state.table->status[request] = RequestStatus::kRunning;
    state.table->first_scheduled[request] = now;
    members_.push_back(request);
    outputs_.push_back(state.table->output_tokens[request]);
  }
  if (members_.empty()) return false;
  std::sort(outputs_.begin(), outputs_.end());
  blocks_held_ = static_cast<std::int64_t>(members_.size()) * blocks(state, prompt_, output_);
  state.kv.take_uncounted(blocks_held_);
  made_ = 0;
  for (const std::uint32_t request : members_) {
    batch.chunks.push_back({request, static_cast<std::int32_t>(prompt_), 0, true});
  }
  batch.admitted = static_cast<int>(members_.size());
  return true;
}

void StaticBatch::schedule(SchedulerState& state, SimTime now, Batch& batch) {
  batch.clear();
  state.preempted.clear();
  if (in_flight_) return;
  if (members_.empty()) {
    if (!start(state, now, batch)) return;
  } else {
    batch.decodes = static_cast<int>(members_.size());
    for (const std::uint32_t request : members_) {
      Slot& slot = state.running[state.running.slot_of(request)];
      // Who is done goes on with its last token.
      slot.computed = state.workload->prompt_tokens[request] +
                      std::min<std::int64_t>(made_, state.table->output_tokens[request]);
      slot.decoded_in = state.batches;
    }
    const auto done =
        std::upper_bound(outputs_.begin(), outputs_.end(), static_cast<std::uint32_t>(made_));
    batch.wasted = static_cast<int>(done - outputs_.begin());
    for (std::size_t g = 0; g < state.kv.group_count(); ++g) {
      const KvGroup& group = state.kv.group(g);
      std::int64_t context = prompt_ + made_;
      if (group.kind == AttentionKind::kSliding)
        context = std::min<std::int64_t>(context, group.window);
      if (group.kind == AttentionKind::kChunked) context = (context - 1) % group.window + 1;
      batch.decode_context[g] = context * batch.decodes;
    }
  }
  if (++made_ == output_) batch.finishing = members_;
  in_flight_ = true;
  state.clocks.front().last_batch = state.batches++;
  batch.running = state.running.size();
  batch.waiting = static_cast<std::int64_t>(state.running.waiting_count());
  batch.kv_blocks_used = blocks_held_;
}

void StaticBatch::complete(SchedulerState& state, SimTime out_done, Batch& batch) {
  in_flight_ = false;
  state.process_output(out_done, batch);
  if (batch.finishing.empty()) return;
  members_.clear();
  state.kv.give_anonymous(blocks_held_);
}

const Register<Scheduler> kStaticBatch{"static_batch",
                                       "pad, decode until the longest is done, then the next batch",
                                       [](Reader&) { return std::make_unique<StaticBatch>(); }};

}  // namespace
}  // namespace moesim
