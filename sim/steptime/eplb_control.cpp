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
    : config_(std::move(config)),
      placement_(std::move(first)),
      due_(static_cast<std::uint64_t>(config_.spec.step_interval)) {}

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
  model.take_load(taken_);
  load_.resize(taken_.size());
  total_.resize(taken_.size());
  for (std::size_t i = 0; i < taken_.size(); ++i) {
    load_[i] += taken_[i];
    total_[i] += taken_[i];
  }
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
  if (pending_) all.push_back(pending_->done);
  return all;
}

/// Precondition: the load up to now is taken.
void EplbControl::put_in_force(Pending pending, MoeModel& model) {
  if (!done_.empty()) judge(total_, done_.back());
  moved_at_ = total_;
  done_.push_back(pending.done);
  if (pending.next == placement_) return;
  placement_ = std::move(pending.next);
  model.set_placement(placement_);
}

double EplbControl::rebalance(std::uint64_t step, MoeModel& model) {
  take(model);
  if (std::ranges::all_of(load_, [](double load) { return load == 0; })) return 0;
  PlacementInput input = config_.shape;
  input.loads = load_;
  Pending plan{keep_slots(placement_, balanced_placement(input)), {}, {}};
  const ExpertPlacement& next = plan.next;
  MoeStats::Rebalance& done = plan.done;
  done.step = step;
  done.imbalance_before = mean_imbalance(placement_, load_);
  done.imbalance_after = mean_imbalance(next, load_);
  move(next, done);
  done.copy_ns += plan_ns(next);
  if (config_.spec.use_async) {
    pending_ = std::move(plan);
    return 0;
  }
  const double stop_ns = done.copy_ns;
  put_in_force(std::move(plan), model);
  return stop_ns;
}

void EplbControl::before_step(std::int64_t now_ns, MoeModel& model) {
  if (!pending_ || !pending_->ready_ns || static_cast<double>(now_ns) < *pending_->ready_ns) return;
  take(model);
  put_in_force(std::move(*pending_), model);
  pending_.reset();
}

void EplbControl::step_ended(std::int64_t now_ns) {
  if (pending_ && !pending_->ready_ns)
    pending_->ready_ns = static_cast<double>(now_ns) + pending_->done.copy_ns;
}

double EplbControl::after_step(std::uint64_t step, MoeModel& model) {
  model_ = &model;
  const auto window = static_cast<std::uint64_t>(config_.spec.window_size);
  const std::uint64_t steps = step + 1;
  double stop_ns = 0;
  if (steps >= due_) {
    if (pending_) return 0;
    stop_ns = rebalance(step, model);
    due_ = steps + static_cast<std::uint64_t>(config_.spec.step_interval);
    std::ranges::fill(load_, 0.0);
  } else if (steps + window == due_) {
    // The window begins: what was counted before it is not looked at.
    take(model);
    std::ranges::fill(load_, 0.0);
  }
  return stop_ns;
}

}  // namespace moesim
