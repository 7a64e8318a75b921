#include "scenarios/layout.h"

#include <algorithm>
#include <fmt/format.h>
#include <functional>
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

/// All copies of an entry on the first kind of node that has room for them; returns which, or -1.
int place_entry(std::vector<Group>& groups, const InstanceSpec& entry,
                std::vector<std::vector<int>>& gpus) {
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (entry.node >= 0 && entry.node != static_cast<int>(i)) continue;
    auto copies = place_all(groups[i], entry);
    if (!copies) continue;
    for (std::vector<int>& one : *copies) gpus.push_back(std::move(one));
    return static_cast<int>(i);
  }
  return -1;
}

int free_gpus(const Group& group) {
  const int taken = std::accumulate(group.taken.begin(), group.taken.end(), 0);
  return group.gpus_per_node * static_cast<int>(group.taken.size()) - taken;
}

/// There are enough free GPUs in `group`, but not where instances of `size` need them.
Misfit unfit_nodes(const Group& group, int size, const std::string& what) {
  const int each = group.gpus_per_node;
  if (size <= each) {
    int room = 0;
    for (const int taken : group.taken) room += (each - taken) / size;
    return {
        fmt::format("{}: none lies over two nodes unless it is larger than one, and nodes of {} "
                    "GPUs have room for {}",
                    what, each, room),
        fmt::format("write sizes that divide {}, fewer instances, or a larger system.nodes", each)};
  }
  const auto nodes = static_cast<int>(group.taken.size());
  return {
      fmt::format("{}: each starts on a free node of {} GPUs and needs {} of them in a row, and "
                  "{} of {} are free",
                  what, each, (size + each - 1) / each, std::ranges::count(group.taken, 0), nodes),
      fmt::format("write sizes that are multiples of {}, fewer instances, or a larger "
                  "system.nodes",
                  each)};
}

bool fits_larger_first(const ClusterSpec& cluster, std::vector<InstanceSpec> instances) {
  std::ranges::stable_sort(instances, std::greater{},
                           [](const InstanceSpec& entry) { return entry.parallel.gpus(); });
  return std::ranges::none_of(lay_out(cluster, instances).node, [](int node) { return node < 0; });
}

}  // namespace

Layout lay_out(const ClusterSpec& cluster, const std::vector<InstanceSpec>& instances) {
  Layout layout;
  std::vector<Group> groups = empty_groups(cluster);
  for (const InstanceSpec& entry : instances) {
    layout.node.push_back(place_entry(groups, entry, layout.gpus));
  }
  for (const Group& group : groups) layout.idle += free_gpus(group);
  return layout;
}

Misfit why_no_room(const ClusterSpec& cluster, const std::vector<InstanceSpec>& instances,
                   std::size_t index) {
  std::vector<Group> groups = empty_groups(cluster);
  std::vector<std::vector<int>> placed;
  for (std::size_t i = 0; i < index; ++i) place_entry(groups, instances[i], placed);
  const InstanceSpec& entry = instances[index];
  std::vector<Group> allowed = groups;
  if (entry.node >= 0) allowed = {groups[static_cast<std::size_t>(entry.node)]};
  const int size = entry.parallel.gpus(), needed = entry.count * size;
  int all = 0, free = 0;
  for (const Group& group : allowed) {
    all += group.gpus_per_node * static_cast<int>(group.taken.size());
    free += free_gpus(group);
  }
  const std::string what = fmt::format(
      "{} fit {} of {} GPUs",
      entry.count == 1 ? fmt::format("an instance of {} GPUs does not", size)
                       : fmt::format("{} instances of {} GPUs do not", entry.count, size),
      entry.node >= 0 ? fmt::format("the nodes of kind {},", entry.node) : "a cluster", all);
  if (free < needed) {
    return {
        what + (free < all ? fmt::format(", of which {} are taken by entries before", all - free)
                           : ""),
        fmt::format("{} GPUs are needed here: fewer or smaller instances, or a larger "
                    "system.nodes",
                    needed)};
  }
  const Group& group = *std::ranges::max_element(allowed, {}, free_gpus);
  Misfit misfit;
  if (free_gpus(group) < needed) {
    misfit = {fmt::format("{}: an entry's instances run on nodes of one kind, and none has more "
                          "than {} free GPUs",
                          what, free_gpus(group)),
              entry.count > 1 ? "write an entry for each kind of node, or nodes of one kind"
                              : "write nodes of one kind, or smaller instances"};
  } else {
    misfit = unfit_nodes(group, size, what);
  }
  if (fits_larger_first(cluster, instances))
    misfit.hint = "write larger instances first: in that order all have room";
  return misfit;
}

}  // namespace moesim
