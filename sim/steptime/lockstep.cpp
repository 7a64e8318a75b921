// What data-parallel ranks do to each other's steps: serving-semantics 1.10 and 3.5.

#include <algorithm>
#include <limits>

#include "hardware/overlap.h"
#include "sim/steptime/stage_state.h"
#include "sim/steptime/step_time.h"

namespace moesim {

/// All ranks of a stage but for the experts: they meet at every layer, so each layer takes what its
/// slowest rank does. Alike layers have the same slowest rank; what does not belong to a layer is
/// spread over all of them.
StepTime::Memo StepTime::price_lockstep(StageState& stage, std::span<const StepWork> ranks) {
  by_rank_.clear();
  Memo mean;
  const auto share = 1 / static_cast<double>(ranks.size());
  const auto add_share = [&](const Memo& part) {
    mean.total += share * part.total;
    for (std::size_t i = 0; i < mean.terms.size(); ++i) mean.terms[i] += share * part.terms[i];
    for (std::size_t i = 0; i < mean.provenance.size(); ++i)
      mean.provenance[i] += share * part.provenance[i];
  };
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    by_rank_.push_back(price_rank(stage, ranks[r], tokens_[r]));
    add_share(by_rank_.back());
  }
  double slowest = 0;
  for (std::size_t c = 0; c < stage.classes.size(); ++c) {
    const double of_layers = static_cast<double>(stage.classes[c].layers) / stage.attention_layers;
    double longest = 0;
    for (std::size_t r = 0; r < ranks.size(); ++r) {
      Memo attention;
      price_attention(stage, c, ranks[r], attention);
      add_share(attention);
      longest = std::max(longest, attention.total + of_layers * by_rank_[r].total);
    }
    slowest += longest;
  }
  const double wait = std::max(0.0, slowest - mean.total);
  if (wait == 0) return mean;
  mean.terms[index(Term::kExposedWait)] += wait;
  for (double& ns : mean.provenance) ns *= slowest / mean.total;
  mean.total = slowest;
  return mean;
}

/// The graph mode of a step is the least of its ranks'; in a graph all are padded to the largest
/// (serving-semantics 1.10). A rank without work runs a token of its own.
void StepTime::pad(std::span<const StepWork> ranks) {
  tokens_.clear();
  bool uniform = true;
  for (const StepWork& work : ranks) {
    int tokens = work.decodes;
    for (const PromptChunk& chunk : work.chunks) tokens += chunk.tokens;
    tokens_.push_back(ranks.size() > 1 ? std::max(1, tokens) : tokens);
    uniform = uniform && work.chunks.empty();
  }
  dispatched_ = dispatch(*std::ranges::max_element(tokens_), uniform);
  if (dispatched_.mode != GraphMode::kNone) std::ranges::fill(tokens_, dispatched_.padded);
}

void StepTime::price_experts(std::span<const StepWork> ranks) {
  MoeStep step{ranks.front().step, ranks.front().now_ns, 0, 0, {}, ranks};
  held_.clear();
  const bool split = parallel_.sequence_parallel();
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    int prompt = 0;
    for (const PromptChunk& chunk : ranks[r].chunks) prompt += chunk.tokens;
    const int real = prompt + ranks[r].decodes;
    // Padding is shared out like the tokens themselves.
    const int prompts =
        real == 0 ? 0 : static_cast<int>(static_cast<std::int64_t>(tokens_[r]) * prompt / real);
    step.prompt_tokens += prompts;
    step.decode_tokens += tokens_[r] - prompts;
    const double own = split ? static_cast<double>(tokens_[r]) / parallel_.tp : tokens_[r];
    for (int t = 0; t < parallel_.tp; ++t) held_.push_back(own);
  }
  // Experts cut over several ranks: those hold the tokens of their part together.
  const auto cut = static_cast<std::size_t>(parallel_.moe_tp);
  for (std::size_t part = 0; cut > 1 && part < held_.size() / cut; ++part) {
    double sum = 0;
    for (std::size_t i = 0; i < cut; ++i) sum += held_[part * cut + i];
    held_[part] = sum;
  }
  held_.resize(held_.size() / cut);
  step.held = held_;
  moe_->price(step, moe_cost_);
  if (split_) moe_->price(step, moe_cost_);  // the other half, for what is remembered
  copy_ns_ = eplb_ ? eplb_->after_step(step.step, *moe_) : 0;
}

