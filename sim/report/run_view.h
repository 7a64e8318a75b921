#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "scenarios/workload.h"
#include "sim/engine/observer.h"
#include "sim/engine/request.h"
#include "sim/report/deployment.h"
#include "sim/steptime/kernel_model.h"
#include "sim/steptime/moe_model.h"

namespace moesim {

/// What routing did where steps are priced by one model: in an entry's copies, or in one instance
/// whose experts move by themselves.
struct MoeOfInstances {
  std::size_t first = 0;  ///< the instance, or the first of the copies
  MoeStats stats;
  std::optional<ExpertPlacement> placement = {};  ///< of its experts in the end, if they are whole
};

/// A finished (or interrupted) run as the report sees it. The references must outlive the view.
struct RunView {
  const Scenario& scenario;
  const Deployment& deployment;
  const Workload& workload;
  const RequestTable& requests;
  std::vector<InstanceTotals> totals = {};  ///< by instance
  std::uint64_t digest = 0;
  SimTime end_time = 0;  ///< last event, or the cut-off
  std::uint64_t events = 0;
  std::array<double, kProvenanceCount> provenance_ns{};  ///< step time by class
  std::vector<std::string> warnings = {};
  bool interrupted = false;              ///< stopped by the user before its end
  std::vector<MoeOfInstances> moe = {};  ///< of all instances, in their order
  std::vector<KernelOrigin> kernels = {};
};

/// The start of the statistics: requests that arrived before it are left out of them.
[[nodiscard]] inline SimTime warmup_end(const Scenario& scenario) {
  return to_sim_time(Seconds(scenario.workload.warmup_s));
}

}  // namespace moesim
