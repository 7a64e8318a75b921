#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "scenarios/routing_table.h"
#include "sim/steptime/replica_ranks.h"

namespace moesim {

/// How many of a token's choices each rank has, for every row and layer of a routing table under
/// one placement: half a byte a rank, so that the load of a step is a few vector sums
/// (performance.md 3, a'). Rows are expanded when they are first met; of tables too large for a
/// gibibyte the rows met lately are kept.
///
/// Sums are integers and the same with and without AVX2.
class RankRows {
 public:
  /// What half a byte holds.
  static constexpr int kMostChoices = 15;

  /// Experts have one copy each; no rank has more than kMostChoices of a token's choices. With
  /// `copies` it counts distinct tokens of ranks and nodes, too. `table` and `replicas` outlive it.
  RankRows(const RoutingTable& table, const ReplicaRanks& replicas, bool copies,
           std::size_t most_bytes = std::size_t{1} << 30);

  /// Sums rows, which may come several times. Throws InputError if rows of a mapped file are
  /// damaged.
  void sum(std::span<const std::uint64_t> rows);

  /// Of the last sum: [rank] assignments of a layer.
  [[nodiscard]] std::span<const std::uint32_t> loads(int layer) const;
  /// Of the last sum, if asked for: distinct tokens with an expert on each rank, on each node.
  [[nodiscard]] std::span<const std::uint32_t> rank_copies(int layer) const;
  [[nodiscard]] std::span<const std::uint32_t> node_copies(int layer) const;

  /// Which instructions sum; `plain` for tests.
  enum class Kernel : std::uint8_t { kBest, kPlain };
  void use(Kernel kernel);

 private:
  using Word = std::uint64_t;
  void expand(std::uint64_t row, Word* words) const;
  [[nodiscard]] const Word* expanded(std::uint64_t row);
  void sum_found();
  void flush();
  void spread(const std::vector<std::uint32_t>& low, const std::vector<std::uint32_t>& high,
              std::vector<std::uint32_t>& out) const;
  [[nodiscard]] std::span<const std::uint32_t> cut(const std::vector<std::uint32_t>& of, int layer,
                                                   int first, int count) const;

  const RoutingTable& table_;
  const ReplicaRanks& replicas_;
  bool copies_, fast_;
  int ranks_, nodes_;          ///< nodes that have entries: none without copies
  std::size_t layer_bytes_;    ///< two entries a byte: of ranks, then nodes
  std::size_t words_, block_;  ///< of a row; rows that may be summed in bytes
  std::uint64_t slots_;        ///< rows there is room for
  std::unique_ptr<Word[]> store_;
  std::vector<std::uint64_t> holds_;  ///< [slot] row + 1, 0: none
  std::vector<const Word*> found_;    ///< rows of the sum that are expanded and not yet summed
  /// Bytes of the rows: low and high halves of loads, of distinct tokens; then their sums.
  std::vector<Word> bytes_;
  std::vector<std::uint32_t> low_, high_, low_once_, high_once_;
  std::vector<std::uint32_t> loads_, once_;  ///< [layer][entry]
};

}  // namespace moesim
