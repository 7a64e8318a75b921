#include "tests/reference/plain_scheduler.h"

#include <algorithm>
#include <deque>
#include <tuple>
#include <utility>

#include "sim/base/check.h"
#include "sim/base/random.h"
#include "tests/reference/plain_tables.h"

namespace moesim::reference {
namespace {

/// A request's state while it is in the system.
struct Request {
  std::int64_t prompt = 0, output = 0;
  std::int32_t priority = 0;
  std::int64_t generated = 0;  ///< output tokens sampled or in flight
  std::int64_t out = 0;        ///< output tokens handed out
  std::int64_t known = 0;      ///< tokens at admission: what it computes before it decodes
  std::int64_t computed = 0;
  bool in_flight = false;   ///< its last token is not out yet
  bool extra_step = false;  ///< its last token is not out, and it already runs once more
  SimTime last_token = kNever;
};

class PlainInstance {
 public:
  PlainInstance(const PlainConfig& config, const Workload& workload, StepPricer& pricer);
  PlainResult run();

 private:
  using Id = std::uint32_t;

  // The loop.
  void deliver(SimTime now);
  bool schedule(SimTime& now);
  void launch(PlainCall& call, SimTime& now);
  void collect(SimTime now);
  void retire(Id id, SimTime now);

  // One call of schedule().
  void leave_windows();
  void serve_running(PlainCall& call, int& budget);
  void admit_waiting(PlainCall& call, int& budget, SimTime now);
  bool make_room(PlainCall& call, Id for_id, std::size_t& i, int& budget);
  void preempt(PlainCall& call, Id id);
  void settle(PlainCall& call);
  [[nodiscard]] bool may_decode(const Request& r) const;
  [[nodiscard]] std::int64_t wanted(const Request& r, int budget) const;
  [[nodiscard]] std::size_t victim() const;
  void sort_waiting();

