#include "tests/reference/engine_run.h"

#include <algorithm>
#include <map>
#include <sstream>
#include <utility>

#include "sim/base/check.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim::reference {
namespace {

/// Writes what an instance does into the words of the reference.
class Recorder final : public Observer {
 public:
  Recorder(const Instance& instance, const FormulaPricer& pricer, PlainResult& result)
      : instance_(instance), pricer_(pricer), result_(result) {}

  /// Around each action.
  void before() {
    const SchedulerState& state = instance_.state();
    collected_ = state.collected;
    batches_ = state.batches;
    computed_.clear();
    for (std::uint32_t s = state.running.first(); s != kNoSlot; s = state.running[s].next) {
      computed_[state.running[s].request] = state.computed(state.running[s]);
    }
    preempted_.clear();
    gaps_.clear();
  }
  void after(SimTime now, bool priority, int block_size) {
    const SchedulerState& state = instance_.state();
    if (state.collected != collected_) {
      result_.calls[step_calls_[collected_]].gaps = gaps_;
      return;
    }
    PlainCall& call = result_.calls.emplace_back();
    call.scheduled = now;
    call.preempted = preempted_;
    const bool launched = state.batches != batches_;
    if (launched) {
      step_calls_.push_back(result_.calls.size() - 1);
      call.decodes = pricer_.last_work().decodes;
      call.decode_context = pricer_.last_work().decode_context;
    }
    note_running(call, launched, block_size);
    call.waiting = state.running.waiting_requests();
    if (priority) std::sort(call.waiting.begin(), call.waiting.end());
    call.free_blocks = state.kv.free_blocks();
    call.taken = state.kv.blocks_taken();
    call.evicted = evicted_now();
  }

  void step(const StepRecord& record) override {
    PlainCall& call = result_.calls[step_calls_[record.step]];
    MOESIM_CHECK(call.scheduled == record.scheduled, "a step reports when it was scheduled");
    call.launched = record.launched;
    call.gpu_start = record.gpu_start;
    call.gpu_end = record.gpu_end;
    call.gap = record.gap;
    call.out_done = record.out_done;
    call.tokens_out = record.tokens_out;
  }
  void inter_token(InstanceId, SimTime gap, std::int64_t count) override { gaps_[gap] += count; }
  void preempted(InstanceId, RequestId request, SimTime) override {
    preempted_.push_back(request.value);
  }
  void finished(InstanceId, RequestId, SimTime) override {}

 private:
  /// Blocks that steps only counted leave the list at the next look: their evictions come later.
  [[nodiscard]] std::int64_t evicted_now() const { return instance_.state().kv.blocks_evicted(); }

  void note_running(PlainCall& call, bool launched, int block_size) const {
    const SchedulerState& state = instance_.state();
    const std::vector<PromptChunk> none;
    const std::vector<PromptChunk>& chunks = launched ? pricer_.last_chunks() : none;
    std::map<std::uint32_t, const PromptChunk*> chunk_of;
    for (const PromptChunk& chunk : chunks) chunk_of[chunk.request] = &chunk;
    for (std::uint32_t s = state.running.first(); s != kNoSlot; s = state.running[s].next) {
      const std::uint32_t request = state.running[s].request;
      const std::int64_t now = state.computed(state.running[s]);
      call.running.push_back({request, now});
      const auto before = computed_.find(request);
      if (before == computed_.end()) {
        call.admitted.push_back({request, chunk_of.at(request)->context / block_size});
      } else if (!chunk_of.contains(request) && now != before->second) {
        call.parts.push_back(
            {request, static_cast<int>(now - before->second), before->second, true, false});
      }
    }
    for (const PromptChunk& chunk : chunks) {
      call.parts.push_back({chunk.request, chunk.tokens, chunk.context, false, chunk.completes});
    }
  }

