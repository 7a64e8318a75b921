#include "scenarios/layout.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

namespace moesim {
namespace {

/// The nodes of one kind: how many GPUs of each are taken, from its first one on.
struct Group {
  int gpus_per_node = 0;
  int first_gpu = 0;  ///< cluster number
  std::vector<int> taken;
};

std::vector<Group> empty_groups(const ClusterSpec& cluster) {
  std::vector<Group> groups;
  int first = 0;
  for (const NodeGroup& nodes : cluster.nodes) {
    groups.push_back(
        {nodes.gpus, first, std::vector<int>(static_cast<std::size_t>(nodes.count), 0)});
    first += nodes.gpus * nodes.count;
  }
  return groups;
}

std::vector<int> take(Group& group, std::size_t node, int count) {
  std::vector<int> gpus(static_cast<std::size_t>(count));
  std::iota(gpus.begin(), gpus.end(),
            group.first_gpu + static_cast<int>(node) * group.gpus_per_node + group.taken[node]);
  for (std::size_t at = node; count > 0; ++at) {
    const int here = std::min(count, group.gpus_per_node - group.taken[at]);
    group.taken[at] += here;
    count -= here;
  }
  return gpus;
}

/// The first node from `from` on where a copy of `count` GPUs can start, or nothing.
std::optional<std::size_t> find_room(const Group& group, int count, std::size_t from) {
  const std::size_t nodes = group.taken.size();
  if (count <= group.gpus_per_node) {
    for (std::size_t node = from; node < nodes; ++node) {
      if (group.gpus_per_node - group.taken[node] >= count) return node;
    }
    return std::nullopt;
  }
  const auto needed =
      static_cast<std::size_t>((count + group.gpus_per_node - 1) / group.gpus_per_node);
  std::size_t free_in_a_row = 0;
  for (std::size_t node = from; node < nodes; ++node) {
    free_in_a_row = group.taken[node] == 0 ? free_in_a_row + 1 : 0;
    if (free_in_a_row == needed) return node + 1 - needed;
  }
  return std::nullopt;
}

/// All copies of an entry, or nothing, with `group` unchanged.
std::optional<std::vector<std::vector<int>>> place_all(Group& group, const InstanceSpec& entry) {
  Group trial = group;
  std::vector<std::vector<int>> copies;
  std::size_t from = 0;  // copies are alike: where one found no room the next finds none
  for (int copy = 0; copy < entry.count; ++copy) {
    const std::optional<std::size_t> node = find_room(trial, entry.parallel.gpus(), from);
    if (!node) return std::nullopt;
    copies.push_back(take(trial, *node, entry.parallel.gpus()));
    from = *node;
  }
  group = std::move(trial);
  return copies;
}

}  // namespace

Layout lay_out(const ClusterSpec& cluster, const std::vector<InstanceSpec>& instances) {
  Layout layout;
  std::vector<Group> groups = empty_groups(cluster);
  for (const InstanceSpec& entry : instances) {
    int node = -1;
    for (std::size_t i = 0; i < groups.size() && node < 0; ++i) {
      if (entry.node >= 0 && entry.node != static_cast<int>(i)) continue;
      auto copies = place_all(groups[i], entry);
      if (!copies) continue;
      node = static_cast<int>(i);
      for (std::vector<int>& gpus : *copies) layout.gpus.push_back(std::move(gpus));
    }
    layout.node.push_back(node);
  }
  for (const Group& group : groups) {
    for (const int taken : group.taken) layout.idle += group.gpus_per_node - taken;
  }
  return layout;
}

}  // namespace moesim
