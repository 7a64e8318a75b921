#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "scenarios/routing_table.h"
#include "sim/base/random.h"

namespace moesim {

/// Draws an index with probability proportional to its weight, in O(1): A. Walker, "An efficient
/// method for generating discrete random variables with general distributions", ACM TOMS 3(3),
/// 1977, built as by M. Vose, IEEE TSE 17(9), 1991. Probabilities are met to 2^-32.
class AliasTable {
 public:
  AliasTable() = default;
  /// Precondition: at least one weight, all positive and finite.
  explicit AliasTable(std::span<const double> weights);
  [[nodiscard]] int draw(Rng& rng) const {
    const std::uint64_t word = rng.next();
    const auto column = static_cast<std::size_t>(((word >> 32) * cells_.size()) >> 32);
    const Cell& cell = cells_[column];
    return static_cast<std::uint32_t>(word) < cell.keep ? static_cast<int>(column) : cell.other;
  }

 private:
  struct Cell {
    std::uint32_t keep = 0;  ///< of 2^32: the column's own share
    int other = 0;           ///< takes the rest
  };
  std::vector<Cell> cells_;
};

/// The experts of one layer, chosen by weight without repeats: the next choice is i with
/// probability w_i over the weights not chosen yet. That is the top-k of log w_i plus independent
/// standard Gumbel noise (W. Kool, H. van Hoof, M. Welling, ICML 2019), so choices come in falling
/// score.
///
/// With `shape.groups` a token first keeps the groups with the best scores, the score of a group
/// being the sum of its two best experts' (DeepSeek-V3, arXiv:2412.19437, 2.1.2), then chooses
/// inside them. In time instead of score: expert i arrives after an exponential time of rate w_i,
/// score = -log(time); so the best come first, two scores add as times multiply, and arrivals are
/// drawn one after the other, only as many as are looked at.
///
/// A choice is an alias draw, repeated while it hits a chosen expert; after a few misses one pass
/// over the weights that are left. Either way the probabilities are exact.
class ExpertChooser {
 public:
  /// Precondition: positive finite weights, one per expert; top_k experts fit into the groups kept.
  ExpertChooser(const RoutingShape& shape, std::span<const double> weights);
  /// Fills `chosen` (size top_k) with distinct experts, best first. Allocates nothing.
  void choose(Rng& rng, std::span<int> chosen);

 private:
  /// Experts first .. first + size - 1 and how far the current token has gone through them.
  struct Group {
    AliasTable alias;
    int first = 0, size = 0;
    double total = 0, smallest = 0;  ///< of the weights
    double left = 0;                 ///< total of those that have not arrived
    double time = 0;                 ///< of the last arrival
    int arrived = 0;
    int taken = 0;  ///< arrivals the token has chosen
    double score = 0;
  };
  struct Arrival {
    double time = 0;
    int expert = 0;
  };

  int next_expert(const Group& group, std::span<const int> before, Rng& rng) const;
  int scan(const Group& group, std::span<const int> before, Rng& rng) const;
  void arrive(std::size_t group, Rng& rng);
  void keep_best_groups(Rng& rng);

  int top_k_;
  std::size_t kept_groups_;
  std::vector<double> weights_;
  std::vector<Group> groups_;
  std::vector<std::size_t> order_;  ///< groups, those kept first
  std::vector<Arrival> arrivals_;   ///< [group][top_k + 1]
  std::vector<int> before_;         ///< experts of a group that arrived
};

}  // namespace moesim
