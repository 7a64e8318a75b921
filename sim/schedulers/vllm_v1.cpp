#include <algorithm>

#include "sim/base/check.h"
#include "sim/base/registry.h"
#include "sim/engine/scheduler.h"

namespace moesim {
namespace {

/// vLLM V1 (0.9 to 0.21; the differences are fields of Limits): serving-semantics 1.1-1.9,
/// evaluated lazily as in performance.md 4.1. Phase A (running requests) takes O(1) while everybody
/// gets what they ask for; otherwise that step walks the running list. Phase B (admission) always
/// touches the requests it admits.
class VllmV1 final : public Scheduler {
 public:
  void schedule(SchedulerState& state, SimTime now, Batch& batch) override;
  void complete(SchedulerState& state, SimTime out_done, Batch& batch) override {
    state.process_output(out_done, batch);
  }

 private:
  static int pick_cohort(const SchedulerState& state);
  bool run_all(SchedulerState& state, Batch& batch, int& budget);
  void walk(SchedulerState& state, Batch& batch, int& budget);
  bool serve(SchedulerState& state, Batch& batch, std::uint32_t s, int& budget);
  void settle_walk(SchedulerState& state, Batch& batch);
  bool make_room(SchedulerState& state, Batch& batch, std::uint32_t for_slot, int& budget);
  static std::uint32_t victim(const SchedulerState& state);
  void admit_waiting(SchedulerState& state, SimTime now, Batch& batch, int& budget);
  enum class Admission { kDone, kNoBlocks, kNotNow };
  Admission admit_head(SchedulerState& state, SimTime now, Batch& batch, int& budget);
  void add_chunk(SchedulerState& state, Batch& batch, std::uint32_t slot, int tokens);
  static int wanted(const SchedulerState& state, const Slot& slot, int budget);

