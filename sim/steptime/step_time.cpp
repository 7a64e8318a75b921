#include "sim/steptime/step_time.h"

#include <algorithm>
#include <utility>

#include "sim/base/check.h"

namespace moesim {

/// A pipeline stage with its memoised costs.
struct StepTime::StageState {
  Shard shard;
  std::unique_ptr<KernelModel> kernels;
  std::vector<LayerClass> classes;
  std::vector<int>
      kv_group;  ///< per class: index into StepWork::decode_context, -1 for layers without KV
  std::vector<std::unique_ptr<ExpertPool>> experts;       ///< per class, null for dense layers
  std::vector<std::unique_ptr<Memo>> by_tokens, by_rows;  ///< null until first asked for
  Memo large;
  Provenance expert_provenance = Provenance::kRoofline;  ///< of the draws priced last
  int attention_layers = 0;
  std::vector<Op> scratch;
};

namespace {

constexpr double kNs = 1e9;

int group_of(const LayerSpec& layer, const KvLayout& kv) {
  for (std::size_t g = 0; g < kv.groups.size(); ++g) {
    if (kv.groups[g].kind == layer.attention && kv.groups[g].window == layer.window)
      return static_cast<int>(g);
  }
  // Padding may put one kind of layer into several groups of equal size; without the hybrid manager
  // windowed layers are stored in the full group.
  return kv.groups.empty() || layer.attention == AttentionKind::kLinear ? -1 : 0;
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

std::size_t index(Term term) {
  return static_cast<std::size_t>(term);
}

}  // namespace

StepTime::StepTime(const ModelSpec& model, std::vector<Stage> stages, const KvLayout& kv,
                   const EngineSpec& engine, std::unique_ptr<ExpertRouting> routing,
                   std::uint64_t seed)
    : family_(make_family(model)), routing_(std::move(routing)), engine_(engine), seed_(seed) {
  if (!engine_.enforce_eager) {
    padded_ = padding_table(engine_.cudagraph_capture_sizes);
    prompt_padded_ = padding_table(engine_.prompt_capture_sizes);
  }
  for (Stage& stage : stages) {
    auto state = std::make_unique<StageState>();
    state->shard = stage.shard;
    state->kernels = std::move(stage.kernels);
    state->classes = layer_classes(state->shard);
    state->by_tokens.resize(
        static_cast<std::size_t>(std::max(engine_.max_num_batched_tokens, engine_.max_num_seqs)) +
        1 + (padded_.empty() ? 0 : padded_.size()));
    state->by_rows.resize(static_cast<std::size_t>(engine_.max_num_seqs) + 1);
    for (const LayerClass& layers : state->classes) {
      state->kv_group.push_back(group_of(layers.spec, kv));
      state->attention_layers += layers.layers;
      std::unique_ptr<ExpertPool> pool;
      if (layers.spec.moe) {
        StageState* raw = state.get();
        pool = std::make_unique<ExpertPool>(
            *routing_,
            [this, raw, layers](int tokens, std::span<const std::uint32_t> counts) {
              const KernelTime time =
                  raw->kernels->time(family_->experts(raw->shard, layers, tokens, counts));
              raw->expert_provenance = time.provenance;
              return time.time.value() * kNs;
            },
            layers.spec.num_experts, layers.spec.top_k, layers.layers,
            seed_ ^ mix64(stages_.size() << 8 | state->experts.size()));
      }
      state->experts.push_back(std::move(pool));
    }
    stages_.push_back(std::move(state));
  }
}

StepTime::~StepTime() = default;

StepTime::Dispatch StepTime::dispatch(int tokens, bool uniform) const {
  const auto t = static_cast<std::size_t>(tokens);
  const EngineProfile& profile = engine_.profile;
  const bool own = !uniform && profile.prompt_graphs == PromptGraphs::kOwn;
  const std::vector<int>& table = own ? prompt_padded_ : padded_;
  if (t >= table.size()) return {GraphMode::kNone, tokens};
  const int padded = table[t];
  const bool full = uniform && profile.full_graphs && padded <= engine_.max_num_seqs;
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
}

const StepTime::Memo& StepTime::token_memo(StageState& stage, int tokens) {
  const auto slot = static_cast<std::size_t>(tokens);
  const bool small = slot < stage.by_tokens.size();
  if (small && stage.by_tokens[slot] != nullptr) return *stage.by_tokens[slot];
  stage.large = Memo{};  // static batches only: padded prompts have no bound worth a table
  Memo& memo = small ? *(stage.by_tokens[slot] = std::make_unique<Memo>()) : stage.large;
  stage.scratch.clear();
  family_->token_ops(stage.shard, tokens, stage.scratch);
  for (const Op& op : stage.scratch) add_op(*stage.kernels, op, memo);
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

/// Decode attention from sums, all prompt chunks in one call (a mixed batch costs the sum of both
/// parts: 4.1).
void StepTime::price_attention(StageState& stage, const StepWork& work, Memo& sum) const {
  for (std::size_t c = 0; c < stage.classes.size(); ++c) {
    const LayerClass& layers = stage.classes[c];
    const int group = stage.kv_group[c];
    Op decodes, prompts;
    if (work.decodes > 0) {
      const std::int64_t context =
          group < 0 ? 0 : work.decode_context[static_cast<std::size_t>(group)];
      decodes = family_->attention_decode(stage.shard, layers, work.decodes, context);
    }
    for (const PromptChunk& chunk : work.chunks) {
      const Op one = family_->attention_prefill(stage.shard, layers, chunk.tokens, chunk.context);
      if (&chunk == work.chunks.data()) {
        prompts = one;
      } else {
        add_sequences(prompts, one);
      }
    }
    if (work.decodes > 0 && !work.chunks.empty()) {
      add_time(stage.kernels->mixed_attention(prompts, decodes), prompts, sum);
    } else {
      add_op(*stage.kernels, work.decodes > 0 ? decodes : prompts, sum);
    }
  }
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
      return layers * launch.eager_layer_us * 1e3;
  }
  return 0;
}

/// Shared experts run beside the routed ones on a stream of their own while a step is small: the
/// longer of the two and a tenth of the shorter (serving-semantics 3.3, "Shared experts").
void StepTime::hide_shared_experts(int tokens, Memo& sum) const {
  if (tokens > engine_.profile.shared_expert_stream_tokens) return;
  constexpr double kHidden = 0.9;
  const double both =
      std::min(sum.terms[index(Term::kSharedExpert)], sum.terms[index(Term::kExpertGemm)]);
  if (both <= 0) return;
  sum.terms[index(Term::kOverlapped)] -= kHidden * both;
  // Shares of provenance are of the time that is left.
  for (double& ns : sum.provenance) ns *= 1 - kHidden * both / sum.total;
  sum.total -= kHidden * both;
}

/// Everything of one stage of a step.
StepTime::Memo StepTime::price_stage(StageState& stage, const StepWork& work,
                                     const Dispatch& dispatched) {
  Memo sum = token_memo(stage, dispatched.padded);
  if (stage.shard.has_lm_head) {
    const Memo& rows = row_memo(stage, work.sampled_rows);
    sum.total += rows.total;
    for (std::size_t i = 0; i < sum.terms.size(); ++i) sum.terms[i] += rows.terms[i];
    for (std::size_t i = 0; i < sum.provenance.size(); ++i) sum.provenance[i] += rows.provenance[i];
  }
  price_attention(stage, work, sum);
  for (const auto& pool : stage.experts) {
    if (pool == nullptr) continue;
    const double ns = pool->layers_ns(dispatched.padded, work.step);
    sum.terms[index(Term::kExpertGemm)] += ns;
    sum.provenance[static_cast<std::size_t>(stage.expert_provenance)] += ns;
    sum.total += ns;
  }
  hide_shared_experts(dispatched.padded, sum);
  const double exposed = launch_ns(stage, dispatched.mode) - sum.total;
  if (exposed > 0) {
    sum.terms[index(Term::kLaunchOverhead)] += exposed;
    sum.provenance[static_cast<std::size_t>(Provenance::kAssumed)] += exposed;
    sum.total += exposed;
  }
  return sum;
}

void StepTime::price(const StepWork& work, StepCost& cost) {
  int tokens = work.decodes;
  for (const PromptChunk& chunk : work.chunks) tokens += chunk.tokens;
  const Dispatch dispatched = dispatch(tokens, work.chunks.empty());
  cost.graph = dispatched.mode;
  cost.padded_tokens = dispatched.padded;
  cost.stage_ns.resize(stages_.size());
  cost.terms = {};
  cost.provenance_ns = {};
  for (std::size_t s = 0; s < stages_.size(); ++s) {
    const Memo sum = price_stage(*stages_[s], work, dispatched);
    cost.stage_ns[s] = sum.total;
    for (std::size_t i = 0; i < sum.terms.size(); ++i) cost.terms[i] += sum.terms[i];
    for (std::size_t i = 0; i < sum.provenance.size(); ++i)
      cost.provenance_ns[i] += sum.provenance[i];
  }
}

}  // namespace moesim
