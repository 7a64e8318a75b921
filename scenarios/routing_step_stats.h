#pragma once

#include <cstddef>
#include <vector>

#include "scenarios/routing_load_stats.h"
#include "scenarios/routing_table.h"

namespace moesim {

/// Sequences advanced together, one decode token each a step: the load a batch of `requests`
/// decoding requests would see. Takes the first sequences that have `steps` decode rows and are no
/// repetition loop (flag 2), and fewer if there are not so many: `decode_tokens` says how many.
/// Throws InputError if no sequence is that long, or if rows are damaged.
[[nodiscard]] StepLoads lockstep_loads(const RoutingTable& table, int requests, int steps);

/// Loads of single steps (routing-traces.md 5), over all layers of the steps chosen. Steps without
/// load are left out.
struct StepStats {
  std::size_t steps = 0;
  Spread expert_cv, expert_max_over_mean, expert_min_over_mean;
  Spread distinct;            ///< experts in use
  Spread rank_max_over_mean;  ///< experts in consecutive blocks on the ranks
  /// Two definitions that engines log under one name; each a mean over steps. SGLang: mean over
  /// layers of (mean / max rank load). vLLM: sum over layers of the means / sum of the maxima.
  double balancedness_sglang = 0, balancedness_vllm = 0;
};
/// `ranks` is at most the number of experts.
[[nodiscard]] StepStats step_stats(const StepLoads& loads, int ranks, std::size_t first_step = 0,
                                   std::size_t steps = ~std::size_t{0});

/// Jensen-Shannon distance between the loads of windows of `window` steps that lie `lag` windows
/// apart, mean over layers and pairs.
struct Drift {
  std::size_t lag = 0;
  std::size_t pairs = 0;
  double distance = 0;
};
/// For lags 1, 2, 4, ... as far as the steps reach.
[[nodiscard]] std::vector<Drift> drift_of(const StepLoads& loads, std::size_t window);

/// Loads of all steps together, by layer.
[[nodiscard]] std::vector<std::vector<double>> pooled_loads(const StepLoads& loads);

}  // namespace moesim