  const Instance& instance_;
  const FormulaPricer& pricer_;
  PlainResult& result_;
  std::vector<std::size_t> step_calls_;  ///< step -> call
  std::uint64_t collected_ = 0, batches_ = 0;
  std::map<std::uint32_t, std::int64_t> computed_;
  std::vector<std::uint32_t> preempted_;
  std::map<SimTime, std::int64_t> gaps_;
};

/// Decodes first: the engine does not say where between the chunks they ran.
PlainResult comparable(PlainResult result, bool priority) {
  for (PlainCall& call : result.calls) {
    std::stable_partition(call.parts.begin(), call.parts.end(),
                          [](const PlainPart& part) { return part.decode; });
    for (PlainPart& part : call.parts) part.samples = part.samples && !part.decode;
    if (priority) std::sort(call.waiting.begin(), call.waiting.end());
  }
  return result;
}

template <class T>
void compare(std::ostringstream& out, const char* what, const T& plain, const T& engine) {
  if (!(plain == engine)) out << "  " << what << " differs";
}

template <class T>
void compare_number(std::ostringstream& out, const char* what, T plain, T engine) {
  if (plain != engine) out << "  " << what << ": plain " << plain << ", engine " << engine;
}

std::string decision_difference(const PlainCall& plain, const PlainCall& engine) {
  std::ostringstream out;
  compare_number(out, "scheduled", plain.scheduled, engine.scheduled);
  compare(out, "parts", plain.parts, engine.parts);
  compare_number(out, "decodes", plain.decodes, engine.decodes);
  compare(out, "preempted", plain.preempted, engine.preempted);
  compare(out, "admitted", plain.admitted, engine.admitted);
  compare(out, "running", plain.running, engine.running);
  compare(out, "waiting", plain.waiting, engine.waiting);
  compare_number(out, "free blocks", plain.free_blocks, engine.free_blocks);
  compare_number(out, "blocks taken", plain.taken, engine.taken);
  compare_number(out, "blocks evicted", plain.evicted, engine.evicted);
  for (std::size_t g = 0; g < plain.decode_context.size(); ++g) {
    compare_number(out, "decode context", plain.decode_context[g], engine.decode_context[g]);
  }
  return out.str();
}

std::string outcome_difference(const PlainCall& plain, const PlainCall& engine) {
  std::ostringstream out;
  if (plain.out_done == kNever || engine.out_done == kNever) return out.str();
  compare_number(out, "launched", plain.launched, engine.launched);
  compare_number(out, "gpu_start", plain.gpu_start, engine.gpu_start);
  compare_number(out, "gpu_end", plain.gpu_end, engine.gpu_end);
  compare_number(out, "gap", plain.gap, engine.gap);
  compare_number(out, "out_done", plain.out_done, engine.out_done);
  compare_number(out, "tokens_out", plain.tokens_out, engine.tokens_out);
  compare(out, "gaps between tokens", plain.gaps, engine.gaps);
  return out.str();
}

/// The first call in which `differs` finds something.
template <class Differs>
std::string first_differing_call(const PlainResult& plain, const PlainResult& engine,
                                 const Differs& differs) {
  std::ostringstream out;
  for (std::size_t i = 0; i < std::min(plain.calls.size(), engine.calls.size()); ++i) {
    const std::string what = differs(plain.calls[i], engine.calls[i]);
    if (what.empty()) continue;
    out << "call " << i << what << "\n";
    if (i > 0) out << "  before " << describe(plain.calls[i - 1]) << "\n";
    out << "  plain  " << describe(plain.calls[i]) << "\n  engine " << describe(engine.calls[i])
        << "\n";
    return out.str();
  }
  return out.str();
}

}  // namespace

void FormulaPricer::price(const StepWork& work, StepCost& cost) {
  double ns = terms_.step_ns + terms_.decode_ns * work.decodes + terms_.row_ns * work.sampled_rows;
  for (std::size_t g = 0; g < work.decode_context.size(); ++g) {
    ns += terms_.context_ns * static_cast<double>(g + 1) *
          static_cast<double>(work.decode_context[g]);
  }
  for (const PromptChunk& chunk : work.chunks) {
    ns += terms_.prompt_ns * chunk.tokens +
          terms_.attention_ns * static_cast<double>(chunk.tokens) * chunk.context;
  }
  cost.stage_ns.assign(static_cast<std::size_t>(stages_), ns);
  for (std::size_t s = 0; s < cost.stage_ns.size(); ++s) {
    cost.stage_ns[s] += terms_.stage_ns * static_cast<double>(s);
  }
  chunks_.assign(work.chunks.begin(), work.chunks.end());
  work_ = work;
  work_.chunks = chunks_;
}

std::unique_ptr<Scheduler> make_scheduler(const std::string& name) {
  const auto* entry = Registry<Scheduler>::find(name);
  MOESIM_CHECK(entry != nullptr, "the scheduler is registered");
  const Document document = Document::parse("{}", "none");
  Diagnostics diagnostics;
  Reader reader(document, diagnostics);
  return entry->make(reader);
}

RequestTable make_table(const Workload& workload, const Limits& limits) {
  RequestTable table;
  table.resize(workload.size());
  for (std::size_t r = 0; r < workload.size(); ++r) {
    const std::int64_t room = std::int64_t{limits.max_model_len} - workload.prompt_tokens[r];
    table.output_tokens[r] =
        static_cast<std::uint32_t>(std::min<std::int64_t>(workload.output_tokens[r], room));
  }
  return table;
}

Instance::Config instance_config(const PlainConfig& config) {
  Instance::Config result;
  result.limits = config.limits;
  result.kv = {.usable_blocks = config.usable_blocks,
               .block_size = config.block_size,
               .groups = config.groups,
               .prefix_caching = config.prefix_caching,
               .max_num_batched_tokens = config.limits.max_num_batched_tokens,
               .max_model_len = config.limits.max_model_len};
  result.host = config.host;
  result.queue_depth = config.queue_depth;
  result.always_ahead = config.limits.extra_step;
  return result;
}

