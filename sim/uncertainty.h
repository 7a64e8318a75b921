#pragma once

#include <atomic>
#include <optional>
#include <vector>

#include "scenarios/scenario.h"
#include "scenarios/workload.h"
#include "sim/report/deployment.h"
#include "sim/report/metric_values.h"
#include "sim/report/result.h"
#include "sim/steptime/kernel_model.h"

namespace moesim {

/// Deviations of every replica, in standard deviations of each family's spread: a Latin hypercube
/// of normal quantiles (M. McKay, R. Beckman, W. Conover, Technometrics 21(2), 1979), so that few
/// replicas cover every family evenly. From eight replicas the columns are rearranged until they
/// hardly correlate (A. Owen, Journal of the American Statistical Association 89(428), 1994), so
/// that what one family moves is not taken for another's. The same for every scenario: variants
/// meet the same noise.
[[nodiscard]] std::vector<FamilyNoise> replica_noise(int replicas);

/// P10, P50, P90 of each headline over replicas, and the families' shares of its variance: least
/// squares of the headline on the families' deviations (logarithms of their factors), less what the
/// residual alone would give each coefficient. No drivers are named where replicas are too few to
/// tell families from residual (under eight: one for each family, one for the mean, one for the
/// residual), or where the families explain less than half of the variance. All results have the
/// same headlines.
[[nodiscard]] UncertaintySection summarize_replicas(const std::vector<FamilyNoise>& noise,
                                                    const std::vector<MetricValues>& results);

/// What replicas say about a run.
struct ReplicaStudy {
  UncertaintySection section;
  std::vector<MetricValues> replicas;  ///< headlines of each, in the order of replica_noise
};

/// Runs `scenario.uncertainty_replicas` simulations of the same `requests` with step times moved by
/// replica_noise, `jobs` at a time; the answer does not depend on `jobs`. Nothing for one replica,
/// or if stopped.
[[nodiscard]] std::optional<ReplicaStudy> estimate_uncertainty(const Scenario& scenario,
                                                               const Deployment& deployment,
                                                               const Workload& requests, int jobs,
                                                               const std::atomic<bool>* stop);

}  // namespace moesim
