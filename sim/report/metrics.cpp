#include "sim/report/metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sim/base/check.h"

namespace moesim {
namespace {

constexpr SimTime kSecond = 1'000'000'000;
/// 115 days: an idle gap beyond it would make the buckets large; later seconds cannot be the peak.
constexpr SimTime kMaxBuckets = 10'000'000;

/// Of the requests with an arrival of their own: a follow-up turn's is a think time.
SimTime first_counted_arrival(const Workload& workload, SimTime warmup) {
  if (workload.closed_loop) return warmup;
  SimTime first = kNever;
  for (std::size_t row = 0; row < workload.arrival_ns.size(); ++row) {
    const bool follow_up = !workload.predecessor.empty() && workload.predecessor[row] != kNoRequest;
    if (!follow_up && workload.arrival_ns[row] >= warmup)
      first = std::min(first, workload.arrival_ns[row]);
  }
  return first == kNever ? warmup : first;
}

/// Multiples of `grid` that add up to the rounded sum: every term is rounded down, and what is
/// missing goes to those that lost most (largest remainder; ties to the earlier term).
void round_to_sum(std::array<double, kTermCount>& terms, double grid) {
  const double sum = std::accumulate(terms.begin(), terms.end(), 0.0);
  std::array<double, kTermCount> remainder{};
  double units = std::round(sum / grid);
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const double exact = terms[i] / grid;
    remainder[i] = exact - std::floor(exact);
    terms[i] = std::floor(exact);
    units -= terms[i];
  }
  for (; units > 0.5; units -= 1) {
    const auto most = std::max_element(remainder.begin(), remainder.end());
    terms[static_cast<std::size_t>(most - remainder.begin())] += 1;
    *most = -1;
  }
  for (double& term : terms) term *= grid;
}

PhaseBreakdown mean_step(const StepTotals::PerPhase& totals, const char* name, double all_ns) {
  PhaseBreakdown result;
  result.phase = name;
  result.steps = totals.steps;
  const double per_step_ms = 1e-6 / static_cast<double>(totals.steps);
  double sum = 0;
  for (std::size_t i = 0; i < totals.terms.size(); ++i)
    sum += result.term_ms[i] = totals.terms[i] * per_step_ms;
  if (sum > 0) {
    const double grid = std::pow(10.0, std::floor(std::log10(sum)) - 5);
    round_to_sum(result.term_ms, grid);
    result.step_time_ms = std::round(sum / grid) * grid;
  }
  result.cpu_gap_ms = totals.gap_ns * per_step_ms;
  result.time_share = all_ns > 0 ? totals.step_ns / all_ns : 0;
  return result;
}

}  // namespace

Metrics::Metrics(int instances, SimTime warmup, SimTime origin)
    : instances_(static_cast<std::size_t>(instances)), warmup_(warmup), origin_(origin) {}

Metrics::Metrics(int instances, const Scenario& scenario, const Workload& workload)
    : Metrics(instances, warmup_end(scenario),
              first_counted_arrival(workload, warmup_end(scenario))) {}

void Metrics::step(const StepRecord& record) {
  Instance& instance = instances_[record.instance.index()];
  const SimTime last_out = instance.last_out;
  instance.last_out = record.out_done;
  instance.counting = record.out_done >= warmup_;
  if (!instance.counting) return;

  // A step scheduled after the previous one's tokens were out woke an idle engine: the time in
  // between is nobody's wait.
  const bool woken = record.step == 0 || record.scheduled > last_out;
  const SimTime held = record.out_done - (woken ? record.scheduled : last_out);

  SimTime busy = 0;
  for (const StageSpan& stage : record.stages) busy += stage.end - stage.start;
  StepTotals& totals = instance.totals;
  StepTotals::PerPhase& phase = totals.phases[static_cast<std::size_t>(record.phase)];
  ++phase.steps;
  phase.step_ns += static_cast<double>(busy);
  phase.gap_ns += static_cast<double>(record.gap);
  if (record.terms != nullptr) {
    const TermTimes& terms = *record.terms;
    for (std::size_t i = 0; i < terms.size(); ++i) phase.terms[i] += terms[i];
  }
  totals.busy_ns += busy;
  totals.sequences += record.sequences;
  const auto weight = static_cast<double>(held);
  totals.running_ns += weight * record.running;
  totals.waiting_ns += weight * record.waiting;
  totals.kv_block_ns += weight * static_cast<double>(record.kv_blocks_used);
  add_tokens(instance, record.out_done - origin_, record.tokens_out);
}

void Metrics::add_tokens(Instance& instance, SimTime since_origin, int tokens) {
  if (since_origin < 0 || since_origin >= kMaxBuckets * kSecond) return;
  const auto second = static_cast<std::size_t>(since_origin / kSecond);
  if (second >= instance.tokens_by_second.size()) instance.tokens_by_second.resize(second + 1);
  instance.tokens_by_second[second] += static_cast<std::uint32_t>(tokens);
}

void Metrics::inter_token(InstanceId id, SimTime gap, std::int64_t count) {
  Instance& instance = instances_[id.index()];
  if (instance.counting) instance.gaps.add(gap, count);
}

StepTotals::PerPhase Metrics::phase(Phase phase) const {
  StepTotals::PerPhase sum;
  for (const Instance& instance : instances_) {
    const StepTotals::PerPhase& part = instance.totals.phases[static_cast<std::size_t>(phase)];
    sum.steps += part.steps;
    sum.step_ns += part.step_ns;
    sum.gap_ns += part.gap_ns;
    for (std::size_t i = 0; i < sum.terms.size(); ++i) sum.terms[i] += part.terms[i];
  }
  return sum;
}

LogHistogram Metrics::all_gaps() const {
  LogHistogram all;
  for (const Instance& instance : instances_) all.merge(instance.gaps);
  return all;
}

std::int64_t Metrics::max_output_tokens_per_s() const {
  std::vector<std::int64_t> sums;
  for (const Instance& instance : instances_) {
    sums.resize(std::max(sums.size(), instance.tokens_by_second.size()));
    for (std::size_t s = 0; s < instance.tokens_by_second.size(); ++s)
      sums[s] += instance.tokens_by_second[s];
  }
  return sums.empty() ? 0 : *std::max_element(sums.begin(), sums.end());
}

std::vector<PhaseBreakdown> phase_breakdowns(const Metrics& metrics) {
  constexpr std::array<std::pair<Phase, const char*>, kPhaseCount> kPhases{
      {{Phase::kPrefill, "prefill"}, {Phase::kDecode, "decode"}, {Phase::kMixed, "mixed"}}};
  std::array<StepTotals::PerPhase, kPhaseCount> totals;
  double all_ns = 0;
  for (std::size_t i = 0; i < kPhaseCount; ++i) {
    totals[i] = metrics.phase(kPhases[i].first);
    all_ns += totals[i].step_ns;
  }
  std::vector<PhaseBreakdown> result;
  for (std::size_t i = 0; i < kPhaseCount; ++i) {
    if (totals[i].steps > 0) result.push_back(mean_step(totals[i], kPhases[i].second, all_ns));
  }
  return result;
}

}  // namespace moesim
