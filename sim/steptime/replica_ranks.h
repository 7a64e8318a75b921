#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/placement.h"
#include "scenarios/routing_table.h"

namespace moesim {

/// Where the copies of every logical expert lie: a placement turned round, for counting.
class ReplicaRanks {
 public:
  ReplicaRanks() = default;
  ReplicaRanks(const ExpertPlacement& placement, std::vector<int> node_of_rank);

  [[nodiscard]] int ranks() const { return ranks_; }
  [[nodiscard]] int nodes() const { return nodes_; }
  [[nodiscard]] int experts() const { return experts_; }
  [[nodiscard]] int node(int rank) const { return node_of_[static_cast<std::size_t>(rank)]; }

  /// Rank of the copy that serves token `key` of an expert: equal shares over the copies.
  [[nodiscard]] int rank(int layer, int expert, std::uint32_t key) const {
    const std::size_t at = index(layer, expert);
    if (!only_.empty()) return only_[at];
    const std::uint32_t first = first_[at];
    const std::uint32_t copies = first_[at + 1] - first;
    if (copies == 1) return rank_[first];
    return rank_[first + (copies == 2 ? key & 1U : key % copies)];
  }
  /// [expert] rank at a layer where every expert has one copy; else null.
  [[nodiscard]] const std::uint8_t* only(int layer) const {
    return only_.empty() ? nullptr : only_.data() + index(layer, 0);
  }
  /// Slots of a layer's expert, ascending.
  [[nodiscard]] std::span<const std::uint16_t> slots(int layer, int expert) const {
    const std::size_t at = index(layer, expert);
    return std::span(slot_).subspan(first_[at], first_[at + 1] - first_[at]);
  }

  /// Adds rows' copies to `copies`, [layer][ranks, then nodes]: each rank and each node that has
  /// one of a token's experts counts it once. Row i is token `first_key` + i. Cell: 16 or 32 bits.
  template <class Cell>
  void count_copies(const RoutingTable& table, std::span<const std::uint64_t> rows,
                    std::uint32_t first_key, Cell* copies) const;
  /// The same at one layer for tokens whose experts are listed, [token][top_k], -1 for none.
  void count_placed(std::span<const int> placed, int top_k, int layer, std::uint32_t first_key,
                    std::span<std::uint32_t> copies) const;

 private:
  [[nodiscard]] std::size_t index(int layer, int expert) const {
    return static_cast<std::size_t>(layer) * static_cast<std::size_t>(experts_) +
           static_cast<std::size_t>(expert);
  }
  int ranks_ = 1, nodes_ = 1, experts_ = 0;
  std::vector<std::uint32_t> first_;  ///< [layer][expert], and one past the end
  std::vector<std::uint16_t> rank_, slot_;
  std::vector<std::uint8_t> only_;  ///< [layer][expert] -> rank, where every expert has one copy
  std::vector<std::uint16_t> node_of_;
};

}  // namespace moesim
