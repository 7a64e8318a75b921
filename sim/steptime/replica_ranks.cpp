#include "sim/steptime/replica_ranks.h"

#include <algorithm>
#include <array>
#include <bit>
#include <type_traits>

#include "sim/base/check.h"

namespace moesim {

ReplicaRanks::ReplicaRanks(const ExpertPlacement& placement, std::vector<int> node_of_rank)
    : ranks_(placement.ranks), experts_(placement.experts), slots_(placement.slots) {
  const auto layers = static_cast<std::size_t>(placement.layers);
  const auto experts = static_cast<std::size_t>(experts_);
  const auto slots = static_cast<std::size_t>(placement.slots);
  first_.assign(layers * experts + 1, 0);
  for (std::size_t l = 0; l < layers; ++l) {
    for (const std::uint16_t expert : placement.layer(static_cast<int>(l)))
      ++first_[l * experts + expert + 1];
  }
  for (std::size_t i = 1; i < first_.size(); ++i) first_[i] += first_[i - 1];
  std::vector<std::uint16_t> slot_rank(slots);
  for (int r = 0; r < ranks_; ++r) {
    const auto rank = static_cast<std::size_t>(r);
    for (int s = placement.first_slot[rank]; s < placement.first_slot[rank + 1]; ++s)
      slot_rank[static_cast<std::size_t>(s)] = static_cast<std::uint16_t>(r);
  }
  rank_.resize(layers * slots);
  slot_.resize(layers * slots);
  std::vector<std::uint32_t> next(first_.begin(), first_.end() - 1);
  for (std::size_t l = 0; l < layers; ++l) {
    const auto logical = placement.layer(static_cast<int>(l));
    for (std::size_t s = 0; s < slots; ++s) {
      const std::uint32_t at = next[l * experts + logical[s]]++;
      rank_[at] = slot_rank[s];
      slot_[at] = static_cast<std::uint16_t>(s);
    }
  }
  if (placement.slots == placement.experts && ranks_ <= 256)
    only_.assign(rank_.begin(), rank_.end());
  node_of_.assign(node_of_rank.begin(), node_of_rank.end());
  for (const int node : node_of_rank) nodes_ = std::max(nodes_, node + 1);
}

namespace {

/// Which of up to 256 things were seen: one bit each.
struct Seen {
  std::array<std::uint64_t, 4> bits{};
  void add(std::uint32_t at) { bits[at >> 6] |= std::uint64_t{1} << (at & 63U); }
  template <class Cell>
  void count(int words, Cell* counts) const {
    for (int w = 0; w < words; ++w) {
      for (std::uint64_t left = bits[static_cast<std::size_t>(w)]; left != 0; left &= left - 1)
        ++counts[64 * w + std::countr_zero(left)];
    }
  }
};

/// `copies` and `slots` are of the layer.
template <class Id, class Cell>
void count_token(const ReplicaRanks& replicas, std::span<const std::uint16_t> node_of, int layer,
                 std::span<const Id> ids, std::uint32_t key, Cell* copies, Cell* slots) {
  Seen ranks, nodes;
  for (const Id id : ids) {
    if constexpr (std::is_signed_v<Id>) {
      if (id < 0) continue;
    }
    const ReplicaRanks::Place place = replicas.place(layer, id, key);
    ranks.add(place.rank);
    nodes.add(node_of[place.rank]);
    if (slots != nullptr) ++slots[place.slot];
  }
  ranks.count((replicas.ranks() + 63) / 64, copies);
  nodes.count((replicas.nodes() + 63) / 64, copies + replicas.ranks());
}

/// Byte i of entry v is bit i of v.
constexpr std::array<std::uint64_t, 256> spread_bits() {
  std::array<std::uint64_t, 256> table{};
  for (std::uint64_t v = 0; v < 256; ++v) {
    for (std::uint64_t i = 0; i < 8; ++i) table[v] |= (v >> i & 1U) << (8 * i);
  }
  return table;
}
constexpr std::array<std::uint64_t, 256> kSpread = spread_bits();

/// Counts how often each of up to 64 bits is set, in bytes: eight bits an addition, no branches.
class BitCounter {
 public:
  static constexpr int kMost = 255;  ///< words between two flushes
  explicit BitCounter(int bits) : bits_(bits), words_(static_cast<std::size_t>(bits + 7) / 8) {}
  void add(std::uint64_t word) {
    for (std::size_t w = 0; w < words_; ++w) bytes_[w] += kSpread[word >> (8 * w) & 255U];
  }
  template <class Cell>
  void flush(Cell* counts) {
    for (int b = 0; b < bits_; ++b) {
      const std::uint64_t byte = bytes_[static_cast<std::size_t>(b) / 8] >> (8 * (b % 8)) & 255U;
      counts[b] = static_cast<Cell>(counts[b] + byte);
    }
    bytes_ = {};
  }

