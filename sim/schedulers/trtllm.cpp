#include <algorithm>

#include "sim/base/check.h"
#include "sim/base/registry.h"
#include "sim/engine/scheduler.h"

namespace moesim {
namespace {

/// TensorRT-LLM: serving-semantics 8.2. A capacity scheduler says who may hold KV, a micro-batch
/// scheduler who runs; decodes and prompts share a step. Decodes come first and always all run
/// (max_batch_size is at most max_num_tokens).
///
/// guaranteed_no_evict: a prompt starts when prompt and whole output fit beside what the running
/// requests will still take. max_utilization: it starts when the prompt fits now; when the decodes
/// run short, the request started last is paused. Where layers have windows, no-evict adds up what
/// each request can ever hold, and blocks are taken chunk by chunk.
class Trtllm final : public Scheduler {
 public:
  void schedule(SchedulerState& state, SimTime now, Batch& batch) override;
  void complete(SchedulerState& state, SimTime out_done, Batch& batch) override;
  [[nodiscard]] bool has_prompt(SchedulerState& state) const override;

 private:
  /// The first new block of a prompt that is being computed: who needs it waits until it is cached.
  struct Upcoming {
    std::uint32_t request, id, block;
  };
  enum class Admission { kDone, kStop, kSkip };
  struct Wanted {
    std::int64_t known = 0, blocks = 0, tokens = 0;
    std::uint32_t hit = 0;  ///< cached blocks
    bool fits = false;
  };

  void pause_until_decodes_fit(SchedulerState& state);
  void run_decodes(SchedulerState& state, Batch& batch);
  void run_prompts(SchedulerState& state, Batch& batch, int& tokens);
  bool waits_for_more(const SchedulerState& state, const Batch& batch);
  void admit_waiting(SchedulerState& state, SimTime now, Batch& batch, int tokens);
  [[nodiscard]] bool is_blocked(const SchedulerState& state, std::uint32_t request) const;
  [[nodiscard]] Wanted wanted(SchedulerState& state, std::uint32_t request, int tokens) const;
  Admission admit(SchedulerState& state, SimTime now, Batch& batch, int& tokens);
  [[nodiscard]] static std::int64_t chunk(const SchedulerState& state, std::int64_t left,
                                          int tokens);
  void compute(SchedulerState& state, Batch& batch, std::uint32_t slot, std::int64_t tokens);
  [[nodiscard]] bool upcoming(std::uint32_t id, std::uint32_t block) const;
  [[nodiscard]] std::int64_t room(const SchedulerState& state) const;
  [[nodiscard]] static std::int64_t total(const SchedulerState& state, std::uint32_t request);
  [[nodiscard]] static std::int64_t held(const SchedulerState& state, std::uint32_t slot);
  [[nodiscard]] std::int64_t final_blocks(SchedulerState& state, std::uint32_t request) const;
  void forget(SchedulerState& state, std::uint32_t request);

