#pragma once

#include <atomic>
#include <optional>
#include <vector>

#include "scenarios/scenario.h"
#include "sim/report/deployment.h"
#include "sim/report/result.h"
#include "sim/steptime/kernel_model.h"

namespace moesim {

/// Deviations of every replica, in standard deviations of each family's spread: a Latin hypercube
/// of normal quantiles (M. McKay, R. Beckman, W. Conover, Technometrics 21(2), 1979), so that few
/// replicas cover every family evenly. The same for every scenario: variants meet the same noise.
[[nodiscard]] std::vector<FamilyNoise> replica_noise(int replicas);

/// Headline numbers of a result by name, in a fixed order.
[[nodiscard]] std::vector<std::pair<std::string, double>> headlines(const RunResult& result);

/// P10, P50, P90 of each headline over replicas, and the families' shares of its variance: squared
/// correlation with the family's deviation. All results have the same headlines.
[[nodiscard]] UncertaintySection summarize_replicas(const std::vector<FamilyNoise>& noise,
                                                    const std::vector<RunResult>& results);

/// Runs `scenario.uncertainty_replicas` simulations with step times moved by replica_noise, `jobs`
/// at a time; the answer does not depend on `jobs`. Nothing for one replica, for pure datasheet
/// runs of one replica, or if stopped.
[[nodiscard]] std::optional<UncertaintySection> estimate_uncertainty(const Scenario& scenario,
                                                                     const Deployment& deployment,
                                                                     int jobs,
                                                                     const std::atomic<bool>* stop);

}  // namespace moesim