 private:
  int bits_;
  std::size_t words_;
  std::array<std::uint64_t, 8> bytes_{};
};

/// At most 64 ranks: a layer of some hundred rows at a time, one bit a rank.
template <class Id, class Cell>
void count_few(const ReplicaRanks& replicas, std::span<const std::uint16_t> node_of,
               const RoutingTable& table, std::span<const std::uint64_t> rows, std::uint32_t key,
               Cell* copies, Cell* slots) {
  const RoutingShape& shape = table.shape();
  const auto k = static_cast<std::size_t>(shape.top_k);
  const auto cells = table.row_cells();
  const Id* const base = reinterpret_cast<const Id*>(table.cells().data());
  const auto stride = static_cast<std::size_t>(replicas.ranks() + replicas.nodes());
  std::array<std::uint64_t, 64> ranks_of_node{};
  for (std::size_t r = 0; r < node_of.size(); ++r)
    ranks_of_node[node_of[r]] |= std::uint64_t{1} << r;
  const auto nodes = static_cast<std::size_t>(replicas.nodes());
  for (std::size_t first = 0; first < rows.size(); first += BitCounter::kMost) {
    const auto part =
        rows.subspan(first, std::min<std::size_t>(BitCounter::kMost, rows.size() - first));
    for (int layer = 0; layer < shape.layers; ++layer) {
      BitCounter by_rank(replicas.ranks()), by_node(replicas.nodes());
      const std::uint8_t* const only = replicas.only(layer);
      const std::size_t at = static_cast<std::size_t>(layer) * k;
      Cell* const computed = slots == nullptr ? nullptr : slots + layer * replicas.layer_slots();
      auto token = key + static_cast<std::uint32_t>(first);
      for (const std::uint64_t row : part) {
        const Id* const ids = base + row * cells + at;
        std::uint64_t seen = 0;
        if (only != nullptr) {
          for (std::size_t i = 0; i < k; ++i) seen |= std::uint64_t{1} << only[ids[i]];
        } else {
          for (std::size_t i = 0; i < k; ++i) {
            const ReplicaRanks::Place place = replicas.place(layer, ids[i], token);
            seen |= std::uint64_t{1} << place.rank;
            if (computed != nullptr) ++computed[place.slot];
          }
        }
        ++token;
        by_rank.add(seen);
        std::uint64_t reached = 0;
        for (std::size_t n = 0; n < nodes; ++n)
          reached |= std::uint64_t{(seen & ranks_of_node[n]) != 0} << n;
        by_node.add(reached);
      }
      Cell* const out = copies + static_cast<std::size_t>(layer) * stride;
      by_rank.flush(out);
      by_node.flush(out + replicas.ranks());
    }
  }
}

}  // namespace

template <class Cell>
void ReplicaRanks::count_copies(const RoutingTable& table, std::span<const std::uint64_t> rows,
                                std::uint32_t first_key, Cell* copies, Cell* slots) const {
  MOESIM_CHECK(ranks_ <= 256, "at most 256 ranks share the experts of a layer");
  MOESIM_CHECK(slots == nullptr || copied(), "tokens of slots are those of their experts");
  if (ranks_ <= 64) {
    if (table.cell_bytes() == 1) {
      count_few<std::uint8_t>(*this, node_of_, table, rows, first_key, copies, slots);
    } else {
      count_few<std::uint16_t>(*this, node_of_, table, rows, first_key, copies, slots);
    }
    return;
  }
  const RoutingShape& shape = table.shape();
  const auto k = static_cast<std::size_t>(shape.top_k);
  const auto stride = static_cast<std::size_t>(ranks_ + nodes_);
  for (const std::uint64_t row : rows) {
    for (std::size_t l = 0; l < static_cast<std::size_t>(shape.layers); ++l) {
      Cell* const out = copies + l * stride;
      Cell* const computed =
          slots == nullptr ? nullptr : slots + l * static_cast<std::size_t>(slots_);
      const int layer = static_cast<int>(l);
      if (table.cell_bytes() == 1) {
        count_token<std::uint8_t>(*this, node_of_, layer, {table.row8(row) + l * k, k}, first_key,
                                  out, computed);
      } else {
        count_token<std::uint16_t>(*this, node_of_, layer, {table.row16(row) + l * k, k}, first_key,
                                   out, computed);
      }
    }
    ++first_key;
  }
}
void ReplicaRanks::count_placed(std::span<const int> placed, int top_k, int layer,
                                std::uint32_t first_key, std::span<std::uint32_t> copies,
                                std::span<std::uint32_t> slots) const {
  const auto k = static_cast<std::size_t>(top_k);
  const auto stride = static_cast<std::size_t>(ranks_ + nodes_);
  std::uint32_t* const out = copies.data() + static_cast<std::size_t>(layer) * stride;
  std::uint32_t* const computed = slots.empty() ? nullptr : slots.data() + layer * slots_;
  for (std::size_t at = 0; at + k <= placed.size(); at += k)
    count_token<int>(*this, node_of_, layer, placed.subspan(at, k), first_key++, out, computed);
}

template void ReplicaRanks::count_copies(const RoutingTable&, std::span<const std::uint64_t>,
                                         std::uint32_t, std::uint16_t*, std::uint16_t*) const;
template void ReplicaRanks::count_copies(const RoutingTable&, std::span<const std::uint64_t>,
                                         std::uint32_t, std::uint32_t*, std::uint32_t*) const;

}  // namespace moesim
