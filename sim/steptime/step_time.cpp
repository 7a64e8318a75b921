#include "sim/steptime/step_time.h"

#include <algorithm>
#include <utility>

#include "sim/base/check.h"
#include "sim/steptime/host_calls.h"
#include "sim/steptime/stage_state.h"

namespace moesim {

namespace {

int group_of(const LayerSpec& layer, const KvLayout& kv) {
  for (std::size_t g = 0; g < kv.groups.size(); ++g) {
    if (kv.groups[g].kind == layer.attention && kv.groups[g].window == layer.window)
      return static_cast<int>(g);
  }
  // Padding may put one kind of layer into several groups of equal size; without the hybrid manager
  // windowed layers are stored in the full group.
  return kv.groups.empty() || layer.attention == AttentionKind::kLinear ? -1 : 0;
}

/// Whether the sums over ranks are small enough for the kernel that adds the residual and
/// normalises in passing.
bool normalised_by_all_reduce(double limit, std::span<const Op> ops) {
  double message = 0;
  for (const Op& op : ops) {
    if (op.kind == OpKind::kAllReduce) message = std::max(message, op.message_bytes);
  }
  return message > 0 && message <= limit;
}

int tokens_in(const StepWork& work) {
  int tokens = work.decodes;
  for (const PromptChunk& chunk : work.chunks) tokens += chunk.tokens;
  return tokens;
}

/// [tokens] -> the smallest of `sizes` (ascending) that holds them.
std::vector<int> padding_table(const std::vector<int>& sizes) {
  std::vector<int> table(sizes.empty() ? 0 : static_cast<std::size_t>(sizes.back()) + 1);
  std::size_t next = 0;
  for (std::size_t tokens = 0; tokens < table.size(); ++tokens) {
    while (sizes[next] < static_cast<int>(tokens)) ++next;
    table[tokens] = sizes[next];
  }
  return table;
}

}  // namespace

void StepPricer::price_ranks(std::span<const StepWork> ranks, StepCost& cost) {
  MOESIM_CHECK(ranks.size() == 1, "this pricer knows instances of one data-parallel rank only");
  price(ranks.front(), cost);
}

StepTime::StepTime(const ModelSpec& model, std::vector<Stage> stages, const KvLayout& kv,
                   const EngineSpec& engine, Experts experts, std::uint64_t seed)
    : family_(make_family(model)),
      engine_(engine),
      seed_(seed),
      parallel_(stages.front().shard.parallel) {
  if (!engine_.enforce_eager) {
    padded_ = padding_table(engine_.cudagraph_capture_sizes);
    prompt_padded_ = padding_table(engine_.prompt_capture_sizes);
  }
  for (Stage& stage : stages) {
    auto state = std::make_unique<StageState>();
    state->shard = stage.shard;
    state->kernels = std::move(stage.kernels);
    state->dispatch = std::move(stage.dispatch);
    state->sms = stage.sms;
    state->fused_norm_bytes = stage.fused_norm_bytes;
    state->classes = layer_classes(state->shard);
    state->by_tokens.resize(
        static_cast<std::size_t>(std::max(engine_.max_num_batched_tokens, engine_.max_num_seqs)) +
        1 + (padded_.empty() ? 0 : padded_.size()));
    state->decode_times.resize(state->classes.size());
    state->prompt_times.resize(state->classes.size());
    state->by_rows.resize(static_cast<std::size_t>(engine_.max_num_seqs) + 1);
    for (const LayerClass& layers : state->classes) {
      state->kv_group.push_back(group_of(layers.spec, kv));
      state->attention_layers += layers.layers;
      if (layers.spec.moe) state->moe_layers += layers.layers;
    }
    const bool composite = engine_.profile.launch.composite_calls;
    state->host_calls = host_calls(
        *family_, state->shard, state->classes,
        {.composite = composite, .norms_in_all_reduce = composite && stage.fused_norm_bytes > 0});
    stages_.push_back(std::move(state));
  }
  moe_cost_.resize(stages_.size());
  if (!model.is_moe()) return;
  // A balanced router without ranks to wait for needs counts only: pools of alike layers.
  const bool alone = parallel_.moe_ep() == 1 && parallel_.dp == 1;
  const bool sampled = experts.fidelity == RoutingFidelity::kSampled;
  if (alone && sampled && !experts.tier && !experts.capacity && experts.routing->exchangeable()) {
    routing_ = std::move(experts.routing);
    for (auto& stage : stages_) add_pools(*stage, *routing_);
  } else {
    make_moe(model, std::move(experts));
  }
}

StepTime::~StepTime() = default;

std::vector<KernelOrigin> StepTime::kernel_origins() const {
  std::vector<KernelOrigin> out;
  for (const auto& stage : stages_) {
    for (KernelOrigin& origin : stage->kernels->origins(*stage->shard.model)) {
      if (std::ranges::find(out, origin) == out.end()) out.push_back(std::move(origin));
    }
  }
  return out;
}

StepTime::Dispatch StepTime::dispatch(int tokens, bool uniform) const {
  const auto t = static_cast<std::size_t>(tokens);
  const EngineProfile& profile = engine_.profile;
  const bool own = !uniform && profile.prompt_graphs == PromptGraphs::kOwn;
  const std::vector<int>& table = own ? prompt_padded_ : padded_;
  if (t >= table.size()) return {GraphMode::kNone, tokens};
  const int padded = table[t];
  const bool whole = profile.prompt_graphs == PromptGraphs::kFull;
  const bool full = whole || (uniform && profile.full_graphs && padded <= engine_.max_num_seqs);
  const bool pieces = own || profile.prompt_graphs == PromptGraphs::kSame;
  if (!full && !pieces) return {GraphMode::kNone, tokens};
  if (!own && !profile.pad_to_graph && padded != tokens) return {GraphMode::kNone, tokens};
  return {full ? GraphMode::kFull : GraphMode::kPiecewise, padded};
}

void StepTime::add_op(const KernelModel& kernels, const Op& op, Memo& sum) const {
  add_time(kernels.time(op), op, sum);
}

void StepTime::add_time(const KernelTime& time, const Op& op, Memo& sum) {
  const double ns = time.time.value() * kNs * op.repeat;
  sum.terms[index(op.term)] += ns;
  sum.provenance[static_cast<std::size_t>(time.provenance)] += ns;
  sum.total += ns;
  if (op.before_attention) sum.prepare += ns;
}

const StepTime::Memo& StepTime::token_memo(StageState& stage, int tokens) {
  const auto slot = static_cast<std::size_t>(tokens);
  const bool small = slot < stage.by_tokens.size();
  if (small && stage.by_tokens[slot] != nullptr) return *stage.by_tokens[slot];
  stage.large = Memo{};  // static batches only: padded prompts have no bound worth a table
  Memo& memo = small ? *(stage.by_tokens[slot] = std::make_unique<Memo>()) : stage.large;
  stage.scratch.clear();
  family_->token_ops(stage.shard, stage.classes, tokens, stage.scratch);
  const bool fused = normalised_by_all_reduce(stage.fused_norm_bytes, stage.scratch);
  for (const Op& op : stage.scratch) {
    if (fused && op.part == MemoryPart::kNorm && op.kind == OpKind::kElementwise) continue;
    add_op(*stage.kernels, op, memo);
  }
  return memo;
}

const StepTime::Memo& StepTime::row_memo(StageState& stage, int rows) {
  std::unique_ptr<Memo>& memo = stage.by_rows[static_cast<std::size_t>(rows)];
  if (memo != nullptr) return *memo;
  memo = std::make_unique<Memo>();
  stage.scratch.clear();
  family_->sample_ops(stage.shard, rows, stage.scratch);
  for (const Op& op : stage.scratch) add_op(*stage.kernels, op, *memo);
  return *memo;
}

/// All prompt chunks of a step, attended in one call.
Op StepTime::prompt_op(const StageState& stage, const LayerClass& layers,
                       std::span<const PromptChunk> chunks) const {
  Op prompts;
  for (const PromptChunk& chunk : chunks) {
    const Op one = family_->attention_prefill(stage.shard, layers, chunk.tokens, chunk.context);
    if (&chunk == chunks.data()) {
      prompts = one;
    } else {
      add_sequences(prompts, one);
    }
  }
  return prompts;
}

KernelTime StepTime::prompt_attention(const StageState& stage, std::size_t layer_class,
                                      std::span<const PromptChunk> chunks) const {
  const auto price = [&] {
    return stage.kernels->time(prompt_op(stage, stage.classes[layer_class], chunks));
  };
  if (chunks.size() > 1) return price();
  return stage.prompt_times[layer_class].at(chunks[0].tokens, chunks[0].context, price);
}

/// The same beside prompts as alone, so that a prompt never makes the decodes of a step cheaper.
KernelTime StepTime::decode_attention(const StageState& stage, std::size_t layer_class,
                                      int sequences, std::int64_t context) const {
  const auto price = [&](std::int64_t tokens) {
    return stage.kernels->time(
        family_->attention_decode(stage.shard, stage.classes[layer_class], sequences, tokens));
  };
  return stage.decode_times[layer_class].at(sequences, context, price);
}

/// Decode attention from sums, all prompt chunks in one call (a mixed batch costs the sum of both
/// parts: 4.1; unless the kernels are known to attend both at once).
void StepTime::price_attention(const StageState& stage, std::size_t layer_class,
                               const StepWork& work, Memo& sum) const {
  if (work.decodes == 0 && work.chunks.empty()) return;  // a dummy batch reads no keys
  const LayerClass& layers = stage.classes[layer_class];
  const int group = stage.kv_group[layer_class];
  const std::int64_t context = group < 0 ? 0 : work.decode_context[static_cast<std::size_t>(group)];
  KernelTime time;
  if (work.chunks.empty()) {
    time = decode_attention(stage, layer_class, work.decodes, context);
  } else if (work.decodes == 0) {
    time = prompt_attention(stage, layer_class, work.chunks);
  } else if (stage.kernels->attends_mixed_batches()) {
    time = stage.kernels->mixed_attention(
        prompt_op(stage, layers, work.chunks),
        family_->attention_decode(stage.shard, layers, work.decodes, context));
  } else {
    time = together(prompt_attention(stage, layer_class, work.chunks),
                    decode_attention(stage, layer_class, work.decodes, context));
  }
  Op all;
  all.term = Term::kAttention;
  all.repeat = layers.layers;
  add_time(time, all, sum);
}

double StepTime::launch_ns(const StageState& stage, GraphMode mode) const {
  const LaunchCost& launch = engine_.profile.launch;
  const double layers = stage.attention_layers;
  switch (mode) {
    case GraphMode::kFull:
      return launch.full_us * 1e3;
    case GraphMode::kPiecewise:
      return ((layers + 1) * launch.piece_us + layers * launch.piece_attention_us) * 1e3;
    case GraphMode::kNone:
      return (layers * launch.eager_layer_us + stage.host_calls * launch.eager_call_us) * 1e3;
  }
  return 0;
}

/// Shared experts run beside the routed ones on a stream of their own while a step is small: the
/// longer of the two and a tenth of the shorter (serving-semantics 3.3, "Shared experts"). With
/// messages sent to experts they run while those are under way instead.
void StepTime::hide_shared_experts(const StageState& stage, int tokens, Memo& sum) const {
  const bool sent = stage.dispatch != nullptr && stage.dispatch->routed();
  if (!sent && tokens > engine_.profile.shared_expert_stream_tokens) return;
  constexpr double kHidden = 0.9;
  const double beside = sum.terms[index(sent ? Term::kDispatch : Term::kExpertGemm)];
  const double both = std::min(sum.terms[index(Term::kSharedExpert)], beside);
  if (both <= 0) return;
  sum.terms[index(Term::kOverlapped)] -= kHidden * both;
  // Shares of provenance are of the time that is left.
  for (double& ns : sum.provenance) ns *= 1 - kHidden * both / sum.total;
  sum.total -= kHidden * both;
}

/// Everything but the routed experts, on one rank.
StepTime::Memo StepTime::price_rank(StageState& stage, const StepWork& work, int tokens) {
  Memo sum = token_memo(stage, tokens);
  if (stage.shard.has_lm_head) {
    const Memo& rows = row_memo(stage, work.sampled_rows);
    sum.total += rows.total;
    for (std::size_t i = 0; i < sum.terms.size(); ++i) sum.terms[i] += rows.terms[i];
    for (std::size_t i = 0; i < sum.provenance.size(); ++i) sum.provenance[i] += rows.provenance[i];
  }
  return sum;
}

/// Copies of absent experts. Those for the next layer run beside everything else of this one:
/// layers are taken to be alike, so each hides a layer's mean time of the stage, and a layer
/// without such copies hides nothing.
void StepTime::add_copies(const StageState& stage, const MoeStageCost& cost, Memo& sum) {
  if (cost.copy_ns + cost.prefetch_ns <= 0) return;
  int layers = 0;
  for (const LayerClass& alike : stage.classes) layers += alike.spec.moe ? alike.layers : 0;
  const double window = sum.total / layers;
  const double hidden = std::min(cost.prefetch_ns, cost.prefetch_layers * window);
  const double exposed = cost.copy_ns + cost.prefetch_ns - hidden;
  sum.terms[index(Term::kExpertCopy)] += exposed + hidden;
  sum.terms[index(Term::kOverlapped)] -= hidden;
  sum.provenance[static_cast<std::size_t>(Provenance::kDatasheet)] += exposed;
  sum.total += exposed;
}

void StepTime::add_experts(std::size_t at, std::uint64_t step, Memo& sum) {
  const auto add = [&sum](Term term, double ns, Provenance provenance) {
    sum.terms[index(term)] += ns;
    sum.provenance[static_cast<std::size_t>(provenance)] += ns;
    sum.total += ns;
  };
  if (moe_ != nullptr) {
    const MoeStageCost& cost = moe_cost_[at];
    add(Term::kExpertGemm, cost.gemm_ns, cost.provenance);
    add(Term::kExposedWait, cost.wait_ns, cost.provenance);
    add(Term::kDispatch, cost.dispatch_ns, Provenance::kRoofline);
    add(Term::kCombine, cost.combine_ns, Provenance::kRoofline);
    add_copies(*stages_[at], cost, sum);
    return;
  }
  StageState& stage = *stages_[at];
  for (const auto& pool : stage.experts) {
    if (pool == nullptr) continue;
    const double ns = pool->layers_ns(dispatched_.padded, step);
    add(Term::kExpertGemm, ns, stage.expert_provenance);
  }
}

/// Everything of one stage of a step.
StepTime::Memo StepTime::price_stage(std::size_t at, std::span<const StepWork> ranks) {
  StageState& stage = *stages_[at];
  const bool alone = ranks.size() == 1;
  Memo sum =
      alone ? price_rank(stage, ranks.front(), dispatched_.padded) : price_lockstep(stage, ranks);
  for (std::size_t c = 0; alone && c < stage.classes.size(); ++c)
    price_attention(stage, c, ranks.front(), sum);
  for (const StepWork& work : ranks) stage.routed_tokens += tokens_in(work);
  add_experts(at, ranks.front().step, sum);
  if (split_) {
    const bool prompts =
        std::ranges::any_of(ranks, [](const StepWork& work) { return !work.chunks.empty(); });
    overlap_halves(stage, moe_cost_[at].wait_ns, prompts, sum);
  } else {
    hide_shared_experts(stage, dispatched_.padded, sum);
  }
  const double exposed = launch_ns(stage, dispatched_.mode) - sum.total;
  if (exposed > 0) {
    sum.terms[index(Term::kLaunchOverhead)] += exposed;
    sum.provenance[static_cast<std::size_t>(Provenance::kAssumed)] += exposed;
    sum.total += exposed;
  }
  // Weights move after the step, beside nothing.
  if (copy_ns_ > 0 && at + 1 == stages_.size()) {
    sum.terms[index(Term::kExpertCopy)] += copy_ns_;
    sum.provenance[static_cast<std::size_t>(Provenance::kAssumed)] += copy_ns_;
    sum.total += copy_ns_;
  }
  return sum;
}

}  // namespace moesim
