#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scenarios/routing_load_stats.h"
#include "scenarios/routing_table.h"

namespace moesim {

/// What two tokens of a sequence that lie `lag` apart have in common; [layer], over all such pairs.
struct LagStats {
  std::uint32_t lag = 0;
  std::uint64_t pairs = 0;
  std::vector<double> overlap;       ///< experts in common / K
  std::vector<double> first_repeat;  ///< the first choice is the same
  std::vector<double> any_repeat;    ///< at least one expert in common
};

/// Where tokens go: places are ranks, or nodes.
struct ReachStats {
  int places = 0;
  double mean = 0;  ///< places reached by a token in a layer: copies of it that are sent
  std::vector<double> histogram;  ///< [places reached - 1] share of tokens and layers
  /// Token copies sent from source to destination, all layers; sequence i lives on place i mod
  /// `places`.
  std::vector<std::vector<std::uint64_t>> dispatch;
  double max_row = 0, max_column = 0;  ///< of the matrix, over the mean row
};

/// Routed tokens described (routing-traces.md 5). Layers in order; loads are of all rows together.
struct RoutingStats {
  std::uint64_t rows = 0, sequences = 0, loops_left_out = 0;
  std::uint64_t long_sequences = 0;         ///< of 200 rows or more
  std::vector<std::vector<double>> counts;  ///< [layer][expert] tokens
  std::vector<LoadStats> load;              ///< [layer] of them
  std::vector<double> sequence_cv;          ///< [layer] expert load CV within a long sequence, mean
  /// [layer] E * sum of (share of assignments) * (mean router probability); 1 when balanced. From
  /// recorded weights, renormalised over the K; without them the shares stand for probabilities
  /// and the value is 1 + CV^2.
  std::vector<double> auxiliary_loss;
  bool loss_from_weights = false;
  std::vector<LagStats> lags;  ///< 1, 2, 4, ..., 128
  /// Expected overlap of two different tokens of one sequence (sequences weigh by rows), of any
  /// two tokens of the trace, and of uniform choices, K / E. Means over layers.
  double overlap_same_sequence = 0, overlap_whole_trace = 0, overlap_uniform = 0;
  /// [layer] First choices at this layer and the next: mutual information over the entropy of the
  /// next, and how often the likeliest follower is right. Empty for one layer, and beyond 1024
  /// experts, whose pairs would take too much memory.
  std::vector<double> next_layer_information, next_layer_guess;
  /// [layer] What the same choices tell when those of the next layer are dealt to other tokens:
  /// nothing but the bias of a count over few tokens, to be taken off the figure above. (With E^2
  /// pairs and fewer tokens than that the Miller-Madow correction takes off too little: 4096
  /// tokens of 256 experts, independent layers: 0.50 of the entropy counted, 0.08 corrected for.)
  std::vector<double> next_layer_chance;

  struct Group {
    std::string name;  ///< of domains
    std::uint64_t rows = 0;
    double cv = 0;  ///< mean over layers
  };
  std::vector<Group> groups;  ///< by name; empty if the trace names none
  /// [group][group] Jensen-Shannon distance of their loads, mean over layers.
  std::vector<std::vector<double>> group_distance;
};

/// Describes a table; sequences that are repetition loops (flag 2) are left out unless asked for.
/// Time grows with rows * layers * K^2: a second for 100,000 rows of 58 layers, top-8. Throws
/// InputError if rows of a mapped file are damaged.
[[nodiscard]] RoutingStats routing_stats(const RoutingTable& table, bool with_loops = false);
/// `place_of` is the place, from 0, of every expert.
[[nodiscard]] ReachStats reach_stats(const RoutingTable& table, const std::vector<int>& place_of,
                                     bool with_loops = false);
/// `nodes`, its matrix replaced by that of `ranks`, which lie in blocks on the nodes, summed by
/// node: sequences live where the ranks they live on are, and a token that goes to two ranks of a
/// node counts twice there. Precondition: the places of `nodes` divide those of `ranks`.
[[nodiscard]] ReachStats with_matrix_of(const ReachStats& ranks, ReachStats nodes);
/// Experts in consecutive blocks on ranks, and these on nodes: the node of every expert, its rank
/// if there is a node for each. Precondition: nodes divide ranks, which are at most the experts.
[[nodiscard]] std::vector<int> linear_places(int experts, int ranks, int nodes);

[[nodiscard]] double mean_of(const std::vector<double>& values);

}  // namespace moesim
