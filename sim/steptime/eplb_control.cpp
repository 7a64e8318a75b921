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

double EplbControl::mean_imbalance(const ExpertPlacement& placement,
                                   std::span<const double> load) const {
  double sum = 0;
  const auto experts = static_cast<std::size_t>(placement.experts);
  for (int l = 0; l < placement.layers; ++l) {
    const auto loads = load.subspan(static_cast<std::size_t>(l) * experts, experts);
    double total = 0, most = 0;
    for (const double rank : rank_loads(placement, l, loads)) {
      total += rank;
      most = std::max(most, rank);
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

void EplbControl::take(MoeModel& model) {
  model.take_load(load_);
  total_.resize(load_.size());
  for (std::size_t i = 0; i < load_.size(); ++i) total_[i] += load_[i];
}

/// What the placement in force made of the load since it came into force.
void EplbControl::judge(const std::vector<double>& total, MoeStats::Rebalance& last) const {
  if (total.size() != moved_at_.size()) return;
  std::vector<double> since = total;
  double sum = 0;
  for (std::size_t i = 0; i < since.size(); ++i) sum += since[i] -= moved_at_[i];
  if (sum > 0) last.imbalance_next = mean_imbalance(placement_, since);
}

std::vector<MoeStats::Rebalance> EplbControl::rebalances() const {
  std::vector<MoeStats::Rebalance> all = done_;
  if (!all.empty()) judge(model_->stats().expert_load, all.back());
  return all;
}

double EplbControl::rebalance(std::uint64_t step, MoeModel& model) {
  take(model);
  if (std::ranges::all_of(load_, [](double load) { return load == 0; })) return 0;
  if (!done_.empty()) judge(total_, done_.back());
  moved_at_ = total_;
  PlacementInput input = config_.shape;
  input.loads = load_;
  const ExpertPlacement next = keep_slots(placement_, balanced_placement(input));
  MoeStats::Rebalance done;
  done.step = step;
  done.imbalance_before = mean_imbalance(placement_, load_);
  done.imbalance_after = mean_imbalance(next, load_);
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
  model_ = &model;
  const auto interval = static_cast<std::uint64_t>(config_.spec.step_interval);
  const auto window = static_cast<std::uint64_t>(config_.spec.window_size);
  const std::uint64_t at = (step + 1) % interval;
  if (at == 0) return rebalance(step, model);
  // The window begins: what was counted before it is not looked at.
  if (at + window == interval) take(model);
  return 0;
}

}  // namespace moesim
