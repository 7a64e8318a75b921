// What data-parallel ranks of an instance run, and who gets the next request.

#include <algorithm>

#include "sim/engine/instance.h"

namespace moesim {

RankRules rank_rules(const std::string& backend) {
  constexpr int kVllmSteps = 32;  // serving-semantics 1.10
  if (backend == "sglang") return {RankBalance::kRoundRobin, 1};
  if (backend == "trtllm") return {RankBalance::kLeastTokens, 1};
  return {RankBalance::kPublished, kVllmSteps};
}

/// The decoding sequences of a batch, one by one: for routing that is replayed exactly.
void Instance::list_tokens(Rank& rank, const Batch& batch) const {
  if (batch.decodes == 0) return;
  const Running& running = rank.state.running;
  for (std::uint32_t s = running.first(); s != kNoSlot; s = running[s].next) {
    const Slot& slot = running[s];
    if (!rank.state.decodes_in(slot, batch)) continue;
    // The token that goes in is the last one computed, this step included.
    const std::int64_t index =
        rank.state.computed(slot) - 1 - workload_->prompt_tokens[slot.request];
    rank.routed.push_back({slot.request, static_cast<std::uint32_t>(index)});
  }
}

/// A chunk of one token, told as a decode: of the prompt still, or of the output computed again.
void Instance::list_chunk(Rank& rank, const PromptChunk& chunk) const {
  const auto at = static_cast<std::uint32_t>(chunk.context);
  const std::uint32_t prompt = workload_->prompt_tokens[chunk.request];
  const bool in_prompt = at < prompt;
  rank.routed.push_back({chunk.request, in_prompt ? at : at - prompt, in_prompt});
}

/// What a rank's batch is to the GPU. A request that arrived with its prompt's KV runs one token:
/// to the kernels that is a decode.
StepWork Instance::work_of(Rank& rank, const Batch& batch, SimTime now) const {
  int rows = batch.decodes;
  for (const PromptChunk& chunk : batch.chunks) rows += chunk.completes ? 1 : 0;
  const bool listed = pricer_->wants_tokens(turn());
  rank.routed.clear();
  if (listed) list_tokens(rank, batch);
  StepWork work{.step = turn(),
                .decodes = batch.decodes,
                .decode_context = batch.decode_context,
                .chunks = batch.chunks,
                .sampled_rows = rows,
                .tokens = rank.routed,
                .now_ns = now};
  if (!config_.limits.kv_in_place) return work;
  rank.chunks.clear();
  for (const PromptChunk& chunk : batch.chunks) {
    if (chunk.tokens > 1) {
      rank.chunks.push_back(chunk);
      continue;
    }
    ++work.decodes;
    if (listed) list_chunk(rank, chunk);
    for (std::size_t g = 0; g < config_.kv.groups.size(); ++g) {
      const std::int64_t window = config_.kv.groups[g].window;
      const std::int64_t seen = std::int64_t{chunk.context} + 1;
      work.decode_context[g] += window > 0 ? std::min(seen, window) : seen;
    }
  }
  work.chunks = rank.chunks;
  work.tokens = rank.routed;
  return work;
}

/// The first of the least loaded ranks, as the API server sees them.
std::size_t Instance::choose_rank() {
  if (ranks_.size() == 1) return 0;
  if (config_.rules.balance == RankBalance::kRoundRobin) return next_rank_++ % ranks_.size();
  const auto load = [this](const Rank& rank) {
    constexpr int kWaitingWeight = 4;  // a queued request counts as four running ones (1.10)
    return config_.rules.balance == RankBalance::kLeastTokens
               ? rank.token_load
               : kWaitingWeight * rank.published_waiting + rank.published_running;
  };
  std::size_t best = 0;
  for (std::size_t r = 1; r < ranks_.size(); ++r) {
    if (load(*ranks_[r]) < load(*ranks_[best])) best = r;
  }
  ++ranks_[best]->published_waiting;  // until the engine publishes again
  return best;
}

void Instance::hold_prompts() {
  demands_.clear();
  for (const auto& rank : ranks_)
    demands_.push_back(
        {rank->state.cohorts.front().size(), rank->scheduler->has_prompt(rank->state)});
  const bool hold = balance_->hold(demands_);
  for (const auto& rank : ranks_) rank->state.hold_prompts = hold;
}

/// The engine tells the API server its queue lengths, at most every 100 ms (1.10).
void Instance::publish(SimTime now) {
  constexpr SimTime kPeriod = 100'000'000;
  if (ranks_.size() == 1 || now - published_at_ < kPeriod) return;
  published_at_ = now;
  for (const auto& rank : ranks_) {
    rank->published_waiting = static_cast<int>(rank->state.running.waiting_count());
    rank->published_running = rank->state.running.size();
  }
}

}  // namespace moesim
