#include <algorithm>
#include <utility>

#include "scenarios/step_replay.h"
#include "sim/steptime/expert_setup.h"
#include "sim/steptime/shape_prices.h"
#include "sim/steptime/stage_state.h"
#include "sim/steptime/step_time.h"

// The routed experts of StepTime: which model counts them, and what was counted.

namespace moesim {

namespace {

constexpr std::size_t kShapes = 64;  ///< of the draws of a token count

}  // namespace

void StepTime::add_pools(StageState& stage, const ExpertRouting& routing) {
  for (const LayerClass& layers : stage.classes) {
    std::unique_ptr<ExpertPool> pool;
    if (layers.spec.moe) {
      StageState* raw = &stage;
      pool = std::make_unique<ExpertPool>(
          routing,
          [this, raw, layers, prices = ShapePrices(kShapes)](
              int tokens, std::span<const std::uint32_t> counts) mutable {
            const KernelTime& time =
                prices.of(*raw->kernels, raw, family_->experts(raw->shard, layers, tokens, counts));
            raw->expert_provenance = time.provenance;
            return time.time.value() * kNs;
          },
          layers.spec.num_experts, layers.spec.top_k, layers.layers,
          seed_ ^ mix64(static_cast<std::uint64_t>(stage.shard.stage) << 8 | stage.experts.size()));
    }
    stage.experts.push_back(std::move(pool));
  }
}

void StepTime::make_moe(const ModelSpec& model, Experts experts) {
  MoeSetup setup;
  setup.routing = std::move(experts.routing);
  setup.shape = routing_shape(model);
  setup.seed = seed_;
  setup.mean_prompt = experts.mean_prompt;
  setup.mean_output = experts.mean_output;
  setup.workload = experts.workload;
  setup.capacity = experts.capacity;
  int first = 0;
  for (const auto& stage : stages_) {
    MoeGroup group({.family = family_.get(),
                    .shard = stage->shard,
                    .kernels = stage->kernels.get(),
                    .dispatch = stage->dispatch.get(),
                    .ranks = parallel_.moe_ep(),
                    .node_of_rank = experts.node_of_rank},
                   experts.placement);
    MoeStageSpec spec{std::move(group), stage->classes, {}, first};
    ExpertTier::Config tier = experts.tier.value_or(ExpertTier::Config{});
    tier.first_layer = first;
    for (int l = stage->shard.first_layer; l < stage->shard.last_layer; ++l) {
      const LayerSpec& layer = model.layers[static_cast<std::size_t>(l)];
      if (!layer.moe) continue;
      const auto at = std::ranges::find(stage->classes, layer, &LayerClass::spec);
      spec.class_of.push_back(static_cast<int>(at - stage->classes.begin()));
      tier.expert_bytes.push_back(expert_bytes(stage->shard, layer));
      tier.cpu.expert_flops.push_back(
          2.0 * static_cast<double>(layer_weights(stage->shard, layer).per_expert));
    }
    if (experts.tier) spec.group.set_tier(tier, setup.shape.layers, setup.shape.experts);
    first += static_cast<int>(spec.class_of.size());
    setup.stages.push_back(std::move(spec));
  }
  moe_layers_ = first;
  eplb_ = std::move(experts.eplb);
  placement_ = experts.placement;
  if (auto steps = setup.routing->steps(setup.shape, seed_)) {
    moe_ = make_step_moe(std::move(setup), std::move(steps));
    return;
  }
  switch (experts.fidelity) {
    case RoutingFidelity::kExact:
      moe_ = make_exact_moe(std::move(setup));
      break;
    case RoutingFidelity::kRankExact:
      moe_ = make_rank_exact_moe(std::move(setup));
      break;
    default:
      moe_ = make_sampled_moe(std::move(setup));
  }
}

std::optional<ExpertPlacement> StepTime::placement() const {
  if (placement_.layers == 0) return std::nullopt;
  return eplb_ != nullptr ? eplb_->placement() : placement_;
}

MoeStats StepTime::moe_stats() const {
  if (moe_ != nullptr) {
    MoeStats stats = moe_->stats();
    if (eplb_ != nullptr) stats.rebalances = eplb_->rebalances();
    return stats;
  }
  MoeStats stats;
  stats.fidelity = "sampled";
  for (const auto& stage : stages_) {
    for (int l = stage->shard.first_layer; l < stage->shard.last_layer; ++l) {
      const LayerSpec& layer = stage->shard.model->layers[static_cast<std::size_t>(l)];
      if (!layer.moe) continue;
      const auto at = std::ranges::find(stage->classes, layer, &LayerClass::spec);
      const auto index = static_cast<std::size_t>(at - stage->classes.begin());
      const ExpertPool::Seen seen = stage->experts[index]->seen();
      const auto steps = static_cast<double>(seen.steps);
      MoeLayerStats sums;
      sums.steps = seen.steps;
      sums.tokens = stage->routed_tokens;
      sums.padded = seen.tokens - sums.tokens;
      sums.assignments = sums.tokens * layer.top_k;
      sums.active = steps * seen.active;
      sums.expert_imbalance = steps * seen.imbalance;
      sums.rank_imbalance = steps;
      stats.layers.push_back(std::move(sums));
      stats.experts = layer.num_experts;
    }
  }
  return stats;
}

}  // namespace moesim
