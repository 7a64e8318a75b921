#pragma once

#include <atomic>
#include <filesystem>
#include <vector>

#include "sim/validation/accuracy.h"

namespace moesim {

/// Replays recorded runs (`moesim validate runs`): the same requests, arrivals and engine
/// arguments. Each path is a run's folder, or a folder of them. Metrics: mean, p50, p90, p95, p99
/// of `ttft`, `tpot`, `e2e` over requests, with the P10 and P90 of 16 replicas of other step times
/// (sim/uncertainty.h), and `kv_blocks` where the engine's number is recorded, else a note that it
/// is not. Groups are named after the run; coverage is over a run's statistics, and "pooled".
/// `jobs` simulations at a time. Runs not finished when `stop` is set are counted as unreached.
/// Throws InputError for a folder without runs and for malformed files.
[[nodiscard]] Validation validate_runs(const std::vector<std::filesystem::path>& paths, int jobs,
                                       const std::atomic<bool>* stop = nullptr);

}  // namespace moesim