  std::vector<DecodeSet::Event> events_;
  int skipped_ = 0;                        ///< requests the walk passes over next
  std::vector<std::uint32_t> completing_;  ///< slots whose prompt ends in this step
  // The head of the queue did not fit: nothing to do until blocks were freed or cached content
  // changed.
  std::uint32_t blocked_request_ = kNoRequest;
  std::uint64_t blocked_changes_ = 0;
  std::int64_t blocked_need_ = 0;
};

void VllmV1::schedule(SchedulerState& state, SimTime now, Batch& batch) {
  batch.clear();
  batch.cohort = pick_cohort(state);
  state.preempted.clear();
  completing_.clear();
  events_.clear();
  DecodeSet& set = state.cohorts[static_cast<std::size_t>(batch.cohort)];
  const std::int64_t anonymous = set.blocks_dropped();
  set.take_events(events_);
  state.leave_windows(batch.cohort, events_, anonymous);

  int budget = state.limits.max_num_batched_tokens;
  if (!run_all(state, batch, budget)) walk(state, batch, budget);
  if (state.preempted.empty()) admit_waiting(state, now, batch, budget);

  batch.decodes = set.size();
  batch.decode_context = set.context();
  set.advance();
  state.finish_decodes(batch, events_);
  state.finish_prompts(batch, completing_);
  state.close(batch);
}

/// The cohort whose requests can run: the one with decodes among those not in flight.
int VllmV1::pick_cohort(const SchedulerState& state) {
  int idle = 0;
  for (std::size_t c = state.cohorts.size(); c-- > 0;) {
    if (state.clocks[c].in_flight) continue;
    idle = static_cast<int>(c);
    if (state.cohorts[c].size() > 0) return idle;
  }
  return idle;
}

/// New tokens a partly computed prompt gets from `budget`.
int VllmV1::wanted(const SchedulerState& state, const Slot& slot, int budget) {
  std::int64_t n = slot.known - slot.computed;
  const int threshold = state.limits.long_prefill_token_threshold;
  if (threshold > 0) n = std::min<std::int64_t>(n, threshold);
  return static_cast<int>(std::min<std::int64_t>(n, budget));
}

/// Phase A without looking at anybody: possible if all blocks are there and partial prompts come
/// last in the list.
bool VllmV1::run_all(SchedulerState& state, Batch& batch, int& budget) {
  DecodeSet& set = state.cohorts[static_cast<std::size_t>(batch.cohort)];
  if (!state.late.empty() || set.size() > budget) return false;
  std::int64_t need = set.blocks_needed();
  std::uint32_t tail = state.running.last();
  int left = budget - set.size();
  for (std::size_t i = state.running.prompts.size(); i-- > 0; tail = state.running[tail].prev) {
    if (state.running.prompts[i] != tail) return false;
  }
  for (const std::uint32_t s : state.running.prompts) {
    const Slot& slot = state.running[s];
    const int n = wanted(state, slot, left);
    need += state.kv.blocks_to_grow(slot.kv, slot.computed + n);
    left -= n;
  }
  if (need > state.kv.free_blocks()) return false;
  state.kv.take_uncounted(set.blocks_needed());
  budget -= set.size();
  for (const std::uint32_t s : state.running.prompts) {
    if (budget == 0) break;
    add_chunk(state, batch, s, wanted(state, state.running[s], budget));
    budget -= batch.chunks.back().tokens;
  }
  return true;
}

void VllmV1::add_chunk(SchedulerState& state, Batch& batch, std::uint32_t s, int tokens) {
  Slot& slot = state.running[s];
  const std::int64_t target = slot.computed + tokens;
  const std::int64_t hold = std::min<std::int64_t>(target, state.limits.max_model_len);
  if (state.add_chunk(batch, s, tokens, hold, target)) completing_.push_back(s);
  if (state.kv.caching()) batch.hashed_blocks += tokens / state.kv.block_size();
  slot.ran = true;
}

/// One request of the walk: makes room for it and runs it. False if it was evicted itself.
bool VllmV1::serve(SchedulerState& state, Batch& batch, std::uint32_t s, int& budget) {
  Slot& slot = state.running[s];
  const bool prompt = slot.state == Slot::State::kPrompt;
  const int n = prompt ? wanted(state, slot, budget) : 1;
  const std::int64_t done = state.computed(slot);
  const auto need = [&] {
    if (prompt || slot.state == Slot::State::kLate)
      return state.kv.blocks_to_grow(slot.kv, done + n);
    return done % state.kv.block_size() == 0 ? state.cohorts.front().growing_groups() : 0;
  };
  while (need() > state.kv.free_blocks())
    if (make_room(state, batch, s, budget)) return false;
  if (prompt) {
    add_chunk(state, batch, s, n);
  } else if (slot.state == Slot::State::kLate) {
    state.kv.grow(slot.kv, state.chain(slot.request), done + 1, 0);
  } else {
    state.kv.take_uncounted(need());
  }
  slot.ran = true;
  budget -= n;
  return true;
}

/// Phase A as serving-semantics 1.3 writes it.
void VllmV1::walk(SchedulerState& state, Batch& batch, int& budget) {
  batch.plain = true;
  skipped_ = 0;
  for (std::uint32_t s = state.running.first(); s != kNoSlot; s = state.running[s].next)
    state.running[s].ran = false;
  std::uint32_t s = state.running.first();
  while (s != kNoSlot && budget > 0) {
    Slot& slot = state.running[s];
    const bool waits_for_output =
        slot.state == Slot::State::kDecoding && slot.cohort != batch.cohort;
    if (slot.state == Slot::State::kFinishing || waits_for_output) {
      s = slot.next;
      continue;
    }
    if (!serve(state, batch, s, budget)) break;
    s = slot.next;
    for (; skipped_ > 0 && s != kNoSlot; --skipped_) s = state.running[s].next;
  }
  settle_walk(state, batch);
}

/// Preempts one victim; true if it was `for_slot` itself.
bool VllmV1::make_room(SchedulerState& state, Batch& batch, std::uint32_t for_slot, int& budget) {
  const std::uint32_t v = victim(state);
  const Slot& slot = state.running[v];
  // vLLM moves its list index back only for a victim it had served (1.3): one passed over makes it
  // pass over the next.
  if (!slot.ran && slot.order < state.running[for_slot].order) ++skipped_;
  if (slot.ran) {  // by priority the victim may have been served already
    if (slot.state == Slot::State::kPrompt) {
      const auto chunk =
          std::find_if(batch.chunks.begin(), batch.chunks.end(),
                       [&](const PromptChunk& c) { return c.request == slot.request; });
      MOESIM_CHECK(chunk != batch.chunks.end(), "a prompt that ran has a chunk");
      budget += chunk->tokens;
      batch.chunks.erase(chunk);
      std::erase(completing_, v);
    } else {
      budget += 1;
    }
  }
  state.preempt(v, batch.cohort);
  return v == for_slot;
}

std::uint32_t VllmV1::victim(const SchedulerState& state) {
  if (!state.limits.priority) return state.running.last();
  std::uint32_t worst = state.running.first();
  const auto key = [&](std::uint32_t s) {
    const std::uint32_t request = state.running[s].request;
    const std::int32_t priority =
        state.workload->priority.empty() ? 0 : state.workload->priority[request];
    return std::pair(priority, state.table->arrival[request]);
  };
  for (std::uint32_t s = state.running[worst].next; s != kNoSlot; s = state.running[s].next) {
    if (key(s) > key(worst)) worst = s;
  }
  return worst;
}

/// After a walk: who was left out leaves the cohort, who was late and ran joins it.
void VllmV1::settle_walk(SchedulerState& state, Batch& batch) {
  for (std::uint32_t s = state.running.first(); s != kNoSlot; s = state.running[s].next) {
    Slot& slot = state.running[s];
    const bool mine = slot.cohort == batch.cohort;
    if (slot.state == Slot::State::kDecoding && mine && !slot.ran) {
      const std::int64_t done = state.computed(slot);
      state.note_last_token(slot);
      state.leave(s, done, done);
      slot.state = Slot::State::kLate;
      state.late.push_back(s);
    } else if (slot.state == Slot::State::kLate && slot.ran) {
      std::erase(state.late, s);
      batch.irregular.push_back(slot.request);
      state.join(s, batch.cohort, slot.computed, slot.generated);
      DecodeSet& set = state.cohorts[static_cast<std::size_t>(batch.cohort)];
      // Its window was applied in this step already; events at this counter are taken here, the
      // others stay.
      const std::size_t before = events_.size();
      set.take_events(events_);
      for (std::size_t i = before; i < events_.size(); ++i) {
        if (events_[i].kind == DecodeSet::EventKind::kTouch) {
          const std::int64_t look =
              set.touch(slot.member, state.kv.holds_windowed_identity(slot.kv));
          if (look >= 0) set.at(look, s, slot.member.epoch, DecodeSet::EventKind::kTouch);
        }
      }
    }
  }
}

void VllmV1::admit_waiting(SchedulerState& state, SimTime now, Batch& batch, int& budget) {
  while (!state.running.none_waiting() && budget > 0) {
    if (state.running.size() >= state.limits.max_num_seqs) return;
    const bool blocked = state.running.head() == blocked_request_ &&
                         state.kv.changes() == blocked_changes_ &&
                         state.kv.free_blocks() < blocked_need_;
    if (blocked) return;
    const Admission admission = admit_head(state, now, batch, budget);
    if (admission == Admission::kDone) continue;
    if (admission == Admission::kNoBlocks) {
      blocked_request_ = state.running.head();
      blocked_changes_ = state.kv.changes();
    }
    return;
  }
}

VllmV1::Admission VllmV1::admit_head(SchedulerState& state, SimTime now, Batch& batch,
                                     int& budget) {
  const std::uint32_t request = state.running.head();
  if (state.output_pending(request)) return Admission::kNotNow;
  RequestTable& table = *state.table;
  const std::int64_t known =
      static_cast<std::int64_t>(state.workload->prompt_tokens[request]) + table.generated[request];
  const TokenChain chain = state.chain(request);
  const std::uint32_t hit = state.kv.find_hit(chain, known);
  const std::int64_t cached = static_cast<std::int64_t>(hit) * state.kv.block_size();
  std::int64_t n = state.to_compute(request, known, cached);
  const int threshold = state.limits.long_prefill_token_threshold;
  if (threshold > 0) n = std::min<std::int64_t>(n, threshold);
  if (!state.limits.chunked_prefill && n > budget) return Admission::kNotNow;
  n = std::min<std::int64_t>(n, budget);
  if (state.limits.reserve_full_isl) {
    const std::int64_t need = state.kv.blocks_needed_in_full(chain, hit, known);
    if (need > state.kv.free_blocks()) {
      // Evictions can shorten the hit. In a full-attention group that never lowers the need, in a
      // windowed one it may.
      blocked_need_ = need - state.kv.idle_windowed_hit(chain, hit);
      return Admission::kNoBlocks;
    }
  }
  const std::int64_t held = state.arrives_with_kv(request) ? known : cached + n;
  const std::int64_t slots = std::min<std::int64_t>(held, state.limits.max_model_len);
  if (state.kv.blocks_needed(chain, hit, slots) > state.kv.free_blocks()) {
    // Another step may leave a smaller budget, or evictions a shorter hit: the least is one block
    // per group.
    blocked_need_ = static_cast<std::int64_t>(state.kv.group_count());
    return Admission::kNoBlocks;
  }

  blocked_request_ = kNoRequest;
  const std::uint32_t s = state.admit_head(now, batch, hit, known);
  add_chunk(state, batch, s, static_cast<int>(n));
  budget -= static_cast<int>(n);
  return Admission::kDone;
}

const Register<Scheduler> kVllmV1{
    "vllm_v1", "vLLM V1: running first, chunked prefill, preemption by recompute",
    [](Reader&) { return std::make_unique<VllmV1>(); }};

}  // namespace
}  // namespace moesim
