#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/placement.h"

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
  bool keeps_up = false;  ///< requests come at times of their own, and it serves them as they come
  /// Tokens per second (of prefill, input tokens) if all requests were there at once.
  std::optional<double> saturated_throughput;
};

struct PlacementStudy {
  std::string scenario, model, routing;
  int layers = 0, experts = 0, ranks = 1, nodes = 1;
  bool prefill = false;     ///< prompts only: judged by input tokens and the first token
  bool from_trace = false;  ///< planned on the first half of the recorded sequences
  bool open_loop = false;   ///< requests come at times of their own
  std::vector<PlacementCandidate> candidates;  ///< the first is linear
  /// What the verdict compares: the best that EPLB made, and of the others. None: none fits.
  std::optional<std::size_t> eplb, fixed;
  bool pays = false;
  std::string judged_by;  ///< output_throughput, input_throughput, mean_tpot_ms, mean_ttft_ms
  /// `eplb` where that pays, else `fixed`.
  std::size_t best = 0;
  std::string verdict;  ///< "would EPLB pay here?" in sentences, against the best of the others
};

/// Chooses `eplb` and `fixed`. Where one that is not EPLB's keeps up with the load, throughput is
/// what arrives: the lowest latency (time per token; of prefill, to the first) of those that keep
/// up. Else the lowest latency of those within a percent of the most throughput.
void choose(PlacementStudy& study);

/// Fills `pays`, `judged_by`, `best` and `verdict`, of what time moves leave at one in
/// `step_interval` steps (0: none). By throughput, which must rise by 1 %, unless `fixed` keeps up
/// with the load or the two differ by less; then by latency, which must fall by 5 %.
void judge(PlacementStudy& study, int step_interval);

}  // namespace moesim
