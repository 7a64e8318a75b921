#include <algorithm>
#include <cmath>

#include "sim/base/registry.h"
#include "sim/engine/expected_output.h"
#include "sim/engine/prefix_order.h"
#include "sim/engine/scheduler.h"

namespace moesim {
namespace {

/// Expected share of the output still to come (serving-semantics 8.1): start, floor and the decode
/// steps from one to the other; tokens a request is given ahead when one was retracted.
constexpr double kStartRatio = 0.7, kFloorFactor = 0.14, kDecaySteps = 600;
constexpr double kRetractSteps = 20;

/// SGLang (0.4 on; the differences are fields of Limits): serving-semantics 8.1. A step is a batch
/// of prompts or a batch of decodes, prompts first. Decode steps touch nobody who goes on; a prompt
/// batch is only looked for while somebody waits and the last look did not find it full.
///
/// Memory is counted in tokens of one pool. Where layers have windows, only full-attention groups
/// reserve output, and content is cached when it is scheduled, as vLLM does (the real engine keeps
/// two pools).
class Sglang final : public Scheduler {
 public:
  void schedule(SchedulerState& state, SimTime now, Batch& batch) override;
  void complete(SchedulerState& state, SimTime out_done, Batch& batch) override;

 private:
  /// What a prefill batch may still take, in tokens.
  struct Room {
    double input = 0, chunk = 0;
    double reserved = 0;  ///< of the pool, for outputs to come
  };
  enum class Added { kYes, kNoMemory, kNoRoom };
  struct Joined {
    std::uint32_t request;
    std::uint64_t batch;  ///< the last one of its prompt
  };

  void start(const SchedulerState& state);
  void merge(SchedulerState& state);
  bool prefill(SchedulerState& state, SimTime now, Batch& batch);
  Room open_room(const SchedulerState& state);
  bool continue_chunk(SchedulerState& state, Batch& batch, Room& room);
  Added add(SchedulerState& state, SimTime now, Batch& batch, Room& room);
  void compute(SchedulerState& state, Batch& batch, std::uint32_t slot, std::int64_t tokens);
  void decode(SchedulerState& state, Batch& batch, bool alone);
  void make_room(SchedulerState& state);
  void retract(SchedulerState& state, std::uint32_t slot);
  [[nodiscard]] bool fits(const SchedulerState& state) const;
  void end_prompts(SchedulerState& state, Batch& batch);
  [[nodiscard]] double tokens_for(const SchedulerState& state, std::int64_t extend,
                                  std::int64_t output) const;

