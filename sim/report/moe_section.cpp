#include "sim/report/moe_section.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "sim/steptime/moe_stats.h"

namespace moesim {
namespace {

MoeLayerReport layer_report(const MoeLayerStats& stats, int layer) {
  const double steps = std::max<double>(1, static_cast<double>(stats.steps));
  MoeLayerReport out;
  out.layer = layer;
  out.tokens = stats.tokens;
  out.assignments = stats.assignments;
  out.padded_tokens = stats.padded;
  out.active_experts_mean = stats.active / steps;
  out.rank_imbalance_mean = stats.steps > 0 ? stats.rank_imbalance / steps : 1;
  if (stats.step_tokens > 0)
    out.rank_imbalance_by_tokens = stats.rank_imbalance_tokens / stats.step_tokens;
  const LogHistogram& seen = stats.rank_imbalances;
  constexpr double kThousandths = 1e-3;
  out.rank_imbalance_p99 = seen.count() > 0 ? seen.summary().p99 * kThousandths : 1;
  out.expert_imbalance_mean = stats.steps > 0 ? stats.expert_imbalance / steps : 1;
  if (stats.assignments > 0) {
    out.dropped_ratio = stats.dropped / stats.assignments;
    out.moved_ratio = stats.moved / stats.assignments;
    out.padding_ratio = stats.padding / stats.assignments;
    out.tokens_with_none_ratio = stats.left_with_none / stats.tokens;
  }
  out.a2a_bytes_intra = stats.bytes_intra;
  out.a2a_bytes_inter = stats.bytes_inter;
  return out;
}

MoeSampledError::Value value_of(const SampledError::Sum& sum, double steps) {
  return {sum.mean(), sum.error(steps)};
}

std::optional<MoeSampledError> sampled_error(const SampledError& error) {
  if (error.steps < 2) return std::nullopt;
  const auto steps = static_cast<double>(error.steps);
  return MoeSampledError{error.steps, value_of(error.active, steps),
                         value_of(error.rank_imbalance, steps), value_of(error.time, steps)};
}

/// Share of tokens by the number of experts that chose them, as far as there are any.
std::vector<double> experts_per_token(const MoeStats& stats) {
  std::vector<double> shares = stats.by_experts;
  while (!shares.empty() && shares.back() == 0) shares.pop_back();
  double sum = 0;
  for (const double tokens : shares) sum += tokens;
  for (double& share : shares) share /= sum;
  return shares;
}

/// Load over the mean of its layer, for every expert.
std::vector<std::vector<double>> load_ratios(const MoeStats& stats) {
  std::vector<std::vector<double>> rows;
  if (stats.expert_load.empty()) return rows;
  const auto experts = static_cast<std::size_t>(stats.experts);
  for (std::size_t l = 0; l < stats.layers.size(); ++l) {
    std::vector<double> row(
        stats.expert_load.begin() + static_cast<std::ptrdiff_t>(l * experts),
        stats.expert_load.begin() + static_cast<std::ptrdiff_t>((l + 1) * experts));
    double sum = 0;
    for (const double load : row) sum += load;
    for (double& load : row) load = sum > 0 ? load * static_cast<double>(experts) / sum : 0;
    rows.push_back(std::move(row));
  }
  return rows;
}

/// The rank that others waited for most often, and the hottest expert among those it holds (an
/// expert's copies share its load); nothing if nobody ever waited.
std::optional<MoeStraggler> find_straggler(const MoeStats& stats, const ExpertPlacement& placement,
                                           const std::vector<std::vector<double>>& loads) {
  if (stats.ranks <= 1 || loads.empty()) return std::nullopt;
  const auto worst = std::ranges::max_element(stats.straggler);
  if (*worst <= 0) return std::nullopt;
  double layers_of_steps = 0;
  for (const MoeLayerStats& layer : stats.layers)
    layers_of_steps += static_cast<double>(layer.steps);
  MoeStraggler out;
  out.rank = static_cast<int>(worst - stats.straggler.begin());
  out.ranks = stats.ranks;
  out.share_ratio = *worst / layers_of_steps;
  out.expert_load_ratio = 0;
  for (std::size_t l = 0; l < loads.size(); ++l) {
    const auto slots = placement.layer(static_cast<int>(l));
    for (int s = placement.first_slot[static_cast<std::size_t>(out.rank)];
         s < placement.first_slot[static_cast<std::size_t>(out.rank) + 1]; ++s) {
      const std::uint16_t expert = slots[static_cast<std::size_t>(s)];
      const auto copies = static_cast<double>(std::ranges::count(slots, expert));
      const double load = loads[l][expert] / copies;
      if (load <= out.expert_load_ratio) continue;
      out.expert_load_ratio = load;
      out.layer = static_cast<int>(l);
      out.expert = expert;
    }
  }
  return out;
}

/// What whole experts on ranks add to the section: the straggler of the instance that has the worst
/// one, and every instance's rebalances.
void add_placed(const RunView& view, const MoeOfInstances& part, MoeSection& out) {
  if (!part.placement) return;
  const Scenario& scenario = view.scenario;
  const std::string instance =
      view.moe.size() > 1 ? view.deployment.instances[part.first].name : std::string();
  out.placement = scenario.placement.name;
  out.redundant_experts = part.placement->slots - part.placement->experts;
  out.eplb_async = scenario.placement.use_async;
  auto straggler = find_straggler(part.stats, *part.placement, load_ratios(part.stats));
  if (straggler && (!out.straggler || straggler->over_fair() > out.straggler->over_fair())) {
    straggler->instance = instance;
    out.straggler = std::move(straggler);
  }
  for (const MoeStats::Rebalance& r : part.stats.rebalances) {
    out.rebalances.push_back({instance, r.step, r.copy_ns * 1e-6, r.moved_bytes, r.imbalance_before,
                              r.imbalance_after, r.imbalance_next});
  }
}

std::optional<MoeOffload> offload_report(const Scenario& scenario, const MoeStats& stats) {
  if (!scenario.offload || !scenario.offload->active()) return std::nullopt;
  const ExpertOffload& spec = *scenario.offload;
  MoeOffload out;
  out.tier = to_text(spec.tier);
  out.policy = to_text(spec.policy);
  out.prefetch = to_text(spec.prefetch);
  out.resident_fraction = spec.resident_fraction;
  TierUse sum;
  for (const MoeLayerStats& layer : stats.layers) {
    sum.looked += layer.tier.looked;
    sum.hits += layer.tier.hits;
    sum.ahead += layer.tier.ahead;
    sum.bytes += layer.tier.bytes;
    sum.demand_ns += layer.tier.demand_ns + layer.tier.ahead_ns;
    sum.computed += layer.tier.computed;
    sum.cpu_ns += layer.tier.cpu_ns;
  }
  if (sum.looked > 0) out.hit_ratio = sum.hits / sum.looked;
  const bool guesses = spec.prefetch == OffloadPrefetch::kNextLayer;
  if (guesses && sum.hits < sum.looked) out.ahead_ratio = sum.ahead / (sum.looked - sum.hits);
  out.bytes_copied = sum.bytes;
  constexpr double kMsPerNs = 1e-6;
  const auto steps = static_cast<double>(stats.layers.front().steps);
  if (steps > 0) out.copy_ms_per_step = sum.demand_ns * kMsPerNs / steps;
  if (!spec.on_cpu()) return out;
  out.cpu.emplace();
  if (sum.looked > 0) out.cpu->ratio = sum.computed / sum.looked;
  if (steps > 0) out.cpu->ms_per_step = sum.cpu_ns * kMsPerNs / steps;
  return out;
}

/// Sum of `bytes` over the layers, per token that went through one of them, padding included.
template <class Bytes>
double per_token(const std::vector<MoeLayerReport>& layers, const Bytes& bytes) {
  double sum = 0, tokens = 0;
  for (const MoeLayerReport& layer : layers) {
    sum += bytes(layer);
    tokens += layer.tokens + layer.padded_tokens;
  }
  return tokens > 0 ? sum / tokens : 0;
}

}  // namespace

double MoeSection::mean_rank_imbalance() const {
  double sum = 0;
  for (const MoeLayerReport& layer : layers) sum += layer.rank_imbalance_mean;
  return layers.empty() ? 1 : sum / static_cast<double>(layers.size());
}

double MoeSection::rank_imbalance_by_tokens() const {
  double sum = 0;
  for (const MoeLayerReport& layer : layers) sum += layer.rank_imbalance_by_tokens;
  return layers.empty() ? 1 : sum / static_cast<double>(layers.size());
}

double MoeSection::dropped_ratio() const {
  double dropped = 0, slots = 0;
  for (const MoeLayerReport& layer : layers) {
    dropped += layer.dropped_ratio * layer.assignments;
    slots += layer.assignments;
  }
  return slots > 0 ? dropped / slots : 0;
}

double MoeSection::all_to_all_bytes() const {
  return per_token(layers, [](const MoeLayerReport& layer) {
    return layer.a2a_bytes_intra + layer.a2a_bytes_inter;
  });
}

double MoeSection::all_to_all_bytes_between_nodes() const {
  return per_token(layers, [](const MoeLayerReport& layer) { return layer.a2a_bytes_inter; });
}

std::optional<MoeSection> make_moe(const RunView& view) {
  if (view.moe.empty() || view.moe.front().stats.layers.empty()) return std::nullopt;
  MoeStats stats = view.moe.front().stats;
  for (std::size_t i = 1; i < view.moe.size(); ++i) add_stats(view.moe[i].stats, stats);
  const Scenario& scenario = view.scenario;
  MoeSection out;
  out.fidelity = stats.fidelity;
  out.routing = scenario.routing.policy.name;
  out.capacity_factor = scenario.routing.capacity_factor;
  out.experts_per_token_ratio = experts_per_token(stats);
  out.sampled_error = sampled_error(stats.error);
  out.ranks = stats.ranks;
  out.prefill_from_decode = stats.prefill_from_decode;
  out.dispatch_estimated = stats.dispatch_estimated;
  out.sequence_epochs = stats.sequence_epochs;
  std::vector<int> model_layers;
  for (int l = 0; l < scenario.model.num_layers(); ++l) {
    if (scenario.model.layers[static_cast<std::size_t>(l)].moe) model_layers.push_back(l);
  }
  for (std::size_t l = 0; l < stats.layers.size(); ++l)
    out.layers.push_back(layer_report(stats.layers[l], model_layers[l]));
  out.expert_load_ratio = load_ratios(stats);
  out.offload = offload_report(scenario, stats);
  for (const MoeOfInstances& part : view.moe) add_placed(view, part, out);
  if (out.straggler)
    out.straggler->layer = model_layers[static_cast<std::size_t>(out.straggler->layer)];
  return out;
}

}  // namespace moesim
