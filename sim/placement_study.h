#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/placement.h"
#include "scenarios/scenario.h"

namespace moesim {

/// One way to lay the experts of a scenario on its ranks, and what it would be worth.
struct PlacementCandidate {
  std::string name;  ///< linear, round_robin, file, eplb
  int redundant = 0;
  ExpertPlacement placement;
  /// Most over mean load of a rank, mean over layers: of the load it was planned on, and of the
  /// load after that, which it is judged by.
  double planned = 1, judged = 1;
  double worst_layer = 1;      ///< the same of its worst layer, judged
  std::string infeasible;      ///< why it cannot be deployed; the rest is then empty
  double step_imbalance = 1;   ///< simulated: mean over steps and layers
  double sent_per_token = 0;   ///< bytes of dispatch and combine per token, all layers, all ranks
  double inter_share = 0;      ///< of these, between nodes
  double replica_bytes = 0;    ///< weights of redundant experts on a GPU
  std::int64_t kv_tokens = 0;  ///< of a rank
  double output_throughput = 0;
  double input_throughput = 0;  ///< prompt tokens per second: what a prefill instance is judged by
  double step_ms = 0;           ///< mean length of a step
  std::optional<double> mean_tpot_ms, mean_ttft_ms;  ///< of requests that have one
  double moved_bytes = 0, move_ms = 0;               ///< of file, eplb: from linear ones
};

struct PlacementStudy {
  std::string scenario, model, routing;
  int layers = 0, experts = 0, ranks = 1, nodes = 1;
  bool prefill = false;     ///< prompts only: judged by input tokens and the first token
  bool from_trace = false;  ///< planned on the first half of the recorded sequences
  std::vector<PlacementCandidate> candidates;  ///< the first is linear
  /// Most output tokens per second; of prefill, input tokens. One of EPLB's only where that pays.
  std::size_t best = 0;
  std::string verdict;  ///< "would EPLB pay here?" in a sentence, against the best of the others
};

/// Compares placements for the scenario's first kind of instance: linear, round_robin where experts
/// come in groups, the scenario's own if it is a file, and EPLB with each number of redundant
/// experts (empty: none, and one more per rank). EPLB is planned on the load of the first half of
/// the routing's sequences (its first epoch, if it drifts; its first mix of domains, if those
/// change with time) and everything is judged by the second (the last mix). Throws InputError if
/// experts are not whole on ranks.
[[nodiscard]] PlacementStudy study_placements(const Scenario& scenario,
                                              const std::vector<int>& redundant);

}  // namespace moesim
