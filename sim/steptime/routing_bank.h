#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/base/random.h"
#include "sim/steptime/moe_group.h"
#include "sim/steptime/row_draw.h"

namespace moesim {

/// Where the tokens of a step go, at every MoE layer: sums over tokens. Filled row by row or by
/// adding draws up.
class StepLoad {
 public:
  /// No ranks: copies are not counted.
  StepLoad(int layers, int experts, int ranks, int nodes);
  void clear();
  /// Adds rows of a table, the first of them token `first_key`; `replicas` says who serves whom.
  void add(const RoutingTable& table, std::span<const std::uint64_t> rows, std::uint32_t first_key,
           const ReplicaRanks& replicas);
  [[nodiscard]] LayerLoad layer(int index) const;
  std::span<std::uint32_t> counts() { return counts_; }  ///< [layer][expert]
  std::span<std::uint32_t> copies() { return copies_; }  ///< [layer][ranks, then nodes]

 private:
  int ranks_;
  std::size_t experts_, width_;  ///< of a layer: experts; ranks and nodes
  std::vector<std::uint32_t> counts_, copies_;
};

/// Draws of what any number of tokens of a routing does at all layers at once, for the cost of a
/// few vector sums: the idea of CountBank, kept whole across layers, so that a token's path, its
/// ranks and what layers have in common stay as recorded.
///
/// The bank keeps kBlocks blocks of 1, 2, 4, ... 2^kLevels tokens, counted on first use; a draw of
/// T tokens adds one block for every binary digit of T and as many of the largest as it takes.
class RoutingBank {
 public:
  static constexpr int kBlocks = 16;
  static constexpr int kLevels = 12;

  struct Config {
    RowDraw draw;
    bool copies = false;  ///< count ranks and nodes too
    std::uint64_t seed = 1;
  };
  /// `replicas` says who serves whom, if copies are counted; must outlive the bank.
  RoutingBank(const Config& config, const ReplicaRanks* replicas);

  /// Fills `load` with draw `index` of `tokens` tokens; equal arguments, equal draws.
  void draw(int tokens, std::uint64_t index, StepLoad& load);

 private:
  const std::uint16_t* block(int level, std::uint64_t index);
  void count_block(int level, std::uint64_t index, std::uint16_t* cells);

  Config config_;
  const ReplicaRanks* replicas_;
  std::size_t counts_, row_;  ///< cells of a block: counts, and all
  std::vector<std::uint64_t> rows_;
  struct Level {
    std::vector<std::uint16_t> cells;  ///< [block][counts, then copies]
    std::vector<bool> made;
  };
  std::vector<Level> levels_;
};

}  // namespace moesim
