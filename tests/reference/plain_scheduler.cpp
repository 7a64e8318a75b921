#include "tests/reference/plain_scheduler.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "sim/base/check.h"
#include "sim/base/random.h"
#include "tests/reference/plain_instance.h"

namespace moesim::reference {

PlainInstance::PlainInstance(const PlainConfig& config, const Workload& workload,
                             StepPricer& pricer)
    : config_(config),
      workload_(workload),
      pricer_(pricer),
      tables_(config, workload),
      requests_(workload.size()),
      stage_free_(static_cast<std::size_t>(pricer.stages()), 0) {
  result_.requests.resize(workload.size());
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    PlainState& r = requests_[i];
    r.prompt = workload.prompt_tokens[i];
    r.output =
        std::min<std::int64_t>(workload.output_tokens[i], config.limits.max_model_len - r.prompt);
    MOESIM_CHECK(r.output >= 1, "every prompt is shorter than max_model_len");
    if (!workload.priority.empty()) r.priority = workload.priority[i];
  }
}

// ---- the loop (0.3, 1.9) ----------------------------------------------------------------------

/// One thread. Fills the queue of batches before it waits for the oldest; sleeps when there is
/// nothing.
PlainResult PlainInstance::run() {
  SimTime now = 0;
  while (true) {
    deliver(now);
    bool launched = false;
    bool preempted = false;
    if (!running_.empty() || !waiting_.empty() || !flight_.empty()) {
      if (result_.calls.size() == static_cast<std::size_t>(config_.max_calls)) break;
      launched = schedule(now);
      preempted = !result_.calls.back().preempted.empty();
    }
    if (!flight_.empty()) {
      const PlainCall& oldest = result_.calls[flight_.front()];
      const bool room = flight_.size() < static_cast<std::size_t>(config_.queue_depth);
      if (launched && room && oldest.gpu_end > now) continue;
      const double out_us =
          config_.host.o0_us + config_.host.o1_us * static_cast<double>(oldest.parts.size());
      now = std::max(now, oldest.gpu_end) + to_sim_time(Seconds(out_us * 1e-6));
      collect(now);
      continue;
    }
    if (preempted) continue;
    if (next_arrival_ == workload_.size()) break;
    now = std::max(now, workload_.arrival_ns[next_arrival_]);
    slept_ = true;
  }
  return std::move(result_);
}

void PlainInstance::deliver(SimTime now) {
  while (next_arrival_ < workload_.size() && workload_.arrival_ns[next_arrival_] <= now) {
    result_.requests[next_arrival_].arrival = workload_.arrival_ns[next_arrival_];
    waiting_.push_back(static_cast<Id>(next_arrival_++));
    sort_waiting();
  }
}

/// By priority: (priority, arrival, number); otherwise as it came.
void PlainInstance::sort_waiting() {
  if (!config_.limits.priority) return;
  std::sort(waiting_.begin(), waiting_.end(), [&](Id a, Id b) {
    return std::tuple(requests_[a].priority, result_.requests[a].arrival, a) <
           std::tuple(requests_[b].priority, result_.requests[b].arrival, b);
  });
}

bool PlainInstance::schedule(SimTime& now) {
  PlainCall& call = result_.calls.emplace_back();
  call.scheduled = now;
  admitted_ = hashed_blocks_ = 0;
  int budget = config_.limits.max_num_batched_tokens;
  leave_windows();
  serve_running(call, budget);
  if (call.preempted.empty()) admit_waiting(call, budget, now);
  settle(call);
  for (const Id id : running_) call.running.push_back({id, requests_[id].computed});
  call.waiting.assign(waiting_.begin(), waiting_.end());
  call.free_blocks = tables_.pool().free_count();
  call.taken = tables_.pool().taken();
  call.evicted = tables_.pool().evicted();
  if (call.empty()) return false;
  launch(call, now);
  flight_.push_back(result_.calls.size() - 1);
  return true;
}

void PlainInstance::launch(PlainCall& call, SimTime& now) {
  const HostCost& host = config_.host;
  const double schedule_us = host.s0_us + host.s1_us * static_cast<double>(running_.size()) +
                             host.s2_us * admitted_ + host.s3_us * hashed_blocks_;
  const double prepare_us = host.p0_us + host.p1_us * static_cast<double>(call.parts.size());
  call.launched = now + to_sim_time(Seconds((schedule_us + prepare_us) * 1e-6));
  now = call.launched;

  std::vector<PromptChunk> chunks;
  int rows = 0;
  for (const PlainPart& part : call.parts) {
    rows += part.decode || part.samples ? 1 : 0;
    if (part.decode) continue;
    chunks.push_back(
        {part.request, part.tokens, static_cast<std::int32_t>(part.context), part.samples});
  }
  StepCost cost;
  pricer_.price({steps_++, call.decodes, call.decode_context, chunks, rows}, cost);
  call.gpu_start = std::max(call.launched, stage_free_[0]);
  call.gap = slept_ ? 0 : call.gpu_start - std::max(stage_free_[0], collected_end_);
  slept_ = false;
  SimTime end = call.gpu_start;
  for (std::size_t s = 0; s < stage_free_.size(); ++s) {
    end = std::max(end, stage_free_[s]) + to_sim_time(Seconds(cost.stage_ns[s] * 1e-9));
    stage_free_[s] = end;
  }
  call.gpu_end = end;
}

/// Output of the oldest batch: tokens out, ends (1.7).
void PlainInstance::collect(SimTime now) {
  PlainCall& call = result_.calls[flight_.front()];
  flight_.pop_front();
  call.out_done = now;
  collected_end_ = call.gpu_end;
  deliver(now);
  for (const PlainPart& part : call.parts) {
    if (!part.samples) continue;
    PlainState& r = requests_[part.request];
    PlainRequest& told = result_.requests[part.request];
    r.in_flight = r.generated > ++r.out;
    ++call.tokens_out;
    if (told.first_token == kNever) {
      told.first_token = now;
    } else {
      ++call.gaps[now - r.last_token];
    }
    if (r.out == 2) told.second_token = now;
    r.last_token = now;
    if (r.out == r.output) retire(part.request, now);
  }
}

void PlainInstance::retire(Id id, SimTime now) {
  const PlainState& r = requests_[id];
  const auto place = std::find(running_.begin(), running_.end(), id);
  if (place == running_.end()) {
    waiting_.erase(std::find(waiting_.begin(), waiting_.end(), id));
  } else {
    tables_.release(id, r.prompt + r.output - 1 - (config_.limits.async ? 1 : 0));
    running_.erase(place);
  }
  PlainRequest& told = result_.requests[id];
  told.finish = now;
  std::uint64_t hash = mix64(id + 0x9e3779b97f4a7c15ULL);  // instance 0
  for (const std::int64_t value : {told.first_scheduled, told.first_token, told.finish,
                                   told.cached_tokens, std::int64_t{told.preemptions}}) {
    hash = mix64(hash ^ static_cast<std::uint64_t>(value)) + 0x632be59bd9b4e019ULL;
  }
  result_.digest += hash;
}

PlainResult run_plain(const PlainConfig& config, const Workload& workload, StepPricer& pricer) {
  return PlainInstance(config, workload, pricer).run();
}

}  // namespace moesim::reference
