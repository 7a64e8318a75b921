#include "sim/engine/instance.h"

#include <algorithm>
#include <utility>

#include "sim/base/check.h"

namespace moesim {
namespace {

SimTime from_us(double us) {
  return to_sim_time(Seconds(us * 1e-6));
}

std::vector<std::unique_ptr<Scheduler>> only(std::unique_ptr<Scheduler> scheduler) {
  std::vector<std::unique_ptr<Scheduler>> one;
  one.push_back(std::move(scheduler));
  return one;
}

}  // namespace

Instance::Instance(const Config& config, const Workload& workload, RequestTable& table,
                   std::unique_ptr<Scheduler> scheduler, StepPricer& pricer)
    : Instance(config, workload, table, only(std::move(scheduler)), pricer) {}

Instance::Instance(const Config& config, const Workload& workload, RequestTable& table,
                   std::vector<std::unique_ptr<Scheduler>> schedulers, StepPricer& pricer)
    : config_(config),
      pricer_(&pricer),
      workload_(&workload),
      table_(&table),
      works_(schedulers.size()),
      ring_(static_cast<std::size_t>(config.queue_depth) + 1),
      stage_free_(static_cast<std::size_t>(pricer.stages()), 0) {
  MOESIM_CHECK(static_cast<int>(schedulers.size()) == config.ranks, "every rank has a scheduler");
  for (auto& scheduler : schedulers) {
    ranks_.push_back(
        std::unique_ptr<Rank>(new Rank{.scheduler = std::move(scheduler),
                                       .state = {workload, table, config.limits, config.kv},
                                       .routed = {},
                                       .chunks = {}}));
  }
  for (InFlight& entry : ring_) {
    entry.batches.resize(ranks_.size());
    entry.stages.resize(stage_free_.size());
  }
  const AttentionDpConfig& dp = config.limits.trtllm.attention_dp;
  // Where prompts arrive with their KV, none is computed that others could wait for.
  if (dp.enable_balance && ranks_.size() > 1 && !config.limits.kv_in_place) {
    balance_.emplace(PromptBalance::Limits{.timeout_iters = dp.timeout_iters,
                                           .batching_wait_iters = dp.batching_wait_iters,
                                           .max_num_seqs = config.limits.max_num_seqs});
    demands_.reserve(ranks_.size());
  }
  totals_.kv_blocks_total = config.kv.usable_blocks * config.ranks;
}

int Instance::waiting() const {
  std::size_t count = door_.size() - door_head_;
  for (const auto& rank : ranks_) count += rank->state.running.waiting_count();
  return static_cast<int>(count);
}

int Instance::running() const {
  int count = 0;
  for (const auto& rank : ranks_) count += rank->state.running.size();
  return count;
}

void Instance::arrive(std::uint32_t request, SimTime now) {
  RequestTable& table = *table_;
  table.arrival[request] = now;
  table.status[request] = RequestStatus::kWaiting;
  table.instance[request] = static_cast<std::uint16_t>(config_.id.value);
  token_load_ += tokens_of(request);
  if (idle_) publish(now);
  const ApiCost& api = config_.api;
  if (api.request_us <= 0 && config_.recv_interval <= 1) {
    enqueue(request);
  } else {
    const double tokens = static_cast<double>(workload_->prompt_tokens[request]);
    api_free_ = std::max(api_free_, now) + from_us(api.per_prompt_token_us * tokens);
    door_.push_back({api_free_ + from_us(api.request_us), request});
    now = door_.back().ready;
  }
  if (next_time_ != kNever) return;
  run_dummies(now);
  next_time_ = std::max(cpu_free_, now);
}

/// Ranks in lockstep go on with dummy batches until their next common look at who has work finds
/// nobody. A request meets those that began before it could be scheduled, and waits for the last
/// one to end; the others of a tail bother nobody and are not run.
void Instance::run_dummies(SimTime until) {
  if (ranks_.size() == 1 || config_.rules.sync_interval <= 1) return;
  dummies_end_ = std::max({dummies_end_, cpu_free_, stage_free_.back()});
  while (wave_steps_ % config_.rules.sync_interval != 0 && dummies_end_ < until) {
    StepWork nothing;
    nothing.step = turn();
    nothing.now_ns = dummies_end_;
    std::ranges::fill(works_, nothing);
    pricer_->price_ranks(works_, dummy_cost_);
    double ns = 0;
    for (const double stage : dummy_cost_.stage_ns) ns += stage;
    dummies_end_ += to_sim_time(Seconds(ns * 1e-9));
    ++wave_steps_;
    ++totals_.dummy_steps;
  }
  cpu_free_ = dummies_end_;
}

std::int64_t Instance::tokens_of(std::uint32_t request) const {
  return static_cast<std::int64_t>(workload_->prompt_tokens[request]) +
         table_->output_tokens[request];
}

void Instance::enqueue(std::uint32_t request) {
  const std::int32_t priority = workload_->priority.empty() ? 0 : workload_->priority[request];
  const std::size_t chosen = choose_rank();
  ranks_[chosen]->token_load += tokens_of(request);
  table_->dp_rank[request] = static_cast<std::uint16_t>(chosen);
  ranks_[chosen]->state.running.push_waiting({priority, table_->arrival[request], request});
}

void Instance::open_door(SimTime now) {
  while (door_head_ < door_.size() && door_[door_head_].ready <= now)
    enqueue(door_[door_head_++].request);
  if (door_head_ < door_.size()) return;
  door_.clear();
  door_head_ = 0;
}

bool Instance::fetches() {
  ++turns_;
  if (!idle_ && !prompts_ran_ && turns_ < config_.recv_interval) return false;
  turns_ = 0;
  return true;
}

SimTime Instance::door_time() const {
  return door_head_ < door_.size() ? std::max(cpu_free_, door_[door_head_].ready) : kNever;
}

/// When ranks without work look for some: once the first request at the API server is through, and
/// the dummy steps it meets are over.
SimTime Instance::wake_time() {
  if (door_head_ < door_.size()) run_dummies(door_[door_head_].ready);
  return door_time();
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
  if (config_.recv_interval <= 1 || fetches()) open_door(now);
  InFlight& step = ring_[(oldest_ + in_flight_) % ring_.size()];
  bool scheduled = false;
  if (balance_) hold_prompts();
  for (std::size_t r = 0; r < ranks_.size(); ++r) {
    Rank& rank = *ranks_[r];
    rank.scheduler->schedule(rank.state, now, step.batches[r]);
    scheduled |= !step.batches[r].empty();
    if (observer == nullptr) continue;
    for (const std::uint32_t request : rank.state.preempted)
      observer->preempted(config_.id, RequestId{request}, now);
  }
  if (scheduled) {
    step.record.scheduled = now;
    launch(step);
    ++in_flight_;
  }
  decide(scheduled);
}

/// Host time of a step: each rank has a scheduler process; the slowest is waited for.
double Instance::host_us(const InFlight& step) const {
  const HostCost& host = config_.host;
  double longest = 0;
  for (const Batch& batch : step.batches) {
    const auto sequences =
        static_cast<double>(batch.decodes) + static_cast<double>(batch.chunks.size());
    const double schedule_us = host.s0_us + host.s1_us * static_cast<double>(batch.running) +
                               host.s2_us * batch.admitted + host.s3_us * batch.hashed_blocks;
    longest = std::max(longest, schedule_us + (host.p0_us + host.p1_us * sequences));
  }
  return longest;
}

/// What was in the step, over all ranks.
void Instance::describe(InFlight& step) const {
  StepRecord& record = step.record;
  record.decodes = record.prefill_tokens = record.sequences = record.sampled_rows = 0;
  record.running = record.waiting = record.most_sequences = 0;
  record.kv_blocks_used = 0;
  record.plain = false;
  for (const Batch& batch : step.batches) {
    const int sequences = batch.decodes + static_cast<int>(batch.chunks.size());
    record.decodes += batch.decodes;
    record.sequences += sequences;
    record.most_sequences = std::max(record.most_sequences, sequences);
    record.sampled_rows += batch.decodes;
    for (const PromptChunk& chunk : batch.chunks) {
      const bool arrived = config_.limits.kv_in_place && chunk.tokens == 1;
      (arrived ? record.decodes : record.prefill_tokens) += chunk.tokens;
      record.sampled_rows += chunk.completes ? 1 : 0;
    }
    record.running += static_cast<int>(batch.running);
    record.waiting += static_cast<int>(batch.waiting);
    record.kv_blocks_used += batch.kv_blocks_used;
    record.plain |= batch.plain;
  }
  record.phase = record.prefill_tokens == 0 ? Phase::kDecode
                 : record.decodes == 0      ? Phase::kPrefill
                                            : Phase::kMixed;
}

/// Host cost, then the GPU pipeline: stages are first-in-first-out servers.
void Instance::launch(InFlight& step) {
  const HostCost& host = config_.host;
  describe(step);
  StepRecord& record = step.record;
  record.launched = record.scheduled + from_us(host_us(step));
  cpu_free_ = record.launched;

  for (std::size_t r = 0; r < ranks_.size(); ++r)
    works_[r] = work_of(*ranks_[r], step.batches[r], record.scheduled);
  if (works_.size() == 1) {
    pricer_->price(works_.front(), step.cost);
  } else {
    pricer_->price_ranks(works_, step.cost);
  }
  for (std::size_t i = 0; i < provenance_ns_.size(); ++i)
    provenance_ns_[i] += step.cost.provenance_ns[i];

  const bool ahead = config_.queue_depth > 1 && stage_free_.size() == 1 && !idle_;
  const double exposed =
      ahead ? host.exposed_us + host.exposed_per_sequence_us * record.most_sequences : 0;
  record.gpu_start = std::max(stage_free_[0] + from_us(exposed), record.launched);
  // A stage that waited for tokens still in the pipeline did not wait for the host.
  record.gap = idle_ ? 0 : record.gpu_start - std::max(stage_free_[0], collected_end_);
  SimTime end = record.gpu_start;
  for (std::size_t s = 0; s < stage_free_.size(); ++s) {
    const SimTime start = std::max(end, stage_free_[s]);
    end = start + to_sim_time(Seconds(step.cost.stage_ns[s] * 1e-9));
    step.stages[s] = {start, end};
    stage_free_[s] = end;
  }
  record.gpu_end = end;
  record.stages = step.stages;
  idle_ = false;
  ++wave_steps_;
  prompts_ran_ = record.prefill_tokens > 0;
  record.instance = config_.id;
  record.step = totals_.steps++;
  record.graph = step.cost.graph;
  record.padded_tokens = step.cost.padded_tokens;
  record.rank_imbalance = step.cost.rank_imbalance;
  record.terms = &step.cost.terms;
  record.provenance_ns = &step.cost.provenance_ns;
  totals_.plain_steps += record.plain ? 1 : 0;
  totals_.gap_ns += record.gap;
  totals_.step_ns += record.gpu_end - record.gpu_start;
  totals_.kv_blocks_peak = std::max(totals_.kv_blocks_peak, record.kv_blocks_used);
}

void Instance::collect(Observer* observer) {
  InFlight& step = ring_[oldest_];
  const SimTime now = next_time_;  // already includes the output cost
  cpu_free_ = now;
  collected_end_ = step.record.gpu_end;
  step.record.tokens_out = 0;
  for (std::size_t r = 0; r < ranks_.size(); ++r) {
    Rank& rank = *ranks_[r];
    Batch& batch = step.batches[r];
    if (batch.empty()) continue;
    rank.scheduler->complete(rank.state, now, batch);
    step.record.tokens_out += batch.tokens_out;
    for (const std::uint32_t request : batch.finishing) {
      completed_.push_back(request);
      token_load_ -= tokens_of(request);
      rank.token_load -= tokens_of(request);
    }
  }
  if (observer != nullptr) {
    step.record.out_done = now;
    observer->step(step.record);
    for (const Batch& batch : step.batches) {
      if (batch.empty()) continue;
      if (batch.regular_tokens > 0)
        observer->inter_token(config_.id, batch.regular_gap, batch.regular_tokens);
      for (const SimTime gap : batch.gaps) observer->inter_token(config_.id, gap, 1);
      for (const std::uint32_t request : batch.finishing)
        observer->finished(config_.id, RequestId{request}, now);
    }
  }
  publish(now);
  oldest_ = (oldest_ + 1) % ring_.size();
  --in_flight_;
  collect_next_ = false;
  bool work = in_flight_ > 0;
  for (const auto& rank : ranks_)
    work = work || rank->state.running.size() > 0 || !rank->state.running.none_waiting();
  if (!work) idle_ = true;
  next_time_ = work ? cpu_free_ : wake_time();
}

/// After a schedule call: schedule again at once while the queue has room and the oldest batch is
/// not done, else wait for the oldest batch; with nothing in flight, sleep until an arrival -
/// unless a request evicted itself and kept those behind it out: then schedule again at once.
void Instance::decide(bool scheduled) {
  if (in_flight_ == 0) {
    for (const auto& rank : ranks_) {
      if (!rank->state.preempted.empty()) return;
    }
    idle_ = true;
    next_time_ = wake_time();
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
               from_us(host.o0_us + host.o1_us * oldest.record.most_sequences);
}

InstanceTotals Instance::totals() const {
  InstanceTotals totals = totals_;
  for (const auto& rank : ranks_) {
    const SchedulerState& state = rank->state;
    totals.blocks_taken += state.kv.blocks_taken();
    totals.blocks_evicted += state.kv.blocks_evicted();
    totals.preemptions += state.preemptions;
    totals.prefix_query_tokens += state.prefix_query_tokens;
    totals.prefix_hit_tokens += state.prefix_hit_tokens;
  }
  return totals;
}

std::uint64_t Instance::digest() const {
  std::uint64_t sum = 0;
  for (const auto& rank : ranks_) sum += rank->state.digest;
  return sum;
}

void Instance::cut_off() {
  RequestTable& table = *table_;
  for (const auto& rank : ranks_) {
    const SchedulerState& state = rank->state;
    for (std::uint32_t s = state.running.first(); s != kNoSlot; s = state.running[s].next) {
      const Slot& slot = state.running[s];
      table.generated[slot.request] = static_cast<std::uint32_t>(
          std::min<std::int64_t>(state.generated(slot), table.output_tokens[slot.request]));
      table.status[slot.request] = RequestStatus::kIncomplete;
    }
    for (const std::uint32_t request : state.running.waiting_requests())
      table.status[request] = RequestStatus::kIncomplete;
  }
  for (std::size_t i = door_head_; i < door_.size(); ++i)
    table.status[door_[i].request] = RequestStatus::kIncomplete;
}

void Instance::check() const {
  for (const auto& rank : ranks_) check(rank->state);
}

void Instance::check(const SchedulerState& state) const {
  MOESIM_CHECK(state.kv.consistent(), "the free list adds up to the blocks counted free");
  MOESIM_CHECK(state.running.size() <= config_.limits.max_num_seqs,
               "at most max_num_seqs requests run");
  int decoding = 0;
  for (std::uint32_t s = state.running.first(); s != kNoSlot; s = state.running[s].next) {
    const Slot& slot = state.running[s];
    decoding += slot.state == Slot::State::kDecoding ? 1 : 0;
    MOESIM_CHECK(state.computed(slot) <= config_.limits.max_model_len,
                 "no request outgrows max_model_len");
    MOESIM_CHECK(slot.member.in_set == (slot.state == Slot::State::kDecoding),
                 "decoding requests are in a cohort");
  }
  int in_sets = 0;
  for (const DecodeSet& set : state.cohorts) in_sets += set.size();
  MOESIM_CHECK(decoding == in_sets, "the cohorts hold every decoding request once");
}

}  // namespace moesim
