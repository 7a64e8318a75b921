#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/base/random.h"
#include "sim/steptime/moe_group.h"
#include "sim/steptime/row_draw.h"

namespace moesim {

struct MoeStageSpec;

/// Where the tokens of a step go, at every MoE layer: sums over tokens. Filled row by row or by
/// adding draws up.
class StepLoad {
 public:
  /// No ranks: copies are not counted. No slots: neither is which copy of an expert computes what.
  StepLoad(int layers, int experts, int ranks, int nodes, int slots = 0);
  /// Begins a step. Its number, or a draw's, is the `key`: copies of experts take turns from there.
  void clear(std::uint32_t key = 0);
  [[nodiscard]] std::uint32_t key() const { return key_; }
  /// Adds rows of a table, the first of them token `first_key` of the step; `replicas` says who
  /// serves whom.
  void add(const RoutingTable& table, std::span<const std::uint64_t> rows, std::uint32_t first_key,
           const ReplicaRanks& replicas);
  [[nodiscard]] LayerLoad layer(int index) const;
  std::span<std::uint32_t> counts() { return counts_; }  ///< [layer][expert]
  std::span<std::uint32_t> copies() { return copies_; }  ///< [layer][ranks, then nodes]
  std::span<std::uint32_t> slots() { return slots_; }    ///< [layer][slot]

  /// Scales deviations from what exchangeable experts have on average.
  void even_out(double scale, const ReplicaRanks& replicas);

 private:
  int ranks_;
  std::size_t experts_, width_, layer_slots_;  ///< of a layer: experts; ranks and nodes; slots
  std::uint32_t key_ = 0;
  std::vector<std::uint32_t> counts_, copies_, slots_;
};

/// A load for these stages: copies are counted if one of them needs it, and then tokens by slot,
/// too, if experts have copies and `by_slot`.
[[nodiscard]] StepLoad step_load(std::span<const MoeStageSpec> stages, const RoutingShape& shape,
                                 bool by_slot = true);

/// Draws of what any number of tokens of a routing does at all layers at once, for the cost of a
/// few vector sums: the idea of CountBank, kept whole across layers, so that a token's path, its
/// ranks and what layers have in common stay as recorded.
///
/// The bank keeps kBlocks blocks of 1, 2, 4, ... 2^kLevels tokens, counted on first use; a draw of
/// T tokens adds one block for every binary digit of T and as many of the largest as it takes.
///
/// Where experts have copies, which take turns, few tokens are drawn one by one: turns begin anew
/// in every block, and blocks of a few tokens together are less even than one of all.
class RoutingBank {
 public:
  static constexpr int kBlocks = 16;
  static constexpr int kLevels = 12;
  static constexpr int kFew = 64;

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
  void draw_few(int tokens, std::uint64_t index, StepLoad& load);
  void count_block(int level, std::uint64_t index, std::uint16_t* cells);

  Config config_;
  const ReplicaRanks* replicas_;
  std::size_t counts_, copies_ = 0, slots_ = 0, row_;  ///< cells of a block, in this order; all
  std::vector<std::uint64_t> rows_;
  struct Level {
    std::vector<std::uint16_t> cells;  ///< [block][counts, copies, slots]
    std::vector<bool> made;
  };
  std::vector<Level> levels_;
};

}  // namespace moesim
