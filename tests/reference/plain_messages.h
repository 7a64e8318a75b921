#pragma once

#include <string>
#include <vector>

#include "hardware/collective.h"

namespace moesim::reference {

/// Who shares a layer's experts, as the cluster sees them.
struct PlainGroup {
  const Topology* topology = nullptr;
  const Collectives* collectives = nullptr;  ///< prices of all-gathers and the like
  std::vector<int> gpus;                     ///< [rank of the group] cluster numbers
  int tp = 1;                     ///< neighbours that hold the same tokens, unless they split them
  bool sequence_parallel = true;  ///< they do
  int top_k = 1, experts = 1;     ///< physical ones
  double there_bytes = 0, back_bytes = 0;  ///< payload of a token to an expert and back
  /// Node of each rank, counted from 0 in order of appearance.
  [[nodiscard]] std::vector<int> nodes() const;
};

/// Counts of one layer, as in DispatchTraffic.
struct PlainTraffic {
  std::vector<double> held;                      ///< [rank] tokens before the dispatch
  std::vector<double> rank_copies, node_copies;  ///< distinct tokens that need the rank, the node
  std::vector<double> slots;                     ///< [rank] (token, expert) pairs
};

struct PlainMessages {
  double dispatch_ns = 0, combine_ns = 0;
  double dispatch_intra = 0, dispatch_inter = 0;  ///< bytes sent by all ranks
  double combine_intra = 0, combine_inter = 0;
  double busiest_link_bytes = 0;  ///< on the way there; 0 for collectives
};

/// What a dispatch backend moves and how long it takes, message by message over every link of its
/// path (serving-semantics 3.4-3.5): no sets, no memory of links, no curves.
[[nodiscard]] PlainMessages plain_messages(const std::string& backend, const PlainGroup& group,
                                           const PlainTraffic& traffic);

}  // namespace moesim::reference
