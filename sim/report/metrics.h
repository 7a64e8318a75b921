#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sim/base/stats.h"
#include "sim/engine/observer.h"
#include "sim/report/result.h"
#include "sim/report/run_view.h"

namespace moesim {

inline constexpr std::size_t kPhaseCount = 3;

/// What the steps of one instance add up to. Nanoseconds.
struct StepTotals {
  struct PerPhase {
    std::uint64_t steps = 0;
    double step_ns = 0;
    double gap_ns = 0;  ///< exposed host time before these steps
    TermTimes terms{};
  };
  std::array<PerPhase, kPhaseCount> phases;
  std::int64_t busy_ns = 0;
  std::int64_t sequences = 0;                              ///< summed over steps
  double running_ns = 0, waiting_ns = 0, kv_block_ns = 0;  ///< integrals over time
};

/// Collects what a run does, step by step. Instances may run on different threads: each has an
/// accumulator of its own, and results merge them in index order. Nothing is allocated per step;
/// the token buckets grow with simulated time (4 bytes a second and instance).
///
/// Steps that end before `warmup` are left out (also their inter-token gaps: a step knows no
/// requests).
class Metrics final : public Observer {
 public:
  /// `origin` is where the one-second token buckets begin: the first counted arrival.
  Metrics(int instances, SimTime warmup, SimTime origin);
  /// For a run about to start.
  Metrics(int instances, const Scenario& scenario, const Workload& workload);

  void step(const StepRecord& record) override;
  void inter_token(InstanceId instance, SimTime gap, std::int64_t count) override;
  void preempted(InstanceId, RequestId, SimTime) override {}
  void finished(InstanceId, RequestId, SimTime) override {}

  [[nodiscard]] std::size_t instance_count() const { return instances_.size(); }
  [[nodiscard]] const StepTotals& totals(std::size_t instance) const {
    return instances_[instance].totals;
  }
  [[nodiscard]] StepTotals::PerPhase phase(Phase phase) const;
  [[nodiscard]] const LogHistogram& gaps(std::size_t instance) const {
    return instances_[instance].gaps;
  }
  /// Gaps between consecutive tokens, nanoseconds, of all instances.
  [[nodiscard]] LogHistogram all_gaps() const;
  /// Most output tokens of all instances in one second.
  [[nodiscard]] std::int64_t max_output_tokens_per_s() const;

 private:
  /// On cache lines of its own, since neighbours may belong to other threads.
  struct alignas(64) Instance {
    StepTotals totals;
    SimTime last_out = 0;
    bool counting = false;  ///< the last step ended after the warm-up
    LogHistogram gaps;
    std::vector<std::uint32_t> tokens_by_second;
  };
  static void add_tokens(Instance& instance, SimTime since_origin, int tokens);

  std::vector<Instance> instances_;
  SimTime warmup_;
  SimTime origin_;
};

/// Mean steps by phase, for phases that occurred. Rounded to six significant digits of the step
/// time so that the printed terms add up to the printed step time.
[[nodiscard]] std::vector<PhaseBreakdown> phase_breakdowns(const Metrics& metrics);

}  // namespace moesim
