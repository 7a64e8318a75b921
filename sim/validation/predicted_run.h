#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "scenarios/scenario.h"
#include "scenarios/workload.h"
#include "sim/base/stats.h"
#include "sim/steptime/kernel_model.h"

namespace moesim {

/// What a simulated run says, in the units of the measurement tables: milliseconds, tokens a second
/// of the whole system.
struct PredictedRun {
  std::string problem;      ///< why it cannot run, in a sentence; then nothing below is set
  bool infeasible = false;  ///< because the deployment does not fit its GPUs
  std::string assumed;      ///< what had to be changed to make it start, in words; mostly empty
  std::optional<Summary> ttft_ms, tpot_ms, itl_ms, e2e_ms;
  std::optional<double> output_tok_s, total_tok_s;
  std::int64_t num_gpu_blocks = 0;  ///< KV blocks of the first instance
  std::int64_t completed = 0, failed = 0;
};

/// How a measured configuration is run.
struct PredictOptions {
  const Workload* workload = nullptr;  ///< instead of the scenario's requests
  /// The configuration does not say `max_model_len`. A server that ran had room for one request of
  /// that length, so if the model's own does not fit, it was set to no more than the load needs.
  bool length_is_free = false;
  FamilyNoise noise{};  ///< of step times, in standard deviations of each family's spread
};
/// Lays a scenario out and simulates it. Mistakes that only the layout finds become a `problem`.
[[nodiscard]] PredictedRun predict(const Scenario& scenario, const PredictOptions& options = {});

/// Calls `work(0)` ... `work(count - 1)`, `jobs` at a time, each once; the first exception by index
/// is thrown when all are done. Once `stop` is set, none begins.
void for_each_index(std::size_t count, int jobs, const std::function<void(std::size_t)>& work,
                    const std::atomic<bool>* stop = nullptr);

}  // namespace moesim