/// Two half batches run in turn if every rank has enough tokens for two (serving-semantics 5.1).
bool StepTime::splits(std::span<const StepWork> ranks) const {
  if (!engine_.enable_dbo || ranks.size() == 1) return false;
  bool prompts = false;
  int least = std::numeric_limits<int>::max();
  for (const StepWork& work : ranks) {
    int tokens = work.decodes;
    for (const PromptChunk& chunk : work.chunks) tokens += chunk.tokens;
    prompts = prompts || !work.chunks.empty();
    least = std::min(least, tokens);
  }
  return least >= std::max(2, prompts ? engine_.dbo_prefill_tokens : engine_.dbo_decode_tokens);
}

/// Half of every rank's step: half of its decodes and of each prompt chunk. The halves are alike,
/// so one is priced.
void StepTime::split(std::span<const StepWork> ranks) {
  halves_.assign(ranks.begin(), ranks.end());
  half_chunks_.resize(ranks.size());
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    StepWork& half = halves_[r];
    half.decodes = (half.decodes + 1) / 2;
    for (std::int64_t& context : half.decode_context) context = (context + 1) / 2;
    half_chunks_[r].clear();
    for (PromptChunk chunk : half.chunks) {
      // The second half of a chunk attends over the first: the mean of both.
      chunk.context += chunk.tokens / 4;
      chunk.tokens = (chunk.tokens + 1) / 2;
      half_chunks_[r].push_back(chunk);
    }
    half.chunks = half_chunks_[r];
    half.sampled_rows = (half.sampled_rows + 1) / 2;
  }
}

/// Both halves together, messages of one under the computation of the other. `sum` is one half; its
/// layers are alike, so the slots of a layer are taken over all of them at once.
void StepTime::overlap_halves(const StageState& stage, Memo& sum) const {
  const auto ns = [&sum](Term term) { return sum.terms[index(term)]; };
  const double messages = ns(Term::kDispatch) + ns(Term::kCombine);
  const double experts = ns(Term::kExpertGemm);
  const double shared = ns(Term::kSharedExpert);
  const double slow = slowdown_on_fewer_sms(stage.sms, stage.dispatch->sms());
  const HalfBatch half{.attention = Seconds((sum.total - messages - experts - shared) * slow / kNs),
                       .experts = Seconds(experts * slow / kNs),
                       .shared = Seconds(shared * slow / kNs),
                       .dispatch = Seconds(ns(Term::kDispatch) / kNs),
                       .combine = Seconds(ns(Term::kCombine) / kNs)};
  const double both = two_batch_layer(half).value() * kNs;
  const double serial = 2 * sum.total;
  for (double& term : sum.terms) term *= 2;
  for (double& part : sum.provenance) part *= both / sum.total;
  sum.terms[index(Term::kOverlapped)] += both - serial;
  sum.total = both;
}

void StepTime::price_ranks(std::span<const StepWork> ranks, StepCost& cost) {
  split_ = splits(ranks);
  if (split_) {
    split(ranks);
    ranks = halves_;
  }
  pad(ranks);
  if (moe_ != nullptr) price_experts(ranks);
  cost.graph = dispatched_.mode;
  cost.padded_tokens = 0;
  for (const int tokens : tokens_) cost.padded_tokens += split_ ? 2 * tokens : tokens;
  cost.stage_ns.resize(stages_.size());
  cost.terms = {};
  cost.provenance_ns = {};
  for (std::size_t s = 0; s < stages_.size(); ++s) {
    const Memo sum = price_stage(s, ranks);
    cost.stage_ns[s] = sum.total;
    for (std::size_t i = 0; i < sum.terms.size(); ++i) cost.terms[i] += sum.terms[i];
    for (std::size_t i = 0; i < sum.provenance.size(); ++i)
      cost.provenance_ns[i] += sum.provenance[i];
  }
}

}  // namespace moesim
