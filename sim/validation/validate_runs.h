#pragma once

#include <filesystem>
#include <vector>

#include "sim/validation/accuracy.h"

namespace moesim {

/// Replays recorded runs (`moesim validate runs`): the same requests, arrivals and engine
/// arguments. Each path is a run's folder, or a folder of them. Metrics: mean, p50, p90, p95, p99
/// of `ttft`, `tpot`, `e2e` over requests, and `kv_blocks` where the engine's number is recorded.
/// Groups are named after the run; `jobs` runs at a time. Throws InputError for a folder without
/// runs and for malformed files.
[[nodiscard]] Validation validate_runs(const std::vector<std::filesystem::path>& paths, int jobs);

}  // namespace moesim
