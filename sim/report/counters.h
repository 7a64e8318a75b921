#pragma once

#include <vector>

#include "sim/report/metrics.h"
#include "sim/report/result.h"
#include "sim/report/run_view.h"

namespace moesim {

/// Prometheus counters and histograms of every instance: the counted requests, as in the report.
[[nodiscard]] std::vector<EngineCounters> engine_counters(const RunView& view,
                                                          const Metrics& metrics);

}  // namespace moesim