void run_to_end(Instance& instance, const Workload& workload, Observer* observer,
                const std::function<void(SimTime)>& after, std::uint64_t max_actions) {
  std::size_t next = 0;
  for (std::uint64_t actions = 0; actions < max_actions;) {
    const SimTime send = next < workload.size() ? workload.arrival_ns[next] : kNever;
    const SimTime now = instance.next_time();
    if (send == kNever && now == kNever) return;
    if (send <= now) {
      instance.arrive(static_cast<std::uint32_t>(next++), send);
    } else {
      (void)instance.act(observer);
      ++actions;
    }
    if (after) after(std::min(send, now));
  }
}

PlainResult run_engine(const PlainConfig& config, const Workload& workload, FormulaPricer& pricer) {
  RequestTable table = make_table(workload, config.limits);
  Instance instance(instance_config(config), workload, table, make_scheduler(config.scheduler),
                    pricer);
  PlainResult result;
  Recorder recorder(instance, pricer, result);
  std::size_t next = 0;
  while (result.calls.size() < static_cast<std::size_t>(config.max_calls)) {
    const SimTime send = next < workload.size() ? workload.arrival_ns[next] : kNever;
    const SimTime now = instance.next_time();
    if (send == kNever && now == kNever) break;
    if (send <= now) {
      instance.arrive(static_cast<std::uint32_t>(next++), send);
      continue;
    }
    recorder.before();
    (void)instance.act(&recorder);
    recorder.after(now, config.limits.priority, config.block_size);
    instance.check();
  }
  for (std::size_t r = 0; r < workload.size(); ++r) {
    result.requests.push_back({table.arrival[r], table.first_scheduled[r], table.first_token[r],
                               table.second_token[r], table.finish[r], table.cached_tokens[r],
                               table.preemptions[r]});
  }
  const SchedulerState& state = instance.state();
  result.digest = state.digest;
  result.preemptions = state.preemptions;
  result.prefix_query_tokens = state.prefix_query_tokens;
  result.prefix_hit_tokens = state.prefix_hit_tokens;
  return result;
}

std::string describe(const PlainCall& call) {
  std::ostringstream out;
  out << "at " << call.scheduled << ":";
  for (const PlainPart& part : call.parts) {
    out << " r" << part.request << "+" << part.tokens << "@" << part.context
        << (part.decode    ? "d"
            : part.samples ? "p!"
                           : "p");
  }
  for (const PlainAdmission& a : call.admitted)
    out << " admit r" << a.request << " hit " << a.hit_blocks;
  for (const std::uint32_t r : call.preempted) out << " preempt r" << r;
  out << " | running";
  for (const PlainProgress& p : call.running) out << " r" << p.request << ":" << p.computed;
  out << " | waiting";
  for (const std::uint32_t r : call.waiting) out << " r" << r;
  out << " | free " << call.free_blocks << " taken " << call.taken << " evicted " << call.evicted;
  if (call.out_done != kNever) {
    out << " | gpu " << call.gpu_start << ".." << call.gpu_end << " out " << call.out_done
        << " tokens " << call.tokens_out << " gap " << call.gap;
  }
  for (const auto& [gap, count] : call.gaps) out << " " << gap << "x" << count;
  return out.str();
}

std::string first_difference(const PlainConfig& config, PlainResult plain, PlainResult engine) {
  plain = comparable(std::move(plain), config.limits.priority);
  engine = comparable(std::move(engine), config.limits.priority);
  std::string calls = first_differing_call(plain, engine, decision_difference) +
                      first_differing_call(plain, engine, outcome_difference);
  if (!calls.empty()) return calls;
  std::ostringstream out;
  compare_number(out, "calls", plain.calls.size(), engine.calls.size());
  const bool cut = static_cast<int>(plain.calls.size()) == config.max_calls;
  for (std::size_t r = 0; r < plain.requests.size() && !cut; ++r) {
    const PlainRequest& a = plain.requests[r];
    const PlainRequest& b = engine.requests[r];
    compare_number(out, "arrival", a.arrival, b.arrival);
    compare_number(out, "first_scheduled", a.first_scheduled, b.first_scheduled);
    compare_number(out, "first_token", a.first_token, b.first_token);
    compare_number(out, "second_token", a.second_token, b.second_token);
    compare_number(out, "finish", a.finish, b.finish);
    compare_number(out, "cached_tokens", a.cached_tokens, b.cached_tokens);
    compare_number(out, "preemptions", a.preemptions, b.preemptions);
    if (!out.str().empty()) return "request " + std::to_string(r) + out.str();
  }
  compare_number(out, "preemptions", plain.preemptions, engine.preemptions);
  compare_number(out, "prefix_query_tokens", plain.prefix_query_tokens, engine.prefix_query_tokens);
  compare_number(out, "prefix_hit_tokens", plain.prefix_hit_tokens, engine.prefix_hit_tokens);
  if (!cut) compare_number(out, "digest", plain.digest, engine.digest);
  return out.str();
}

}  // namespace moesim::reference