  const PlainConfig config_;
  const Workload& workload_;
  StepPricer& pricer_;
  PlainResult result_;
  PlainTables tables_;
  std::vector<Request> requests_;
  std::vector<Id> running_;
  std::deque<Id> waiting_;
  std::size_t next_arrival_ = 0;
  std::deque<std::size_t> flight_;  ///< calls, oldest first
  std::vector<SimTime> stage_free_;
  SimTime collected_end_ = 0;
  int admitted_ = 0, hashed_blocks_ = 0;
  std::uint64_t steps_ = 0;
  bool slept_ = true;
};

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
    Request& r = requests_[i];
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
    Request& r = requests_[part.request];
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
  const Request& r = requests_[id];
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

// ---- schedule() (1.3) -------------------------------------------------------------------------

/// Whether a request whose known tokens are computed can run: its last token is known, or async
/// scheduling stands in for it - unless it is certain to end.
bool PlainInstance::may_decode(const Request& r) const {
  const Limits& limits = config_.limits;
  if (!r.in_flight) return true;
  if (!limits.async || limits.pipeline_stages > 1) return false;
  if (limits.max_model_len - 1 - r.computed < 1) return false;
  if (r.generated < r.output) return true;
  return limits.finish_eos && !r.extra_step;
}

std::int64_t PlainInstance::wanted(const Request& r, int budget) const {
  const Limits& limits = config_.limits;
  if (r.computed >= r.known && !may_decode(r)) return 0;
  std::int64_t n = r.computed < r.known ? r.known - r.computed : 1;
  if (limits.long_prefill_token_threshold > 0) {
    n = std::min<std::int64_t>(n, limits.long_prefill_token_threshold);
  }
  return std::min({n, std::int64_t{budget}, limits.max_model_len - 1 - r.computed});
}

void PlainInstance::serve_running(PlainCall& call, int& budget) {
  std::size_t i = 0;
  while (i < running_.size() && budget > 0) {
    const Id id = running_[i];
    Request& r = requests_[id];
    const std::int64_t n = wanted(r, budget);
    if (n == 0) {
      ++i;
      continue;
    }
    while (tables_.needed(id, 0, r.computed + n) > tables_.pool().free_count()) {
      if (make_room(call, id, i, budget)) return;
    }
    tables_.grow(id, r.computed + n);
    const bool decode = r.computed >= r.known;
    if (!decode) {
      tables_.offer_identities(id, r.computed + n);
      if (tables_.caching()) hashed_blocks_ += static_cast<int>(n / config_.block_size);
    }
    call.parts.push_back({id, static_cast<int>(n), r.computed, decode, false});
    budget -= static_cast<int>(n);
    ++i;
  }
}

/// Preempts one request; true if it was `for_id` itself.
bool PlainInstance::make_room(PlainCall& call, Id for_id, std::size_t& i, int& budget) {
  const std::size_t v = victim();
  const Id id = running_[v];
  const auto served = std::find_if(call.parts.begin(), call.parts.end(),
                                   [&](const PlainPart& part) { return part.request == id; });
  if (served != call.parts.end()) {
    budget += served->tokens;
    Request& r = requests_[id];
    if (!served->decode) r.computed += served->tokens;  // its blocks count as computed (c)
    call.parts.erase(served);
    --i;
  }
  running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(v));
  preempt(call, id);
  return id == for_id;
}

std::size_t PlainInstance::victim() const {
  std::size_t worst = running_.size() - 1;
  if (!config_.limits.priority) return worst;
  const auto key = [&](std::size_t i) {
    return std::pair(requests_[running_[i]].priority, result_.requests[running_[i]].arrival);
  };
  worst = 0;
  for (std::size_t i = 1; i < running_.size(); ++i) {
    if (key(i) > key(worst)) worst = i;
  }
  return worst;
}

void PlainInstance::preempt(PlainCall& call, Id id) {
  Request& r = requests_[id];
  tables_.give_own_id(id);
  tables_.release(id, r.computed - (config_.limits.async && r.in_flight ? 1 : 0));
  r.computed = r.known = 0;
  r.extra_step = false;
  waiting_.push_front(id);
  sort_waiting();
  call.preempted.push_back(id);
  ++result_.requests[id].preemptions;
  ++result_.preemptions;
}

void PlainInstance::admit_waiting(PlainCall& call, int& budget, SimTime now) {
  const Limits& limits = config_.limits;
  while (!waiting_.empty() && budget > 0) {
    if (running_.size() == static_cast<std::size_t>(limits.max_num_seqs)) return;
    const Id id = waiting_.front();
    Request& r = requests_[id];
    if (r.in_flight) return;
    const std::int64_t tokens = r.prompt + r.generated;
    const std::int64_t hit = tables_.find_hit(id, tokens);
    const std::int64_t cached = hit * config_.block_size;
    std::int64_t n = tokens - cached;
    if (limits.long_prefill_token_threshold > 0) {
      n = std::min<std::int64_t>(n, limits.long_prefill_token_threshold);
    }
    if (!limits.chunked_prefill && n > budget) return;
    n = std::min<std::int64_t>(n, budget);
    const std::int64_t room = tables_.pool().free_count();
    if (limits.reserve_full_isl && tables_.needed_in_full(id, hit, tokens) > room) return;
    const std::int64_t slots = std::min<std::int64_t>(cached + n, limits.max_model_len);
    if (tables_.needed(id, hit, slots) > room) return;

    waiting_.pop_front();
    running_.push_back(id);
    PlainRequest& told = result_.requests[id];
    if (told.first_scheduled == kNever) {
      told.first_scheduled = now;
      told.cached_tokens = cached;
      result_.prefix_query_tokens += tokens;
      result_.prefix_hit_tokens += cached;
    }
    r.known = tokens;
    r.computed = cached;
    tables_.take_hit(id, hit);
    tables_.grow(id, slots);
    tables_.offer_identities(id, slots);
    call.parts.push_back({id, static_cast<int>(n), cached, false, false});
    call.admitted.push_back({id, hit});
    budget -= static_cast<int>(n);
    ++admitted_;
    if (tables_.caching()) hashed_blocks_ += static_cast<int>(n / config_.block_size);
  }
}

/// n_computed advances when scheduled, not when done.
void PlainInstance::settle(PlainCall& call) {
  for (PlainPart& part : call.parts) {
    Request& r = requests_[part.request];
    if (part.decode) {
      ++call.decodes;
      for (std::size_t g = 0; g < config_.groups.size(); ++g) {
        const KvGroup& group = config_.groups[g];
        std::int64_t seen = r.computed + 1;
        if (group.kind == AttentionKind::kSliding)
          seen = std::min<std::int64_t>(seen, group.window);
        if (group.kind == AttentionKind::kChunked) seen = r.computed % group.window + 1;
        call.decode_context[g] += seen;
      }
    }
    r.computed += part.tokens;
    if (r.computed < r.known) continue;
    if (r.generated == r.output) {
      r.extra_step = true;
      continue;
    }
    part.samples = true;
    ++r.generated;
    r.in_flight = true;
  }
}

/// Before any allocation: what is out of sight of every request that may run (decision d).
void PlainInstance::leave_windows() {
  std::vector<PlainBlocks::Block> others;
  for (const Id id : running_) {
    const Request& r = requests_[id];
    if (r.computed < r.known || may_decode(r)) tables_.leave_windows(id, r.computed, others);
  }
  tables_.free(others);
}

}  // namespace

PlainResult run_plain(const PlainConfig& config, const Workload& workload, StepPricer& pricer) {
  return PlainInstance(config, workload, pricer).run();
}

}  // namespace moesim::reference