  std::vector<DecodeSet::Event> events_;
  std::vector<std::uint32_t> completing_, skipped_;
  std::vector<Upcoming> upcoming_;
  /// Blocks the running requests will still take (no-evict); with windows: can ever hold.
  std::int64_t reserved_ = 0;
  bool windows_ = false;
  int waited_ = 0;  ///< steps for which new prompts were kept back
  // The head of the queue did not fit: nothing to do until there is more room or more is cached.
  std::uint32_t blocked_request_ = kNoRequest;
  std::uint64_t blocked_changes_ = 0;
  std::int64_t blocked_need_ = 0;
};

void Trtllm::schedule(SchedulerState& state, SimTime now, Batch& batch) {
  batch.clear();
  batch.cohort = 0;
  state.preempted.clear();
  completing_.clear();
  events_.clear();
  DecodeSet& set = state.cohorts.front();
  windows_ = set.has_windows();
  const std::int64_t anonymous = set.blocks_dropped();
  set.take_events(events_);
  state.leave_windows(0, events_, anonymous);
  if (state.limits.trtllm.max_utilization) pause_until_decodes_fit(state);
  run_decodes(state, batch);
  int tokens = state.limits.max_num_batched_tokens - batch.decodes;
  if (!state.hold_prompts) run_prompts(state, batch, tokens);
  if (!state.hold_prompts && state.preempted.empty() && !waits_for_more(state, batch))
    admit_waiting(state, now, batch, tokens);
  set.advance();
  state.finish_decodes(batch, events_);
  state.finish_prompts(batch, completing_);
  state.close(batch);
}

// ---- capacity -----------------------------------------------------------------------------------

/// Blocks a new request may count on.
std::int64_t Trtllm::room(const SchedulerState& state) const {
  const bool by_total = windows_ && !state.limits.trtllm.max_utilization;
  return (by_total ? state.kv.usable_blocks() : state.kv.free_blocks()) - reserved_;
}

/// Tokens of a request when it is done.
std::int64_t Trtllm::total(const SchedulerState& state, std::uint32_t request) {
  return std::int64_t{state.workload->prompt_tokens[request]} + state.table->output_tokens[request];
}

/// Blocks an admitted request holds; those that steps only counted included.
std::int64_t Trtllm::held(const SchedulerState& state, std::uint32_t s) {
  const Slot& slot = state.running[s];
  // A prompt holds all of its blocks from its first chunk on.
  const std::int64_t tokens = std::max(state.computed(slot), slot.known);
  std::int64_t sum = 0;
  for (std::size_t g = 0; g < state.kv.group_count(); ++g) sum += state.kv.blocks_for(g, tokens);
  return sum;
}

/// Blocks a request holds at most.
std::int64_t Trtllm::final_blocks(SchedulerState& state, std::uint32_t request) const {
  const std::int64_t tokens = total(state, request);
  if (windows_) return state.kv.blocks_needed_in_full(TokenChain{}, 0, tokens);
  std::int64_t sum = 0;
  for (std::size_t g = 0; g < state.kv.group_count(); ++g) sum += state.kv.blocks_for(g, tokens);
  return sum;
}

/// max_utilization: pauses the requests started last until every decode gets its next block.
void Trtllm::pause_until_decodes_fit(SchedulerState& state) {
  const DecodeSet& set = state.cohorts.front();
  while (set.blocks_needed() > state.kv.free_blocks()) {
    std::uint32_t last = state.running.last();
    while (state.running[last].state == Slot::State::kFinishing) last = state.running[last].prev;
    const std::uint32_t request = state.running[last].request;
    std::erase_if(upcoming_, [&](const Upcoming& entry) { return entry.request == request; });
    state.preempt(last, 0);
  }
}

void Trtllm::run_decodes(SchedulerState& state, Batch& batch) {
  const DecodeSet& set = state.cohorts.front();
  const std::int64_t need = set.blocks_needed();
  MOESIM_CHECK(need <= state.kv.free_blocks(), "no-evict keeps the blocks that decodes will take");
  if (!windows_ && !state.limits.trtllm.max_utilization) reserved_ -= need;
  state.kv.take_uncounted(need);
  batch.decodes = set.size();
  batch.decode_context = set.context();
}

// ---- micro-batch --------------------------------------------------------------------------------

/// Prompt tokens to run of `left`: all, or what is left of the step in whole blocks.
std::int64_t Trtllm::chunk(const SchedulerState& state, std::int64_t left, int tokens) {
  if (left <= tokens) return left;
  if (!state.limits.chunked_prefill) return 0;
  const int whole = tokens / state.kv.block_size() * state.kv.block_size();
  // A step smaller than a block still gets on with its prompt.
  return whole > 0 || tokens < state.limits.max_num_batched_tokens ? whole : tokens;
}

void Trtllm::compute(SchedulerState& state, Batch& batch, std::uint32_t s, std::int64_t tokens) {
  const Slot& slot = state.running[s];
  const std::int64_t target = slot.computed + tokens;
  const std::int64_t hold = windows_ ? target : slot.known;
  if (state.add_chunk(batch, s, tokens, hold, windows_ ? target : 0)) completing_.push_back(s);
}

/// Prompts that have begun, in order.
void Trtllm::run_prompts(SchedulerState& state, Batch& batch, int& tokens) {
  for (const std::uint32_t s : state.running.prompts) {
    const Slot& slot = state.running[s];
    const std::int64_t n = chunk(state, slot.known - slot.computed, tokens);
    if (n == 0) return;
    const std::int64_t need = state.kv.blocks_to_grow(slot.kv, slot.computed + n);
    if (need > state.kv.free_blocks()) return;
    compute(state, batch, s, n);
    tokens -= static_cast<int>(n);
  }
}

/// batch_wait_*: beside decodes, new prompts wait for company. What would be computed is taken from
/// the queue alone; whether their KV fits is looked at when they start.
bool Trtllm::waits_for_more(const SchedulerState& state, const Batch& batch) {
  const TrtllmOptions& options = state.limits.trtllm;
  if (options.batch_wait_timeout_iters == 0) return false;
  if (batch.decodes == 0 || !batch.chunks.empty() || state.running.none_waiting()) return false;
  const double enough = options.batch_wait_max_tokens_ratio * state.limits.max_num_batched_tokens;
  const auto free =
      static_cast<std::size_t>(std::max(0, state.limits.max_num_seqs - state.running.size()));
  double tokens = batch.decodes;
  const std::size_t last = std::min(free, state.running.waiting_count());
  for (std::size_t i = 0; i < last && tokens < enough; ++i)
    tokens += state.workload->prompt_tokens[state.running.waiting_at(i)];
  if (tokens < enough && waited_ < options.batch_wait_timeout_iters) {
    ++waited_;
    return true;
  }
  waited_ = 0;
  return false;
}

/// Of new prompts, the head of the queue decides.
bool Trtllm::has_prompt(SchedulerState& state) const {
  if (!state.running.prompts.empty()) return true;
  if (state.running.none_waiting() || state.running.size() >= state.limits.max_num_seqs)
    return false;
  const std::uint32_t request = state.running.head();
  return !state.output_pending(request) && !is_blocked(state, request) &&
         wanted(state, request, state.limits.max_num_batched_tokens).fits;
}

bool Trtllm::is_blocked(const SchedulerState& state, std::uint32_t request) const {
  return request == blocked_request_ && state.kv.changes() == blocked_changes_ &&
         room(state) < blocked_need_;
}

/// New prompts in order of arrival. One that shares its first new block with a prompt being
/// computed is passed over: it will find that block cached.
void Trtllm::admit_waiting(SchedulerState& state, SimTime now, Batch& batch, int tokens) {
  skipped_.clear();
  while (!state.running.none_waiting() && tokens > 0 &&
         state.running.size() < state.limits.max_num_seqs) {
    const std::uint32_t request = state.running.head();
    if (is_blocked(state, request)) break;
    const Admission admission = admit(state, now, batch, tokens);
    if (admission == Admission::kStop) break;
    if (admission == Admission::kDone) continue;
    skipped_.push_back(request);
    state.running.pop_head();
  }
  for (std::size_t i = skipped_.size(); i-- > 0;)
    state.running.push_waiting_front({0, state.table->arrival[skipped_[i]], skipped_[i]});
}

/// What the head of the queue takes, in a step that has `tokens` left.
Trtllm::Wanted Trtllm::wanted(SchedulerState& state, std::uint32_t request, int tokens) const {
  Wanted wanted;
  wanted.known =
      std::int64_t{state.workload->prompt_tokens[request]} + state.table->generated[request];
  const TokenChain chain = state.chain(request);
  wanted.hit = state.kv.find_hit(chain, wanted.known);
  const bool no_evict = !state.limits.trtllm.max_utilization;
  const std::int64_t last = no_evict ? total(state, request) : wanted.known;
  wanted.blocks = no_evict && windows_ ? final_blocks(state, request)
                                       : state.kv.blocks_needed_in_full(chain, wanted.hit, last);
  const std::int64_t cached = std::int64_t{wanted.hit} * state.kv.block_size();
  wanted.tokens = chunk(state, state.to_compute(request, wanted.known, cached), tokens);
  const std::int64_t first = state.arrives_with_kv(request) ? wanted.known : cached + wanted.tokens;
  wanted.fits =
      wanted.blocks <= room(state) &&
      (!windows_ || state.kv.blocks_needed(chain, wanted.hit, first) <= state.kv.free_blocks());
  return wanted;
}

Trtllm::Admission Trtllm::admit(SchedulerState& state, SimTime now, Batch& batch, int& tokens) {
  const std::uint32_t request = state.running.head();
  if (state.output_pending(request)) return Admission::kStop;
  const Wanted want = wanted(state, request, tokens);
  const std::int64_t page = state.kv.block_size();
  const std::uint32_t id = state.kv.caching() && !windows_ && (want.hit + 1) * page <= want.known
                               ? state.kv.id_at(state.chain(request), want.hit)
                               : TokenChain::kNoId;
  if (id != TokenChain::kNoId && upcoming(id, want.hit)) return Admission::kSkip;
  if (!want.fits) {
    blocked_request_ = request;
    blocked_changes_ = state.kv.changes();
    blocked_need_ = want.blocks > room(state) && !windows_ ? want.blocks : 0;
    return Admission::kStop;
  }
  if (want.tokens == 0) return Admission::kStop;
  blocked_request_ = kNoRequest;
  const std::uint32_t s = state.admit_head(now, batch, want.hit, want.known);
  compute(state, batch, s, want.tokens);
  tokens -= static_cast<int>(want.tokens);
  if (!state.limits.trtllm.max_utilization)
    reserved_ += final_blocks(state, request) - (windows_ ? 0 : held(state, s));
  if (id != TokenChain::kNoId) upcoming_.push_back({request, id, want.hit});
  return Admission::kDone;
}

bool Trtllm::upcoming(std::uint32_t id, std::uint32_t block) const {
  return std::any_of(upcoming_.begin(), upcoming_.end(),
                     [&](const Upcoming& entry) { return entry.id == id && entry.block == block; });
}

// ---- output -------------------------------------------------------------------------------------

/// A request that ends gives back what it reserved and did not take.
void Trtllm::forget(SchedulerState& state, std::uint32_t request) {
  if (state.limits.trtllm.max_utilization) return;
  const std::uint32_t s = state.running.slot_of(request);
  reserved_ -= final_blocks(state, request) - (windows_ ? 0 : held(state, s));
}

void Trtllm::complete(SchedulerState& state, SimTime out_done, Batch& batch) {
  for (const PromptChunk& chunk : batch.chunks) {
    if (!chunk.completes) continue;
    std::erase_if(upcoming_, [&](const Upcoming& entry) { return entry.request == chunk.request; });
    const std::uint32_t s = state.running.slot_of(chunk.request);
    if (s == kNoSlot || windows_) continue;
    Slot& slot = state.running[s];
    state.kv.insert(slot.kv, state.chain(chunk.request), slot.known, false);
  }
  for (const std::uint32_t request : batch.finishing) forget(state, request);
  state.process_output(out_done, batch);
}

const Register<Scheduler> kTrtllm{
    "trtllm", "TensorRT-LLM: no-evict or max-utilization capacity, then in-flight batching",
    [](Reader&) { return std::make_unique<Trtllm>(); }};

}  // namespace
}  // namespace moesim
