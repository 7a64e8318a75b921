#include "sim/steptime/sampled_check.h"

#include <algorithm>
#include <bit>

#include "sim/steptime/step_time.h"

namespace moesim {
namespace {

constexpr std::uint64_t kFirst = 16;  ///< before it there are as good as no decodes
constexpr int kLayerShare = 16;       ///< one layer of so many

bool names_all_tokens(const MoeStep& step) {
  return std::ranges::all_of(step.works, [](const StepWork& work) {
    return work.tokens.size() == static_cast<std::size_t>(work.decodes);
  });
}

}  // namespace

bool SampledCheck::due(std::uint64_t step) {
  if (step < kFirst) return false;
  const std::uint64_t power = std::bit_floor(step);
  constexpr double kRootTwo = 1.4142135623730951;
  return step == power || step == static_cast<std::uint64_t>(static_cast<double>(power) * kRootTwo);
}

SampledCheck::SampledCheck(const RoutingTables& tables, const Workload* workload,
                           const RoutingShape& shape, std::span<const MoeStageSpec> stages)
    : tables_(tables), shape_(shape), rows_(tables, workload), load_(step_load(stages, shape)) {}

bool SampledCheck::begin(const MoeStep& step) {
  layers_.clear();
  if (!due(step.step) || step.idle() || !names_all_tokens(step) || rows_.independent())
    return false;
  const int count = (shape_.layers + kLayerShare - 1) / kLayerShare;
  const auto first = static_cast<int>(mix64(step.step) % static_cast<std::uint64_t>(shape_.layers));
  for (int i = 0; i < count; ++i)
    layers_.push_back((first + i * shape_.layers / count) % shape_.layers);
  drawn_ = {};
  return true;
}

void SampledCheck::add_drawn(const MoeLayerRecord& record, double weight, const Scale& scale) {
  drawn_.active += weight * static_cast<double>(record.active);
  drawn_.rank_imbalance += weight * static_cast<double>(record.rank_imbalance);
  drawn_.ns += weight * (static_cast<double>(record.work_ns) +
                         scale.dispatch * static_cast<double>(record.dispatch_ns) +
                         scale.combine * static_cast<double>(record.combine_ns));
}

/// Fills `load_` for one layer.
void SampledCheck::count(int layer, const ReplicaRanks& replicas) {
  const auto experts = static_cast<std::size_t>(shape_.experts);
  const auto counts = load_.counts().subspan(static_cast<std::size_t>(layer) * experts, experts);
  placed_.clear();
  for (const std::uint64_t row : rows_.rows()) {
    for (int k = 0; k < shape_.top_k; ++k) {
      const int expert = tables_.table().expert(row, layer, k);
      ++counts[static_cast<std::size_t>(expert)];
      placed_.push_back(expert);
    }
  }
  if (!load_.copies().empty())
    replicas.count_placed(placed_, shape_.top_k, layer, load_.key(), load_.copies(), load_.slots());
}

void SampledCheck::finish(const MoeStep& step, std::span<MoeStageSpec> stages,
                          SampledError& error) {
  rows_.list(step);
  load_.clear(static_cast<std::uint32_t>(step.step));
  Seen exact;
  const int tokens = step.decode_tokens + step.prompt_tokens;
  for (const int layer : layers_) {
    const auto stage = std::ranges::find_if(stages, [layer](const MoeStageSpec& one) {
      return layer < one.first + static_cast<int>(one.class_of.size());
    });
    count(layer, stages.front().group.replicas());
    const auto own = static_cast<std::size_t>(layer - stage->first);
    const LayerClass& layers = stage->classes[static_cast<std::size_t>(stage->class_of[own])];
    const MoeLayerCost cost =
        stage->group.cost(layers, layer, tokens, step.held, load_.layer(layer));
    exact.active += cost.active;
    exact.rank_imbalance += cost.rank_imbalance;
    exact.ns += cost.gemm_ns + cost.wait_ns + cost.dispatch_ns + cost.combine_ns;
  }
  ++error.steps;
  error.active.add(drawn_.active, exact.active);
  error.rank_imbalance.add(drawn_.rank_imbalance, exact.rank_imbalance);
  error.time.add(drawn_.ns, exact.ns);
}

}  // namespace moesim
