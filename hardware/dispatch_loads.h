#pragma once

#include <functional>
#include <span>
#include <vector>

#include "hardware/topology.h"

namespace moesim {

/// What a product of weights puts on the links of a topology: source s sends from[s] x to[d] to
/// destination d, over the path of its route. Which links which pairs cross is found once; then a
/// link's load is a sum of a few (sum over sources) x (sum over destinations), and links that carry
/// the same are one.
class ProductLoads {
 public:
  /// Ranks at the ends of a route; from < 0: nothing moves.
  struct Route {
    int from = -1, to = -1;
  };
  using Routes = std::function<Route(int source, int destination)>;
  /// `gpus`: cluster GPU of each rank.
  ProductLoads(const Topology& topology, std::span<const int> gpus, int sources, int destinations,
               const Routes& routes);

  /// Longest a link is busy, in seconds per byte of a unit of weight.
  struct Busy {
    double inside = 0;                      ///< links that messages within a node cross
    double between = 0;                     ///< links that only messages between nodes cross
    int inside_rank = 0, between_rank = 0;  ///< whose link it is
  };
  /// O(links x sets a link), no allocation up to about 500 ranks.
  [[nodiscard]] Busy busy(std::span<const double> from, std::span<const double> to) const;
  /// Whether busy() is that of `other` for any weights, but for the ranks: the way back over a
  /// network whose two directions are alike.
  [[nodiscard]] bool same_as(const ProductLoads& other) const;
  [[nodiscard]] bool empty() const { return links_.empty(); }

 private:
  /// Sets of indices, one after the other.
  struct Sets {
    std::vector<int> first{0}, members;
    [[nodiscard]] std::size_t size() const { return first.size() - 1; }
    [[nodiscard]] std::vector<int> of(int set) const;
    void sums(std::span<const double> weights, std::span<double> out) const;
  };
  struct Term {
    int sources, destinations;  // sets
  };
  struct LoadedLink {
    std::size_t first_term, last_term;
    double seconds_per_byte;
    bool between;
    int rank;
  };
  class Builder;
  Sets sources_, destinations_;
  std::vector<Term> terms_;
  std::vector<LoadedLink> links_;
};

/// Room for a few hundred numbers without allocating.
class Scratch {
 public:
  explicit Scratch(std::size_t size) : size_(size) {
    if (size > kOnStack) heap_.resize(size);
  }
  [[nodiscard]] std::span<double> span() {
    return {size_ > kOnStack ? heap_.data() : stack_, size_};
  }

 private:
  static constexpr std::size_t kOnStack = 2048;
  std::size_t size_;
  double stack_[kOnStack];
  std::vector<double> heap_;
};

}  // namespace moesim
