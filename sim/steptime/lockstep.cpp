// What data-parallel ranks do to each other's steps: serving-semantics 1.10 and 3.5.

#include <algorithm>
#include <numeric>

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
    mean.prepare += share * part.prepare;
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
/// (serving-semantics 1.10). A rank without work runs a token of its own. An engine that does not
/// pad has a graph only if all ranks have the same batch (TensorRT-LLM, cuda_graph_runner.py). One
/// with graphs of their own for prompts has them for single ranks: once any of several prefills,
/// none has a graph and counts stay ragged (SGLang's SUM_LEN, serving-semantics 8.1).
void StepTime::pad(std::span<const StepWork> ranks) {
  tokens_.clear();
  bool uniform = true;
  for (const StepWork& work : ranks) {
    int tokens = work.decodes;
    for (const PromptChunk& chunk : work.chunks) tokens += chunk.tokens;
    tokens_.push_back(ranks.size() > 1 ? std::max(1, tokens) : tokens);
    uniform = uniform && work.chunks.empty();
  }
  const int most = *std::ranges::max_element(tokens_);
  const EngineProfile& profile = engine_.profile;
  const bool ragged = ranks.size() > 1 && !uniform && profile.prompt_graphs == PromptGraphs::kOwn;
  dispatched_ = ragged ? Dispatch{GraphMode::kNone, most} : dispatch(most, uniform);
  if (!profile.pad_to_graph &&
      std::ranges::any_of(tokens_, [most](int tokens) { return tokens != most; }))
    dispatched_ = {GraphMode::kNone, most};
  // Half batches are captured whole or not at all, and are always of equal size (5.1).
  if (split_ && dispatched_.mode == GraphMode::kPiecewise) dispatched_ = {GraphMode::kNone, most};
  if (split_ || dispatched_.mode != GraphMode::kNone)
    std::ranges::fill(tokens_, dispatched_.padded);
}

void StepTime::price_experts(std::span<const StepWork> ranks) {
  MoeStep step{
      .step = ranks.front().step, .now_ns = ranks.front().now_ns, .held = {}, .works = ranks};
  held_.clear();
  const bool split = parallel_.sequence_parallel();
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    int prompt = 0;
    for (const PromptChunk& chunk : ranks[r].chunks) prompt += chunk.tokens;
    const int real = prompt + ranks[r].decodes;
    step.real_prompts += prompt;
    step.real_decodes += ranks[r].decodes;
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
  if (eplb_) eplb_->before_step(step.now_ns, *moe_);
  moe_->price(step, std::span(moe_cost_).first(stages_.size()));
  if (split_) price_other_half(step);
  copy_ns_ = eplb_ ? eplb_->after_step(step.step, *moe_) : 0;
}

/// Experts of the second half batch; what a half takes is then the mean of both.
void StepTime::price_other_half(MoeStep step) {
  const std::size_t stages = stages_.size();
  moe_cost_.resize(2 * stages);
  step.works = std::span(halves_).subspan(step.works.size());
  step.real_decodes = step.real_prompts = 0;
  for (const StepWork& work : step.works) {
    step.real_decodes += work.decodes;
    for (const PromptChunk& chunk : work.chunks) step.real_prompts += chunk.tokens;
  }
  const std::span<MoeStageCost> other = std::span(moe_cost_).subspan(stages);
  moe_->price(step, other);
  for (std::size_t s = 0; s < stages; ++s) {
    MoeStageCost& mean = moe_cost_[s];
    mean.gemm_ns = (mean.gemm_ns + other[s].gemm_ns) / 2;
    mean.wait_ns = (mean.wait_ns + other[s].wait_ns) / 2;
    mean.dispatch_ns = (mean.dispatch_ns + other[s].dispatch_ns) / 2;
    mean.combine_ns = (mean.combine_ns + other[s].combine_ns) / 2;
  }
}

/// Two half batches run in turn if every rank has enough tokens for two (serving-semantics 5.1).
bool StepTime::splits(std::span<const StepWork> ranks) const {
  if (!engine_.enable_dbo || ranks.size() == 1) return false;
  return std::ranges::all_of(ranks, [this](const StepWork& work) {
    int tokens = work.decodes;
    for (const PromptChunk& chunk : work.chunks) tokens += chunk.tokens;
    const int enough = work.chunks.empty() ? engine_.dbo_decode_tokens : engine_.dbo_prefill_tokens;
    return tokens >= std::max(2, enough);
  });
}