  bool started_ = false;
  double ratio_ = 0, least_ratio_ = 0, first_ratio_ = 0;
  double full_groups_ = 1;
  bool late_names_ = true;         ///< content is cached after it was computed
  bool full_ = false;              ///< no look for prompts until somebody leaves
  int listed_ = 0;                 ///< decoding requests as of the last look at who ended
  std::uint32_t chunk_ = kNoSlot;  ///< the one partial prompt
  bool last_was_prefill_ = false, last_was_mixed_ = false;
  std::size_t last_prompts_ = 0;            ///< requests in the last prefill batch
  std::vector<std::uint32_t> last_joined_;  ///< requests of it that decode from now on
  std::vector<Joined> fresh_;               ///< began to decode, no decode step yet
  std::vector<std::uint32_t> completing_, order_;
  std::vector<DecodeSet::Event> events_;
  ExpectedOutput output_;
  std::int64_t in_flight_ = 0;  ///< tokens sampled that the scheduler has not seen
  LongestPrefixFirst prefix_order_;
};

void Sglang::start(const SchedulerState& state) {
  if (started_) return;
  started_ = true;
  first_ratio_ = std::min(kStartRatio * state.limits.sglang.schedule_conservativeness, 1.0);
  least_ratio_ = std::min(kFloorFactor * first_ratio_, 1.0);
  ratio_ = first_ratio_;
  full_groups_ = 0;
  for (std::size_t g = 0; g < state.kv.group_count(); ++g)
    full_groups_ += state.kv.group(g).kind == AttentionKind::kFull ? 1 : 0;
  late_names_ = !state.cohorts.front().has_windows();
}

void Sglang::schedule(SchedulerState& state, SimTime now, Batch& batch) {
  start(state);
  batch.clear();
  batch.cohort = 0;
  state.preempted.clear();
  completing_.clear();
  events_.clear();
  merge(state);
  last_was_prefill_ = prefill(state, now, batch);
  last_was_mixed_ = false;
  if (!last_was_prefill_) {
    decode(state, batch, true);
    // Nobody decodes and nothing is in flight: the loop turns once more, which costs no time.
    if (batch.empty() && state.collected == state.batches)
      last_was_prefill_ = prefill(state, now, batch);
    batch.pauses_decodes = last_was_prefill_;
  } else if (state.limits.sglang.enable_mixed_chunk && state.cohorts.front().size() > 0 &&
             state.cohorts.front().blocks_needed() <= state.kv.free_blocks()) {
    last_was_mixed_ = true;
    decode(state, batch, false);
  } else {
    state.leave_windows(0, {}, 0);
    batch.pauses_decodes = true;
  }
  end_prompts(state, batch);
  state.close(batch);
}

/// The last prefill batch joins the decodes; whoever ended with its first token, or goes on with
/// its prompt, makes room.
void Sglang::merge(SchedulerState& state) {
  if (chunk_ != kNoSlot && late_names_) {
    Slot& slot = state.running[chunk_];
    state.kv.insert(slot.kv, state.chain(slot.request), slot.computed, true);
  }
  if (!last_was_prefill_) return;
  const auto alive = static_cast<int>(std::count_if(
      last_joined_.begin(), last_joined_.end(),
      [&](std::uint32_t request) { return state.running.slot_of(request) != kNoSlot; }));
  if (last_was_mixed_) {
    const int now = state.cohorts.front().size();
    if (now < listed_ + static_cast<int>(last_prompts_)) full_ = false;
    listed_ = now;
  } else {
    if (alive < static_cast<int>(last_prompts_)) full_ = false;
    listed_ += alive;
  }
}

// ---- prompts ------------------------------------------------------------------------------------

bool Sglang::prefill(SchedulerState& state, SimTime now, Batch& batch) {
  const bool chunked = chunk_ != kNoSlot;
  if ((full_ || state.running.none_waiting()) && !chunked) return false;
  const int held = state.running.size() - (chunked ? 1 : 0);
  const int most = state.limits.max_num_seqs - std::max(listed_, held);
  if (most <= 0 && !chunked) {
    full_ = true;
    return false;
  }
  if (state.limits.sglang.longest_prefix_first) prefix_order_.apply(state);
  Room room = open_room(state);
  if (chunked && !continue_chunk(state, batch, room)) return false;
  while (!state.running.none_waiting()) {
    if (static_cast<int>(batch.chunks.size()) >= most) full_ = true;
    if (full_) break;
    const Added added = add(state, now, batch, room);
    if (added == Added::kNoMemory) full_ = true;
    if (added != Added::kYes || room.input <= 0 || room.chunk <= 0) break;
  }
  return !batch.chunks.empty();
}

Sglang::Room Sglang::open_room(const SchedulerState& state) {
  const Limits& limits = state.limits;
  Room room;
  room.input = limits.sglang.max_prefill_tokens;
  room.chunk = limits.chunked_prefill
                   ? std::max(limits.max_num_batched_tokens, state.kv.block_size())
                   : 1e18;
  // A decode server computes no prompts: only memory and the number of requests bound who joins.
  if (limits.kv_in_place) room.input = room.chunk = 1e18;
  const std::int64_t to_come = output_.tokens(state) + in_flight_;
  room.reserved = full_groups_ * ratio_ * static_cast<double>(to_come);
  if (limits.sglang.enable_mixed_chunk) {  // the decodes that ride along
    room.input -= listed_;
    room.chunk -= listed_;
    room.reserved += full_groups_ * listed_;
  }
  return room;
}

/// Pool tokens of `extend` new prompt tokens and `output` tokens to come, over all groups.
double Sglang::tokens_for(const SchedulerState& state, std::int64_t extend,
                          std::int64_t output) const {
  double sum = full_groups_ * static_cast<double>(extend + output);
  for (std::size_t g = 0; g < state.kv.group_count(); ++g) {
    const KvGroup& group = state.kv.group(g);
    if (group.kind == AttentionKind::kFull) continue;
    const std::int64_t reach = group.window + state.limits.max_num_batched_tokens;
    sum += static_cast<double>(std::min(extend + output, reach));
  }
  return sum;
}

/// The partial prompt goes first. False if no block is left for it: then the decodes go on.
bool Sglang::continue_chunk(SchedulerState& state, Batch& batch, Room& room) {
  const std::uint32_t s = chunk_;
  const Slot& slot = state.running[s];
  const int page = state.kv.block_size();
  std::int64_t n = slot.known - slot.computed;
  if (static_cast<double>(n) > room.chunk) {
    n = static_cast<std::int64_t>(room.chunk) / page * page;
  }
  while (n > 0 && state.kv.blocks_to_grow(slot.kv, slot.computed + n) > state.kv.free_blocks())
    n = (n - 1) / page * page / 2 / page * page;
  if (n <= 0) return false;
  chunk_ = kNoSlot;
  compute(state, batch, s, n);
  const bool done = state.running[s].computed == state.running[s].known;
  if (!done) chunk_ = s;
  room.input -= static_cast<double>(n);
  room.chunk -= static_cast<double>(n);
  if (done) room.reserved += full_groups_ * ExpectedOutput::clipped(state, s);
  return true;
}

/// The head of the queue joins the batch, whole or with its first chunk.
Sglang::Added Sglang::add(SchedulerState& state, SimTime now, Batch& batch, Room& room) {
  const std::uint32_t request = state.running.head();
  if (state.output_pending(request)) return Added::kNoRoom;
  const RequestTable& table = *state.table;
  const int page = state.kv.block_size();
  const std::int64_t known =
      static_cast<std::int64_t>(state.workload->prompt_tokens[request]) + table.generated[request];
  const TokenChain chain = state.chain(request);
  const std::uint32_t hit = state.kv.find_hit(chain, known);
  const std::int64_t cached = static_cast<std::int64_t>(hit) * page;
  const bool arrives = state.arrives_with_kv(request);
  std::int64_t n = state.to_compute(request, known, cached);
  const std::int64_t output = std::min<std::int64_t>(
      table.output_tokens[request] - std::int64_t{table.generated[request]}, ExpectedOutput::kClip);
  const auto idle_hit = static_cast<double>(state.kv.blocks_needed(chain, hit, cached) * page);
  const double free = static_cast<double>(state.kv.free_blocks()) * page - room.reserved;
  const bool alone = state.running.size() == 0;  // no request may wait for ever
  if (!alone && tokens_for(state, arrives ? known - cached : n, output) + idle_hit >= free)
    return Added::kNoMemory;
  const std::int64_t pages = (n + page - 1) / page * page;
  if (static_cast<double>(pages) >= room.input && !batch.chunks.empty()) return Added::kNoRoom;
  const bool whole = static_cast<double>(pages) <= room.chunk;
  if (!whole) n = static_cast<std::int64_t>(room.chunk) / page * page;
  if (n <= 0) return Added::kNoRoom;
  if (state.kv.blocks_needed(chain, hit, arrives ? known : cached + n) > state.kv.free_blocks())
    return Added::kNoMemory;

  const std::uint32_t s = state.admit_head(now, batch, hit, known);
  compute(state, batch, s, n);
  const double used = static_cast<double>(whole ? pages : n);
  room.input -= used;
  room.chunk -= used;
  if (whole) {
    room.reserved += full_groups_ * static_cast<double>(output);
  } else {
    chunk_ = s;
    return Added::kNoRoom;
  }
  return Added::kYes;
}

void Sglang::compute(SchedulerState& state, Batch& batch, std::uint32_t s, std::int64_t tokens) {
  const std::int64_t target = state.running[s].computed + tokens;
  if (state.add_chunk(batch, s, tokens, target, late_names_ ? 0 : target)) completing_.push_back(s);
}

/// Requests whose prompt ends here decode from the next decode step on.
void Sglang::end_prompts(SchedulerState& state, Batch& batch) {
  state.finish_prompts(batch, completing_);
  last_prompts_ = batch.chunks.size();
  last_joined_.clear();
  for (const std::uint32_t s : completing_) {
    const Slot& slot = state.running[s];
    if (slot.state != Slot::State::kDecoding) continue;
    last_joined_.push_back(slot.request);
    if (ExpectedOutput::left(state, s) <= 0) continue;
    output_.join(state, s);
    // Beside decodes it got its first token in their rhythm.
    if (batch.pauses_decodes) fresh_.push_back({slot.request, state.batches});
  }
  in_flight_ += batch.decodes - batch.wasted + static_cast<std::int64_t>(completing_.size());
}

// ---- decodes ------------------------------------------------------------------------------------

/// One token for every decoding request. `alone`: not beside prompts, so the scheduler looks at who
/// ended and at the memory first.
void Sglang::decode(SchedulerState& state, Batch& batch, bool alone) {
  DecodeSet& set = state.cohorts.front();
  if (alone) {
    if (set.size() < listed_ || set.size() == 0) full_ = false;
    listed_ = set.size();
    if (listed_ == 0) return;
  }
  const std::int64_t anonymous = set.blocks_dropped();
  set.take_events(events_);
  state.leave_windows(0, events_, anonymous);
  if (alone) make_room(state);
  state.kv.take_uncounted(set.blocks_needed());
  batch.decodes = set.size();
  batch.decode_context = set.context();
  for (const Joined& joined : fresh_) {
    const std::uint32_t s = state.running.slot_of(joined.request);
    if (s != kNoSlot && state.running[s].state == Slot::State::kDecoding)
      batch.irregular.push_back(joined.request);
  }
  fresh_.clear();
  if (!events_.empty()) output_.look(state);
  set.advance();
  state.finish_decodes(batch, events_);
  output_.step(batch.finishing.size());
}

/// Whether every decoding request gets its next token.
bool Sglang::fits(const SchedulerState& state) const {
  const DecodeSet& set = state.cohorts.front();
  if (set.blocks_needed() > state.kv.free_blocks()) return false;
  const std::int64_t ahead = state.limits.sglang.retract_decode_steps;
  return ahead == 0 || state.kv.free_blocks() * state.kv.block_size() >= ahead * set.size();
}

/// Retracts requests until the others fit: fewest outputs first, of equals the longest prompt.
void Sglang::make_room(SchedulerState& state) {
  const DecodeSet& set = state.cohorts.front();
  if (set.blocks_needed() <= state.kv.free_blocks()) {
    ratio_ = std::max(ratio_ - (first_ratio_ - least_ratio_) / kDecaySteps, least_ratio_);
    return;
  }
  order_.clear();
  for (std::uint32_t s = state.running.first(); s != kNoSlot; s = state.running[s].next) {
    if (state.running[s].state == Slot::State::kDecoding) order_.push_back(s);
  }
  const auto key = [&](std::uint32_t s) {
    const Slot& slot = state.running[s];
    return std::pair(-state.generated(slot),
                     std::int64_t{state.workload->prompt_tokens[slot.request]});
  };
  std::stable_sort(order_.begin(), order_.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return key(a) < key(b); });
  do {
    if (order_.size() == 1) break;
    retract(state, order_.back());
    order_.pop_back();
  } while (!fits(state));
  if (set.blocks_needed() > state.kv.free_blocks() && chunk_ != kNoSlot) {
    // Not in the real engine, which would stop here: the partial prompt holds the rest.
    state.retract(chunk_, state.running[chunk_].computed, true);
    chunk_ = kNoSlot;
  }
  // Nor this: requests whose last token is in flight hold the rest.
  if (set.blocks_needed() > state.kv.free_blocks()) {
    retract(state, order_.back());
    order_.pop_back();
  }
  full_ = false;
  listed_ = set.size();
  if (order_.empty()) return;
  double made = 0, most = 0;
  for (const std::uint32_t s : order_) {
    made += static_cast<double>(state.generated(state.running[s]));
    most += state.table->output_tokens[state.running[s].request];
  }
  ratio_ = std::min(1.0, (made + kRetractSteps * static_cast<double>(order_.size())) / most);
}

void Sglang::retract(SchedulerState& state, std::uint32_t s) {
  const Slot& slot = state.running[s];
  const auto fresh = std::find_if(fresh_.begin(), fresh_.end(), [&](const Joined& joined) {
    return joined.request == slot.request;
  });
  const bool is_fresh = fresh != fresh_.end();
  const bool prompt_cached = !late_names_ || !is_fresh || fresh->batch < state.collected;
  output_.leave(state, s);
  state.retract(s, prompt_cached ? slot.known : 0, is_fresh);
}

void Sglang::complete(SchedulerState& state, SimTime out_done, Batch& batch) {
  for (const PromptChunk& chunk : batch.chunks) {
    if (!chunk.completes || !late_names_) continue;
    const std::uint32_t s = state.running.slot_of(chunk.request);
    if (s == kNoSlot) continue;
    Slot& slot = state.running[s];
    state.kv.insert(slot.kv, state.chain(chunk.request), slot.known, true);
  }
  state.process_output(out_done, batch);
  in_flight_ -= batch.tokens_out;
  const bool idle =
      state.running.size() == 0 && state.running.none_waiting() && state.collected == state.batches;
  if (idle) ratio_ = first_ratio_;
}

const Register<Scheduler> kSglang{
    "sglang", "SGLang: prompts first in batches of their own, expected output reserved, retraction",
    [](Reader&) { return std::make_unique<Sglang>(); }};

}  // namespace
}  // namespace moesim
