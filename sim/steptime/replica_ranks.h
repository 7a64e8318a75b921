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

  /// Whether some expert has several copies.
  [[nodiscard]] bool copied() const { return slots_ > experts_; }
  [[nodiscard]] int layer_slots() const { return slots_; }

  /// Where token `key` of an expert is computed: its copies take turns, and at every layer another
  /// one begins, so that what does not divide over them favours nobody.
  struct Place {
    std::uint16_t rank, slot;
  };
  [[nodiscard]] Place place(int layer, int expert, std::uint32_t key) const {
    const std::uint32_t at = turn(layer, index(layer, expert), key);
    return {rank_[at], slot_[at]};
  }
  [[nodiscard]] int rank(int layer, int expert, std::uint32_t key) const {
    const std::size_t at = index(layer, expert);
    return only_.empty() ? rank_[turn(layer, at, key)] : only_[at];
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
  /// Tokens that slots compute are added to `slots`, [layer][slot], unless it is null; only where
  /// experts are copied().
  template <class Cell>
  void count_copies(const RoutingTable& table, std::span<const std::uint64_t> rows,
                    std::uint32_t first_key, Cell* copies, Cell* slots = nullptr) const;
  /// The same at one layer for tokens whose experts are listed, [token][top_k], -1 for none.
  void count_placed(std::span<const int> placed, int top_k, int layer, std::uint32_t first_key,
                    std::span<std::uint32_t> copies, std::span<std::uint32_t> slots = {}) const;

 private:
  [[nodiscard]] std::size_t index(int layer, int expert) const {
    return static_cast<std::size_t>(layer) * static_cast<std::size_t>(experts_) +
           static_cast<std::size_t>(expert);
  }
  /// Which entry of `rank_` and `slot_` has its turn; `at`: index of the expert.
  [[nodiscard]] std::uint32_t turn(int layer, std::size_t at, std::uint32_t key) const {
    const std::uint32_t first = first_[at];
    const std::uint32_t copies = first_[at + 1] - first;
    if (copies == 1) return first;
    key += static_cast<std::uint32_t>(layer);
    return first + (copies == 2 ? key & 1U : key % copies);
  }
  int ranks_ = 1, nodes_ = 1, experts_ = 0, slots_ = 0;
  std::vector<std::uint32_t> first_;  ///< [layer][expert], and one past the end
  std::vector<std::uint16_t> rank_, slot_;
  std::vector<std::uint8_t> only_;  ///< [layer][expert] -> rank, where every expert has one copy
  std::vector<std::uint16_t> node_of_;
};

}  // namespace moesim
