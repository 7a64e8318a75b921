#include "sim/steptime/eplb_control.h"

#include <algorithm>
#include <utility>

namespace moesim {
namespace {

/// Host time of the balancer, per slot and layer: 0.1 to 1 s were seen for 58 x 288 in Python, the
/// lower end since it is vectorised (serving-semantics 3.7, uncertain).
constexpr double kPlanNs = 0.1e9 / (58 * 288);

}  // namespace

double plan_ns(const ExpertPlacement& placement) {
  return kPlanNs * placement.slots * placement.layers;
}

EplbControl::EplbControl(Config config, ExpertPlacement first)
    : config_(std::move(config)), placement_(std::move(first)) {}

double EplbControl::mean_imbalance(const ExpertPlacement& placement) const {
  double sum = 0;
  const auto experts = static_cast<std::size_t>(placement.experts);
  for (int l = 0; l < placement.layers; ++l) {
    const auto loads =
        std::span<const double>(load_).subspan(static_cast<std::size_t>(l) * experts, experts);
    double total = 0, most = 0;
    for (const double load : rank_loads(placement, l, loads)) {
      total += load;
      most = std::max(most, load);
    }
    sum += total > 0 ? most * placement.ranks / total : 1;
  }
  return sum / placement.layers;
}

/// Bytes of all stages, time of the one that takes longest.
void EplbControl::move(const ExpertPlacement& next, MoeStats::Rebalance& done) const {
  std::vector<double> stage_ns(
      1 + static_cast<std::size_t>(std::ranges::max(config_.stage_of_layer)), 0.0);
  for (int l = 0; l < next.layers; ++l) {
    const std::vector<ExpertMove> moves = expert_moves(placement_, next, l);
    if (moves.empty()) continue;
    const int stage = config_.stage_of_layer[static_cast<std::size_t>(l)];
    done.moved_bytes += static_cast<double>(moves.size()) * config_.expert_bytes;
    stage_ns[static_cast<std::size_t>(stage)] +=
        config_.transfer_ns(stage, moves, config_.expert_bytes);
  }
  done.copy_ns += std::ranges::max(stage_ns);
}

double EplbControl::rebalance(std::uint64_t step, MoeModel& model) {
  model.take_load(load_);
  if (std::ranges::all_of(load_, [](double load) { return load == 0; })) return 0;
  PlacementInput input = config_.shape;
  input.loads = load_;
  const ExpertPlacement next = keep_slots(placement_, balanced_placement(input));
  MoeStats::Rebalance done;
  done.step = step;
  done.imbalance_before = mean_imbalance(placement_);
  done.imbalance_after = mean_imbalance(next);
  move(next, done);
  done.copy_ns += plan_ns(next);
  done_.push_back(done);
  if (next != placement_) {
    placement_ = next;
    model.set_placement(next);
  }
  return config_.spec.use_async ? 0 : done.copy_ns;
}

double EplbControl::after_step(std::uint64_t step, MoeModel& model) {
  const auto interval = static_cast<std::uint64_t>(config_.spec.step_interval);
  const auto window = static_cast<std::uint64_t>(config_.spec.window_size);
  const std::uint64_t at = (step + 1) % interval;
  if (at == 0) return rebalance(step, model);
  // The window begins: what was counted before it is not looked at.
  if (at + window == interval) model.take_load(load_);
  return 0;
}

}  // namespace moesim
