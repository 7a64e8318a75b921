#include "models/eplb.h"

#include <algorithm>
#include <numeric>

#include "sim/base/check.h"

namespace moesim {

namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

int count(std::span<const double> weights) {
  return static_cast<int>(weights.size());
}

/// Copies of each expert under a slot map.
std::vector<int> copies_of(std::span<const int> slots, int experts) {
  std::vector<int> copies(at(experts), 0);
  for (const int expert : slots) ++copies[at(expert)];
  return copies;
}

/// Logical experts of each node: whole groups, packed by load.
std::vector<std::vector<int>> experts_of_nodes(std::span<const double> loads, int groups,
                                               int nodes) {
  const int size = count(loads) / groups;
  std::vector<double> group_load(at(groups), 0);
  for (int e = 0; e < groups * size; ++e) group_load[at(e / size)] += loads[at(e)];
  const Packing packing = pack(group_load, nodes);
  std::vector<int> group_at(at(groups));  // by node, then position
  for (int g = 0; g < groups; ++g) {
    group_at[at(packing.bin[at(g)] * (groups / nodes) + packing.position[at(g)])] = g;
  }
  std::vector<std::vector<int>> result(at(nodes));
  for (int i = 0; i < groups; ++i) {
    for (int e = 0; e < size; ++e)
      result[at(i / (groups / nodes))].push_back(group_at[at(i)] * size + e);
  }
  return result;
}

/// Slots of one node, rank by rank: copies of its experts, packed by load.
std::vector<int> slots_of_node(std::span<const int> experts, std::span<const double> loads,
                               int slots, int ranks) {
  std::vector<double> own;
  own.reserve(experts.size());
  for (const int expert : experts) own.push_back(loads[at(expert)]);
  const std::vector<int> copied = replicate(own, slots);
  const std::vector<int> copies = copies_of(copied, count(own));
  std::vector<double> slot_load;
  slot_load.reserve(copied.size());
  for (const int expert : copied) slot_load.push_back(own[at(expert)] / copies[at(expert)]);
  const Packing packing = pack(slot_load, ranks);
  std::vector<int> result(at(slots));
  for (int s = 0; s < slots; ++s) {
    result[at(packing.bin[at(s)] * (slots / ranks) + packing.position[at(s)])] =
        experts[at(copied[at(s)])];
  }
  return result;
}

void check_same_shape(const ExpertPlacement& before, const ExpertPlacement& after) {
  MOESIM_CHECK(before.layers == after.layers && before.experts == after.experts &&
                   before.first_slot == after.first_slot,
               "placements of the same shape");
}

/// Whether a rank holds each expert of a layer: [rank][expert].
std::vector<char> holders(const ExpertPlacement& placement, int layer) {
  std::vector<char> held(at(placement.ranks) * at(placement.experts), 0);
  const std::span<const std::uint16_t> slots = placement.layer(layer);
  for (int rank = 0; rank < placement.ranks; ++rank) {
    for (int s = placement.first_slot[at(rank)]; s < placement.first_slot[at(rank) + 1]; ++s) {
      held[at(rank) * at(placement.experts) + slots[at(s)]] = 1;
    }
  }
  return held;
}

/// Permutes the new experts of one rank; `before` and `after` are its slots.
void keep_rank_slots(std::span<const std::uint16_t> before, std::span<std::uint16_t> after) {
  std::vector<std::uint16_t> fresh(after.begin(), after.end());
  std::vector<char> used(fresh.size(), 0), kept(fresh.size(), 0);
  for (std::size_t s = 0; s < before.size(); ++s) {
    for (std::size_t i = 0; i < fresh.size() && !kept[s]; ++i) {
      if (used[i] || fresh[i] != before[s]) continue;
      used[i] = kept[s] = 1;
      after[s] = fresh[i];
    }
  }
  std::size_t next = 0;
  for (std::size_t s = 0; s < before.size(); ++s) {
    if (kept[s]) continue;
    while (used[next]) ++next;
    after[s] = fresh[next++];
  }
}

}  // namespace

Packing pack(std::span<const double> weights, int bins) {
  const int items = count(weights);
  MOESIM_CHECK(bins > 0 && items % bins == 0, "bins take equally many items");
  const int room = items / bins;
  Packing result{std::vector<int>(weights.size()), std::vector<int>(weights.size(), 0)};
  if (room == 1) {
    std::iota(result.bin.begin(), result.bin.end(), 0);
    return result;
  }
  std::vector<int> order(weights.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return weights[at(a)] > weights[at(b)]; });
  std::vector<double> load(at(bins), 0);
  std::vector<int> filled(at(bins), 0);
  for (const int item : order) {
    int lightest = -1;
    for (int bin = 0; bin < bins; ++bin) {
      if (filled[at(bin)] == room) continue;
      if (lightest < 0 || load[at(bin)] < load[at(lightest)]) lightest = bin;
    }
    result.bin[at(item)] = lightest;
    result.position[at(item)] = filled[at(lightest)]++;
    load[at(lightest)] += weights[at(item)];
  }
  return result;
}

