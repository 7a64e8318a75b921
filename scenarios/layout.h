#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "hardware/cluster.h"
#include "scenarios/scenario.h"

namespace moesim {

/// Which GPUs every instance runs on.
struct Layout {
  /// Per instance, entry by entry and copy by copy: its GPUs by cluster number (node-major, as
  /// Topology counts), in rank order.
  std::vector<std::vector<int>> gpus;
  /// Per entry: index of its kind of node in cluster.nodes, or -1 if it does not fit.
  std::vector<int> node;
  int idle = 0;  ///< GPUs no instance uses
};

/// First fit: an entry goes to the first kind of node (or the one it names) that has room for all
/// its copies; a copy goes to the first node with enough free GPUs, or, if it is larger than a
/// node, to whole free nodes in a row.
[[nodiscard]] Layout lay_out(const ClusterSpec& cluster,
                             const std::vector<InstanceSpec>& instances);

/// Why entry `index` has no room beside those before it, and what would help. Precondition: lay_out
/// finds it none.
struct Misfit {
  std::string problem, hint;
};
[[nodiscard]] Misfit why_no_room(const ClusterSpec& cluster,
                                 const std::vector<InstanceSpec>& instances, std::size_t index);

}  // namespace moesim
