#include "sim/engine/instance.h"

#include <algorithm>
#include <utility>

#include "sim/base/check.h"

namespace moesim {
namespace {

SimTime from_us(double us) {
  return to_sim_time(Seconds(us * 1e-6));
}

}  // namespace

Instance::Instance(const Config& config, const Workload& workload, RequestTable& table,
                   std::unique_ptr<Scheduler> scheduler, StepPricer& pricer)
    : config_(config),
      scheduler_(std::move(scheduler)),
      pricer_(&pricer),
      state_(workload, table, config.limits, config.kv),
      ring_(static_cast<std::size_t>(config.queue_depth) + 1),
      stage_free_(static_cast<std::size_t>(pricer.stages()), 0) {
  totals_.kv_blocks_total = config.kv.usable_blocks;
}

void Instance::arrive(std::uint32_t request, SimTime now) {
  RequestTable& table = *state_.table;
  table.arrival[request] = now;
  table.status[request] = RequestStatus::kWaiting;
  table.instance[request] = static_cast<std::uint16_t>(config_.id.value);
  token_load_ += static_cast<std::int64_t>(state_.workload->prompt_tokens[request]) +
                 table.output_tokens[request];
  const ApiCost& api = config_.api;
  if (api.request_us <= 0) {
    enqueue(request);
  } else {
    const double tokens = static_cast<double>(state_.workload->prompt_tokens[request]);
    api_free_ = std::max(api_free_, now) + from_us(api.per_prompt_token_us * tokens);
    door_.push_back({api_free_ + from_us(api.request_us), request});
    now = door_.back().ready;
  }
  if (next_time_ == kNever) next_time_ = std::max(cpu_free_, now);
}

void Instance::enqueue(std::uint32_t request) {
  const Workload& workload = *state_.workload;
  const std::int32_t priority = workload.priority.empty() ? 0 : workload.priority[request];
  state_.running.push_waiting({priority, state_.table->arrival[request], request});
}

void Instance::open_door(SimTime now) {
  while (door_head_ < door_.size() && door_[door_head_].ready <= now)
    enqueue(door_[door_head_++].request);
  if (door_head_ < door_.size()) return;
  door_.clear();
  door_head_ = 0;
}

SimTime Instance::door_time() const {
  return door_head_ < door_.size() ? std::max(cpu_free_, door_[door_head_].ready) : kNever;
}

const std::vector<std::uint32_t>& Instance::act(Observer* observer) {
  completed_.clear();
  if (collect_next_) {
    collect(observer);
  } else {
    schedule(observer);
  }
  return completed_;
}

void Instance::schedule(Observer* observer) {
  const SimTime now = next_time_;
  open_door(now);
  InFlight& step = ring_[(oldest_ + in_flight_) % ring_.size()];
  scheduler_->schedule(state_, now, step.batch);
  if (observer != nullptr) {
    for (const std::uint32_t request : state_.preempted)
      observer->preempted(config_.id, RequestId{request}, now);
  }
  const bool scheduled = !step.batch.empty();
  if (scheduled) {
    step.record.scheduled = now;
    launch(step);
    ++in_flight_;
  }
  decide(scheduled);
}

/// Host cost, then the GPU pipeline: stages are first-in-first-out servers.
void Instance::launch(InFlight& step) {
  const Batch& batch = step.batch;
  const HostCost& host = config_.host;
  const auto sequences =
      static_cast<double>(batch.decodes) + static_cast<double>(batch.chunks.size());
  const double schedule_us = host.s0_us + host.s1_us * static_cast<double>(batch.running) +
                             host.s2_us * batch.admitted + host.s3_us * batch.hashed_blocks;
  const double prepare_us = host.p0_us + host.p1_us * sequences;
  StepRecord& record = step.record;
  record.launched = record.scheduled + from_us(schedule_us + prepare_us);
  cpu_free_ = record.launched;

  int prompt_tokens = 0;
  int rows = batch.decodes;
  for (const PromptChunk& chunk : batch.chunks) {
    prompt_tokens += chunk.tokens;
    rows += chunk.completes ? 1 : 0;
  }
  pricer_->price({totals_.steps, batch.decodes, batch.decode_context, batch.chunks, rows},
                 step.cost);
  for (std::size_t i = 0; i < provenance_ns_.size(); ++i)
    provenance_ns_[i] += step.cost.provenance_ns[i];

  const bool ahead = config_.queue_depth > 1 && stage_free_.size() == 1 && !idle_;
  const double exposed = ahead ? host.exposed_us + host.exposed_per_sequence_us * sequences : 0;
  record.gpu_start = std::max(stage_free_[0] + from_us(exposed), record.launched);
  // A stage that waited for tokens still in the pipeline did not wait for the host.
  record.gap = idle_ ? 0 : record.gpu_start - std::max(stage_free_[0], collected_end_);
  SimTime end = record.gpu_start;
  for (std::size_t s = 0; s < stage_free_.size(); ++s) {
    end = std::max(end, stage_free_[s]) + to_sim_time(Seconds(step.cost.stage_ns[s] * 1e-9));
    stage_free_[s] = end;
  }
  record.gpu_end = end;
  idle_ = false;
  record.instance = config_.id;
  record.step = totals_.steps++;
  record.graph = step.cost.graph;
  record.decodes = batch.decodes;
  record.prefill_tokens = prompt_tokens;
  record.sequences = static_cast<int>(sequences);
  record.padded_tokens = step.cost.padded_tokens;
  record.running = static_cast<int>(batch.running);
  record.waiting = static_cast<int>(batch.waiting);
  record.kv_blocks_used = batch.kv_blocks_used;
  record.phase = batch.chunks.empty() ? Phase::kDecode
                 : batch.decodes == 0 ? Phase::kPrefill
                                      : Phase::kMixed;
  record.sampled_rows = rows;
  record.terms = &step.cost.terms;
  record.provenance_ns = &step.cost.provenance_ns;
  totals_.plain_steps += batch.plain ? 1 : 0;
  totals_.gap_ns += record.gap;
  totals_.step_ns += record.gpu_end - record.gpu_start;
  totals_.kv_blocks_peak = std::max(totals_.kv_blocks_peak, batch.kv_blocks_used);
}

void Instance::collect(Observer* observer) {
  InFlight& step = ring_[oldest_];
  const SimTime now = next_time_;  // already includes the output cost
  cpu_free_ = now;
  collected_end_ = step.record.gpu_end;
  scheduler_->complete(state_, now, step.batch);
  for (const std::uint32_t request : step.batch.finishing) {
    completed_.push_back(request);
    token_load_ -= static_cast<std::int64_t>(state_.workload->prompt_tokens[request]) +
                   state_.table->output_tokens[request];
  }
  if (observer != nullptr) {
    step.record.out_done = now;
    step.record.tokens_out = step.batch.tokens_out;
    observer->step(step.record);
    if (step.batch.regular_tokens > 0) {
      observer->inter_token(config_.id, step.batch.regular_gap, step.batch.regular_tokens);
    }
    for (const SimTime gap : step.batch.gaps) observer->inter_token(config_.id, gap, 1);
    for (const std::uint32_t request : step.batch.finishing)
      observer->finished(config_.id, RequestId{request}, now);
  }
  oldest_ = (oldest_ + 1) % ring_.size();
  --in_flight_;
  collect_next_ = false;
  const bool work = state_.running.size() > 0 || !state_.running.none_waiting() || in_flight_ > 0;
  if (!work) idle_ = true;
  next_time_ = work ? cpu_free_ : door_time();
}

/// After a schedule call: schedule again at once while the queue has room and the oldest batch is
/// not done, else wait for the oldest batch; with nothing in flight, sleep until an arrival -
/// unless a request evicted itself and kept those behind it out: then schedule again at once.
void Instance::decide(bool scheduled) {
  if (in_flight_ == 0) {
    if (!state_.preempted.empty()) return;
    idle_ = true;
    next_time_ = door_time();
    return;
  }
  const InFlight& oldest = ring_[oldest_];
  const bool room = in_flight_ < static_cast<std::size_t>(config_.queue_depth);
  if (scheduled && room && (config_.always_ahead || oldest.record.gpu_end > cpu_free_)) {
    next_time_ = cpu_free_;
    return;
  }
  collect_next_ = true;
  const HostCost& host = config_.host;
  next_time_ = std::max(cpu_free_, oldest.record.gpu_end) +
               from_us(host.o0_us + host.o1_us * oldest.record.sequences);
}

InstanceTotals Instance::totals() const {
  InstanceTotals totals = totals_;
  totals.blocks_taken = state_.kv.blocks_taken();
  totals.blocks_evicted = state_.kv.blocks_evicted();
  totals.preemptions = state_.preemptions;
  totals.prefix_query_tokens = state_.prefix_query_tokens;
  totals.prefix_hit_tokens = state_.prefix_hit_tokens;
  return totals;
}

void Instance::cut_off() {
  RequestTable& table = *state_.table;
  for (std::uint32_t s = state_.running.first(); s != kNoSlot; s = state_.running[s].next) {
    const Slot& slot = state_.running[s];
    table.generated[slot.request] = static_cast<std::uint32_t>(
        std::min<std::int64_t>(state_.generated(slot), table.output_tokens[slot.request]));
    table.status[slot.request] = RequestStatus::kIncomplete;
  }
  for (const std::uint32_t request : state_.running.waiting_requests()) {
    table.status[request] = RequestStatus::kIncomplete;
  }
  for (std::size_t i = door_head_; i < door_.size(); ++i)
    table.status[door_[i].request] = RequestStatus::kIncomplete;
}

void Instance::check() const {
  MOESIM_CHECK(state_.kv.consistent(), "the free list adds up to the blocks counted free");
  MOESIM_CHECK(state_.running.size() <= config_.limits.max_num_seqs,
               "at most max_num_seqs requests run");
  int decoding = 0;
  for (std::uint32_t s = state_.running.first(); s != kNoSlot; s = state_.running[s].next) {
    const Slot& slot = state_.running[s];
    decoding += slot.state == Slot::State::kDecoding ? 1 : 0;
    MOESIM_CHECK(state_.computed(slot) <= config_.limits.max_model_len,
                 "no request outgrows max_model_len");
    MOESIM_CHECK(slot.member.in_set == (slot.state == Slot::State::kDecoding),
                 "decoding requests are in a cohort");
  }
  int in_sets = 0;
  for (const DecodeSet& set : state_.cohorts) in_sets += set.size();
  MOESIM_CHECK(decoding == in_sets, "the cohorts hold every decoding request once");
}

}  // namespace moesim