std::vector<int> replicate(std::span<const double> weights, int slots) {
  const int experts = count(weights);
  MOESIM_CHECK(slots >= experts, "every expert has a slot");
  std::vector<int> result(at(slots));
  std::iota(result.begin(), result.begin() + experts, 0);
  std::vector<int> copies(at(experts), 1);
  std::vector<double> each(weights.begin(), weights.end());  // load per copy
  for (int slot = experts; slot < slots; ++slot) {
    const auto most = static_cast<int>(std::max_element(each.begin(), each.end()) - each.begin());
    result[at(slot)] = most;
    each[at(most)] = weights[at(most)] / ++copies[at(most)];
  }
  return result;
}

std::vector<int> rebalance(std::span<const double> loads, const EplbShape& shape) {
  int groups = std::max(1, shape.groups);
  int nodes = shape.nodes;
  const bool hierarchical =
      groups % nodes == 0 && count(loads) % groups == 0 && shape.ranks % nodes == 0;
  if (!hierarchical) groups = nodes = 1;
  MOESIM_CHECK(shape.slots % shape.ranks == 0, "slots divide over ranks");
  std::vector<int> result;
  result.reserve(at(shape.slots));
  for (const std::vector<int>& experts : experts_of_nodes(loads, groups, nodes)) {
    const std::vector<int> slots =
        slots_of_node(experts, loads, shape.slots / nodes, shape.ranks / nodes);
    result.insert(result.end(), slots.begin(), slots.end());
  }
  return result;
}

ExpertPlacement balanced_placement(const PlacementInput& input) {
  const int slots = input.experts + input.redundant;
  MOESIM_CHECK(input.loads.size() == at(input.layers) * at(input.experts),
               "loads of every layer and expert");
  ExpertPlacement out = empty_placement(input.layers, input.experts, slots, input.ranks);
  const EplbShape shape{slots, input.groups, input.nodes, input.ranks};
  for (int layer = 0; layer < input.layers; ++layer) {
    const std::vector<int> row =
        rebalance(input.loads.subspan(at(layer) * at(input.experts), at(input.experts)), shape);
    std::transform(row.begin(), row.end(), out.logical.begin() + std::ptrdiff_t{layer} * slots,
                   [](int expert) { return static_cast<std::uint16_t>(expert); });
  }
  return out;
}

ExpertPlacement linear_placement(const PlacementInput& input) {
  ExpertPlacement out =
      empty_placement(input.layers, input.experts, input.experts + input.redundant, input.ranks);
  for (std::size_t i = 0; i < out.logical.size(); ++i) {
    out.logical[i] = static_cast<std::uint16_t>(i % at(out.slots) % at(out.experts));
  }
  return out;
}

ExpertPlacement keep_slots(const ExpertPlacement& before, ExpertPlacement after) {
  check_same_shape(before, after);
  for (int layer = 0; layer < after.layers; ++layer) {
    const std::span<const std::uint16_t> old = before.layer(layer);
    const std::span<std::uint16_t> fresh =
        std::span(after.logical).subspan(at(layer) * at(after.slots), at(after.slots));
    for (int rank = 0; rank < after.ranks; ++rank) {
      const std::size_t first = at(after.first_slot[at(rank)]);
      const std::size_t own = at(after.first_slot[at(rank) + 1]) - first;
      keep_rank_slots(old.subspan(first, own), fresh.subspan(first, own));
    }
  }
  return after;
}

std::vector<ExpertMove> expert_moves(const ExpertPlacement& before, const ExpertPlacement& after,
                                     int layer) {
  check_same_shape(before, after);
  const std::vector<char> had = holders(before, layer), has = holders(after, layer);
  std::vector<ExpertMove> moves;
  std::vector<int> senders, receivers;
  for (int expert = 0; expert < before.experts; ++expert) {
    senders.clear();
    receivers.clear();
    for (int rank = 0; rank < before.ranks; ++rank) {
      const std::size_t cell = at(rank) * at(before.experts) + at(expert);
      if (had[cell]) senders.push_back(rank);
      if (has[cell] && !had[cell]) receivers.push_back(rank);
    }
    // Each sender serves a run of receivers; what does not divide goes one each to the first.
    const std::size_t each = receivers.size() / senders.size();
    for (std::size_t i = 0; i < receivers.size(); ++i) {
      const std::size_t even = each * senders.size();
      const std::size_t sender = i < even ? i / each : i - even;
      moves.push_back({expert, senders[sender], receivers[i]});
    }
  }
  return moves;
}

std::vector<int> moved_slots(const ExpertPlacement& before, const ExpertPlacement& after) {
  std::vector<int> moved(at(before.layers) * at(before.ranks), 0);
  for (int layer = 0; layer < before.layers; ++layer) {
    for (const ExpertMove& move : expert_moves(before, after, layer)) {
      ++moved[at(layer) * at(before.ranks) + at(move.to_rank)];
    }
  }
  return moved;
}

}  // namespace moesim
