#include "sim/engine/scheduler.h"

#include <algorithm>

#include "sim/base/check.h"
#include "sim/base/random.h"

namespace moesim {

void RequestTable::resize(std::size_t n) {
  arrival.assign(n, kNever);
  first_scheduled.assign(n, kNever);
  first_token.assign(n, kNever);
  second_token.assign(n, kNever);
  finish.assign(n, kNever);
  last_token.assign(n, kNever);
  output_tokens.assign(n, 0);
  generated.assign(n, 0);
  cached_tokens.assign(n, 0);
  preemptions.assign(n, 0);
  instance.assign(n, 0);
  dp_rank.assign(n, 0);
  status.assign(n, RequestStatus::kPending);
}

void Batch::clear() {
  chunks.clear();
  finishing.clear();
  irregular.clear();
  gaps.clear();
  decodes = wasted = tokens_out = admitted = hashed_blocks = 0;
  running = waiting = regular_tokens = kv_blocks_used = 0;
  regular_gap = 0;
  plain = pauses_decodes = false;
  decode_context = {};
}

SchedulerState::SchedulerState(const Workload& work, RequestTable& requests, const Limits& bounds,
                               const KvCache::Config& cache)
    : workload(&work),
      table(&requests),
      limits(bounds),
      kv(cache),
      running(bounds.priority),
      clocks(static_cast<std::size_t>(bounds.pipeline_stages)),
      next_own_id_(work.chain_ids) {
  for (int i = 0; i < bounds.pipeline_stages; ++i)
    cohorts.emplace_back(cache.block_size, cache.groups);
  running.reserve_requests(work.size());
}

TokenChain SchedulerState::chain(std::uint32_t request) const {
  TokenChain result;
  if (!kv.caching()) return result;
  if (!workload->chain_begin.empty()) {
    const std::size_t begin = workload->chain_begin[request];
    const std::size_t end = workload->chain_begin[request + 1];
    result.elements = std::span(workload->chain).subspan(begin, end - begin);
    result.last_is_open = workload->output_continues_chain && begin < end &&
                          workload->chain[end - 1].end == workload->prompt_tokens[request];
  }
  if (!own_ids_.empty() && !result.last_is_open) {
    const auto it = own_ids_.find(request);
    if (it != own_ids_.end()) result.own_id = it->second;
  }
  return result;
}

std::int64_t SchedulerState::computed(const Slot& slot) const {
  if (slot.state != Slot::State::kDecoding) return slot.computed;
  return cohorts[static_cast<std::size_t>(slot.cohort)].computed(slot.member);
}

std::int64_t SchedulerState::generated(const Slot& slot) const {
  if (slot.state != Slot::State::kDecoding) return slot.generated;
  return slot.generated + cohorts[static_cast<std::size_t>(slot.cohort)].counter() - slot.joined;
}

bool SchedulerState::decodes_in(const Slot& slot, const Batch& batch) const {
  if (slot.cohort != batch.cohort) return false;
  if (slot.state == Slot::State::kFinishing) return slot.decoded_in + 1 == batches;
  // One whose prompt ended in the batch joined after the cohort had advanced.
  return slot.state == Slot::State::kDecoding &&
         cohorts[static_cast<std::size_t>(slot.cohort)].counter() > slot.joined;
}

void SchedulerState::join(std::uint32_t s, int cohort, std::int64_t done, std::int64_t tokens) {
  Slot& slot = running[s];
  DecodeSet& set = cohorts[static_cast<std::size_t>(cohort)];
  set.join(slot.member, done);
  slot.state = Slot::State::kDecoding;
  slot.cohort = cohort;
  slot.generated = tokens;
  slot.joined = set.counter();
  const std::int64_t remaining = table->output_tokens[slot.request] - tokens;
  const auto kind = remaining > 0 ? DecodeSet::EventKind::kFinish : DecodeSet::EventKind::kWasted;
  set.at(set.counter() + std::max<std::int64_t>(remaining, 1) - 1, s, slot.member.epoch, kind);
  if (set.has_windows()) set.at(set.counter(), s, slot.member.epoch, DecodeSet::EventKind::kTouch);
}

void SchedulerState::leave(std::uint32_t s, std::int64_t held, std::int64_t dropped_at) {
  Slot& slot = running[s];
  const std::int64_t done = computed(slot);
  const std::int64_t tokens = generated(slot);
  DecodeSet& set = cohorts[static_cast<std::size_t>(slot.cohort)];
  // Until it has run a step, its windows were applied one by one, if at all.
  if (set.counter() == slot.joined) dropped_at = 0;
  set.leave(slot.member);
  slot.computed = done;
  slot.generated = std::min<std::int64_t>(tokens, table->output_tokens[slot.request]);
  kv.catch_up(slot.kv, held, dropped_at);
}

void SchedulerState::note_last_token(const Slot& slot) {
  const CohortClock& clock = clocks[static_cast<std::size_t>(slot.cohort)];
  if (clock.last_batch < collected) {
    table->last_token[slot.request] = clock.last_out;
  } else {
    watches_.push_back({slot.request, clock.last_batch});
  }
}

bool SchedulerState::output_pending(std::uint32_t request) const {
  return std::any_of(watches_.begin(), watches_.end(),
                     [&](const Watch& w) { return w.request == request; });
}

void SchedulerState::preempt(std::uint32_t s, int current) {
  Slot& slot = running[s];
  const std::uint32_t request = slot.request;
  const bool decoding = slot.state == Slot::State::kDecoding;
  const CohortClock& clock = clocks[static_cast<std::size_t>(slot.cohort)];
  const bool sampled = decoding || slot.state == Slot::State::kFinishing;
  const bool in_flight = sampled && clock.last_batch >= collected;
  if (decoding) {
    const std::int64_t done = computed(slot);
    note_last_token(slot);
    leave(s, done + (slot.ran ? 1 : 0), slot.cohort == current ? done : done - 1);
  }
  if (slot.state == Slot::State::kLate) std::erase(late, s);
  if (slot.state == Slot::State::kFinishing) note_last_token(slot);
  // Generated tokens get their identity when their output was processed (async) or when scheduled.
  const std::int64_t known = slot.computed - (limits.async && in_flight ? 1 : 0);
  kv.release(slot.kv, named_chain(request), known);
  requeue(s, true);
}

TokenChain SchedulerState::named_chain(std::uint32_t request) {
  if (kv.caching() && chain(request).own_id == TokenChain::kNoId && !chain(request).last_is_open) {
    own_ids_.emplace(request, next_own_id_++);
  }
  return chain(request);
}

/// A request whose blocks are freed leaves the running list and waits again.
void SchedulerState::requeue(std::uint32_t s, bool front) {
  const Slot& slot = running[s];
  const std::uint32_t request = slot.request;
  table->generated[request] = static_cast<std::uint32_t>(slot.generated);
  table->status[request] = RequestStatus::kWaiting;
  ++table->preemptions[request];
  ++preemptions;
  running.remove(s);
  const std::int32_t priority = workload->priority.empty() ? 0 : workload->priority[request];
  const Running::Waiting entry{priority, table->arrival[request], request};
  if (front) {
    running.push_waiting_front(entry);
  } else {
    running.push_waiting(entry);
  }
  preempted.push_back(request);
}

void SchedulerState::retract(std::uint32_t s, std::int64_t cached, bool fresh) {
  Slot& slot = running[s];
  if (slot.state == Slot::State::kDecoding) {
    const std::int64_t done = computed(slot);
    if (!fresh) note_last_token(slot);
    leave(s, done, done);
  }
  kv.release(slot.kv, named_chain(slot.request), cached, KvCache::Unnamed::kFirst);
  requeue(s, false);
}

std::uint32_t SchedulerState::admit_head(SimTime now, Batch& batch, std::uint32_t hit,
                                         std::int64_t known) {
  const std::uint32_t request = running.head();
  running.pop_head();
  const std::uint32_t s = running.admit(request);
  Slot& slot = running[s];
  slot.known = known;
  slot.computed = static_cast<std::int64_t>(hit) * kv.block_size();
  slot.generated = table->generated[request];
  kv.take_hit(slot.kv, chain(request), hit);
  const std::int64_t cached = slot.computed;
  if (arrives_with_kv(request)) slot.computed = known - 1;
  if (table->first_scheduled[request] == kNever) {
    table->first_scheduled[request] = now;
    table->cached_tokens[request] = static_cast<std::uint32_t>(cached);
    prefix_query_tokens += known;
    prefix_hit_tokens += cached;
  }
  table->status[request] = RequestStatus::kRunning;
  running.prompts.push_back(s);
  ++batch.admitted;
  return s;
}

bool SchedulerState::add_chunk(Batch& batch, std::uint32_t s, std::int64_t tokens,
                               std::int64_t hold, std::int64_t final_tokens) {
  Slot& slot = running[s];
  kv.grow(slot.kv, chain(slot.request), hold, final_tokens);
  const auto context = static_cast<std::int32_t>(slot.computed);
  slot.computed += tokens;
  const bool ends = slot.computed == slot.known;
  batch.chunks.push_back({slot.request, static_cast<std::int32_t>(tokens), context, ends});
  return ends;
}

void SchedulerState::close(Batch& batch) {
  batch.running = running.size();
  batch.waiting = static_cast<std::int64_t>(running.waiting_count());
  batch.kv_blocks_used = kv.usable_blocks() - kv.free_blocks();
  if (batch.empty()) return;
  const std::uint64_t number = batches++;
  if (batch.pauses_decodes) return;
  CohortClock& clock = clocks[static_cast<std::size_t>(batch.cohort)];
  clock.last_batch = number;
  clock.in_flight = limits.pipeline_stages > 1;
}

void SchedulerState::finish_decodes(Batch& batch, std::span<const DecodeSet::Event> events) {
  DecodeSet& set = cohorts[static_cast<std::size_t>(batch.cohort)];
  for (const DecodeSet::Event& event : events) {
    if (event.kind == DecodeSet::EventKind::kTouch) continue;
    Slot& slot = running[event.slot];
    if (!slot.member.in_set || slot.member.epoch != event.epoch) continue;
    const bool wasted = event.kind == DecodeSet::EventKind::kWasted;
    if (wasted) {
      ++batch.wasted;
    } else {
      batch.finishing.push_back(slot.request);
      if (limits.late_end() && computed(slot) + 1 < limits.max_model_len) {
        set.at(set.counter(), event.slot, slot.member.epoch, DecodeSet::EventKind::kWasted);
        continue;
      }
    }
    const std::int64_t done = computed(slot);
    leave(event.slot, done, done - 1);
    slot.state = Slot::State::kFinishing;
    slot.decoded_in = batches;
  }
}

void SchedulerState::finish_prompts(Batch& batch, std::span<const std::uint32_t> slots) {
  for (const std::uint32_t s : slots) {
    Slot& slot = running[s];
    std::erase(running.prompts, s);
    slot.cohort = batch.cohort;
    slot.generated += 1;
    const bool last = slot.generated >= table->output_tokens[slot.request];
    if (last) batch.finishing.push_back(slot.request);
    if (last && !(limits.late_end() && slot.computed + 1 < limits.max_model_len)) {
      slot.state = Slot::State::kFinishing;
      continue;
    }
    join(s, batch.cohort, slot.computed, slot.generated);
  }
  std::sort(batch.finishing.begin(), batch.finishing.end(), [&](std::uint32_t a, std::uint32_t b) {
    return running[running.slot_of(a)].order < running[running.slot_of(b)].order;
  });
}

void SchedulerState::retire(std::uint32_t request, SimTime out_done) {
  const std::uint32_t s = running.slot_of(request);
  if (s == kNoSlot) {
    running.erase_waiting(request);  // preempted while its last token was in flight
  } else {
    Slot& slot = running[s];
    if (slot.state == Slot::State::kDecoding) leave(s, computed(slot), computed(slot) - 1);
    if (slot.state == Slot::State::kLate) std::erase(late, s);
    const std::int64_t tokens =
        static_cast<std::int64_t>(workload->prompt_tokens[request]) + table->output_tokens[request];
    // vLLM looks at a last token one step late; a radix tree takes all that was computed.
    kv.release(slot.kv, chain(request), tokens - 1 - (limits.async && !limits.extra_step ? 1 : 0));
    running.remove(s);
  }
  table->generated[request] = table->output_tokens[request];
  table->status[request] = RequestStatus::kCompleted;
  table->finish[request] = out_done;
  std::uint64_t hash = mix64(request + 0x9e3779b97f4a7c15ULL * (table->instance[request] + 1ULL));
  const SimTime times[] = {table->first_scheduled[request], table->first_token[request], out_done,
                           table->cached_tokens[request], table->preemptions[request]};
  for (const SimTime time : times)
    hash = mix64(hash ^ static_cast<std::uint64_t>(time)) + 0x632be59bd9b4e019ULL;
  digest += hash;
}

void SchedulerState::leave_windows(int cohort, std::span<const DecodeSet::Event> events,
                                   std::int64_t anonymous) {
  DecodeSet& set = cohorts[static_cast<std::size_t>(cohort)];
  if (!set.has_windows()) return;
  scratch_.assign(running.prompts.begin(), running.prompts.end());
  scratch_.insert(scratch_.end(), late.begin(), late.end());
  for (const DecodeSet::Event& event : events) {
    const DecodeSet::Member& member = running[event.slot].member;
    const bool valid = member.in_set && member.epoch == event.epoch;
    if (event.kind == DecodeSet::EventKind::kTouch && valid) scratch_.push_back(event.slot);
  }
  std::sort(scratch_.begin(), scratch_.end(),
            [&](std::uint32_t a, std::uint32_t b) { return running[a].order < running[b].order; });
  for (const std::uint32_t s : scratch_) {
    Slot& slot = running[s];
    const std::int64_t done = computed(slot);
    const bool decoding = slot.state == Slot::State::kDecoding;
    if (decoding) kv.catch_up(slot.kv, done, 0);
    if (kv.drops_identity(slot.kv, done)) {
      kv.drop_outside_window(slot.kv, done);
    } else {
      anonymous += kv.outside_window(slot.kv, done);
      kv.catch_up(slot.kv, 0, done);
    }
    if (!decoding) continue;
    const std::int64_t look = set.touch(slot.member, kv.holds_windowed_identity(slot.kv));
    if (look >= 0) set.at(look, s, slot.member.epoch, DecodeSet::EventKind::kTouch);
  }
  kv.give_anonymous(anonymous);
}

void SchedulerState::hand_out_second_tokens(CohortClock& clock, SimTime out_done) {
  for (const std::uint32_t request : clock.fresh) {
    // One with a last token noted before this batch's watches fell out of the rhythm after its
    // first: its second token comes as an irregular or a resumed one.
    if (table->last_token[request] == kNever) table->second_token[request] = out_done;
  }
  clock.fresh.clear();
}

void SchedulerState::process_output(SimTime out_done, Batch& batch) {
  CohortClock& clock = clocks[static_cast<std::size_t>(batch.cohort)];
  const std::uint64_t number = collected++;
  if (batch.decodes > 0) hand_out_second_tokens(clock, out_done);
  batch.regular_gap = out_done - clock.last_out;
  batch.regular_tokens =
      batch.decodes - batch.wasted - static_cast<std::int64_t>(batch.irregular.size());
  batch.tokens_out = batch.decodes - batch.wasted;
  for (const std::uint32_t request : batch.irregular) {
    batch.gaps.push_back(out_done - table->last_token[request]);
    table->second_token[request] = std::min(table->second_token[request], out_done);
  }
  for (const PromptChunk& chunk : batch.chunks) {
    if (!chunk.completes) continue;
    ++batch.tokens_out;
    SimTime& first = table->first_token[chunk.request];
    if (first == kNever) {
      first = out_done;
      if (table->output_tokens[chunk.request] > 1) clock.fresh.push_back(chunk.request);
    } else {
      batch.gaps.push_back(out_done - table->last_token[chunk.request]);
      SimTime& second = table->second_token[chunk.request];
      second = std::min(second, out_done);
    }
    // Without decodes beside it, its next token does not come in the cohort's rhythm.
    if (batch.pauses_decodes) table->last_token[chunk.request] = out_done;
  }
  for (const Watch& watch : watches_) {
    if (watch.batch == number) table->last_token[watch.request] = out_done;
  }
  std::erase_if(watches_, [number](const Watch& watch) { return watch.batch <= number; });
  if (!batch.pauses_decodes) clock.last_out = out_done;
  if (number == clock.last_batch) clock.in_flight = false;
  for (const std::uint32_t request : batch.finishing) retire(request, out_done);
}

}  // namespace moesim