/// Both halves of every rank's step, the first of all ranks first: half of its decodes and of each
/// prompt chunk.
void StepTime::split(std::span<const StepWork> ranks) {
  const std::size_t count = ranks.size();
  halves_.assign(2 * count, {});
  half_chunks_.resize(2 * count);
  for (std::size_t h = 0; h < 2 * count; ++h) {
    const bool second = h >= count;
    const StepWork& whole = ranks[h % count];
    StepWork& half = halves_[h] = whole;
    // Odd ones are in the first half.
    const auto part = [second](auto n) { return second ? n / 2 : (n + 1) / 2; };
    half.decodes = part(whole.decodes);
    half.tokens = second ? whole.tokens.last(part(whole.tokens.size()))
                         : whole.tokens.first(part(whole.tokens.size()));
    for (std::int64_t& context : half.decode_context) context = part(context);
    half.sampled_rows = part(whole.sampled_rows);
    half_chunks_[h].clear();
    for (PromptChunk chunk : whole.chunks) {
      const int tokens = part(chunk.tokens);
      if (second) chunk.context += chunk.tokens - tokens;
      chunk.tokens = tokens;
      if (tokens > 0) half_chunks_[h].push_back(chunk);
    }
    half.chunks = half_chunks_[h];
  }
}

/// All but the experts is priced of the first half only, with contexts as in the middle: the second
/// half of a prompt attends over the first.
void StepTime::level_contexts() {
  for (auto& chunks : half_chunks_) {
    for (PromptChunk& chunk : chunks) chunk.context += chunk.tokens / 2;
  }
}

/// Both halves together, messages of one under the computation of the other. `sum` is one half; its
/// layers with experts are alike, so what happens in a layer is taken over all of them at once.
/// What belongs to none of them has no messages beside it.
void StepTime::overlap_halves(const StageState& stage, double expert_wait_ns, bool prompts,
                              Memo& sum) const {
  const auto ns = [&sum](Term term) { return sum.terms[index(term)]; };
  const double dispatch = ns(Term::kDispatch), combine = ns(Term::kCombine);
  const double experts = ns(Term::kExpertGemm) + expert_wait_ns;
  const double shared = ns(Term::kSharedExpert);
  const double apart = ns(Term::kEmbedding) + ns(Term::kDenseFfn) + ns(Term::kLmHead) +
                       ns(Term::kSampling) + ns(Term::kPpSendRecv);
  const double in_layers = sum.total - dispatch - combine - experts - shared - apart;
  const double share = static_cast<double>(stage.moe_layers) / stage.attention_layers;
  const double slow = slowdown_on_fewer_sms(stage.sms, stage.dispatch->sms());
  const double held_most = *std::ranges::max_element(held_);
  const MessageKernels kernels = stage.dispatch->kernels(held_most);
  const auto seconds = [](double of_ns) { return Seconds(of_ns / kNs); };
  const HalfBatch half{
      .attention = seconds(in_layers * share * slow),
      .experts = seconds(experts * slow),
      .shared = seconds(shared * slow),
      .dispatch = seconds(dispatch),
      .combine = seconds(combine),
      .prepare = seconds(sum.prepare * share * slow),
      .dispatch_kernels = seconds(std::min(dispatch, stage.moe_layers * kernels.dispatch_ns)),
      .combine_kernels = seconds(std::min(combine, stage.moe_layers * kernels.combine_ns))};
  const bool stages = engine_.profile.half_batches_by_stages;
  const Seconds layers = !stages   ? two_batch_layer(half)
                         : prompts ? two_batch_prompt_layer(half)
                                   : two_batch_decode_layer(half);
  const double both = layers.value() * kNs + 2 * (in_layers * (1 - share) + apart);
  const double serial = 2 * sum.total;
  for (double& term : sum.terms) term *= 2;
  for (double& part : sum.provenance) part *= both / sum.total;
  sum.terms[index(Term::kOverlapped)] += both - serial;
  sum.total = both;
}

/// Of the experts priced last, over the MoE layers of all stages; of two half batches the first.
double StepTime::mean_rank_imbalance() const {
  if (moe_ == nullptr || parallel_.moe_ep() == 1) return 0;
  double sum = 0;
  for (std::size_t s = 0; s < stages_.size(); ++s) sum += moe_cost_[s].rank_imbalance;
  return sum / moe_layers_;
}

void StepTime::price_ranks(std::span<const StepWork> ranks, StepCost& cost) {
  split_ = splits(ranks);
  if (split_) {
    split(ranks);
    ranks = std::span(halves_).first(ranks.size());
  }
  pad(ranks);
  if (moe_ != nullptr) price_experts(ranks);
  if (split_) level_contexts();
  cost.rank_imbalance = parallel_.expert_parallel ? mean_rank_imbalance() : 0;
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
  if (eplb_) {
    const double ns = std::accumulate(cost.stage_ns.begin(), cost.stage_ns.end(), 0.0);
    eplb_->step_ended(ranks.front().now_ns + static_cast<std::int64_t>(ns));
  }
}

}  // namespace moesim
