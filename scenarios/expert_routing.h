#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "sim/base/random.h"

namespace moesim {

/// Which experts tokens choose. Counts come from drawn tokens, never from averages.
/// Registered: uniform (k distinct experts of E, each set equally likely). Issue C adds the
/// generators and replay of routing-traces.md behind the same interface.
class ExpertRouting {
 public:
  virtual ~ExpertRouting() = default;
  /// Fills `counts` (size E) with the tokens per expert of one layer when `tokens` tokens choose
  /// `top_k` distinct experts each. Tokens choose independently given the layer: counts of two
  /// groups of tokens may be added.
  virtual void draw(int layer, int tokens, int top_k, Rng& rng,
                    std::span<std::uint32_t> counts) const = 0;
};

}  // namespace moesim
