#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "sim/steptime/moe_group.h"

namespace moesim {

/// Where the tokens of drawn steps went at a few of their layers. What messages take when ranks
/// hold unequal numbers of tokens is asked of the dispatch backend itself: a rank with more sends
/// for longer, what arrives where and the time until anything moves stay as they are.
class SampledTraffic {
 public:
  /// Layers of a draw that are kept. What a draw's layers differ in is chance, which the next draw
  /// has otherwise.
  static constexpr std::size_t kLayers = 2;

  /// Keeps the layer that `group`, which has a dispatch backend, priced last, with evenly held
  /// tokens, at `cost`.
  void add(const MoeGroup& group, const MoeLayerCost& cost);

  struct Ratio {
    double dispatch = 1, combine = 1;
  };
  /// Time of the `count` layers kept from number `first` on with `held` tokens on each rank, over
  /// that with as many on every rank. They were kept of `group`.
  [[nodiscard]] Ratio ratio(std::size_t first, std::size_t count, const MoeGroup& group,
                            std::span<const double> held) const;
  [[nodiscard]] std::size_t size() const { return even_.size(); }

 private:
  struct Even {
    double dispatch_ns, combine_ns;
  };
  std::vector<Even> even_;
  std::vector<double> counts_;  ///< [kept][copies by rank, pairs by rank, copies by node]
};

/// Whether all ranks hold equally many tokens.
[[nodiscard]] bool evenly_held(std::span<const double> held);

}  // namespace moesim
