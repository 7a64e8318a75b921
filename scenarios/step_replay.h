#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "scenarios/routing_table.h"
#include "sim/base/random.h"

namespace moesim {

/// Tokens per expert of simulated steps, from recorded ones (routing-traces.md 3.4). Which tokens
/// chose an expert together was not recorded: where it matters it is a guess, `deal`.
class StepReplay {
 public:
  enum class Order : std::uint8_t {
    kKeyed,    ///< a step takes a recorded one that its number and the seed choose
    kInOrder,  ///< one after the other, from the first again after the last
  };
  enum class Scaling : std::uint8_t {
    kLargestRemainder,  ///< the recorded shares, rounded: as many tokens give the recorded counts
    kMultinomial,       ///< every slot draws its expert by the recorded shares
  };
  struct Options {
    Order order = Order::kKeyed;
    Scaling scaling = Scaling::kLargestRemainder;
    std::uint64_t seed = 1;
  };

  /// Steps without load on some layer are left out: the engine idled, or its buffer was not full.
  /// Precondition: one is left (has_load).
  StepReplay(const StepLoads& loads, const Options& options);
  /// Whether a recorded step has load on all of its layers.
  [[nodiscard]] static bool has_load(const StepLoads& loads, std::size_t step);

  /// Recorded step that simulated step number `step` takes, counted without those left out.
  [[nodiscard]] std::size_t recorded(std::uint64_t step) const;
  /// Fills `counts` (one per expert) for `tokens` tokens of a step at a layer: they sum to tokens *
  /// top_k and none exceeds `tokens`; what would goes to the least loaded. Allocates nothing once
  /// it was called.
  void counts(std::uint64_t step, int layer, int tokens, std::span<std::uint32_t> counts);
  /// Gives slots to tokens at random, no token an expert twice: `placed` is [token][top_k].
  /// Precondition: counts as above.
  void deal(std::uint64_t step, int layer, std::span<const std::uint32_t> counts,
            std::span<int> placed) const;
  /// Shrinks counts of `tokens` tokens to those of `fewer`, rounded.
  void shrink(std::span<std::uint32_t> counts, int tokens, int fewer);

 private:
  void share_out(std::span<const double> weights, std::uint32_t slots,
                 std::span<std::uint32_t> counts);
  void draw(std::span<const double> weights, std::uint32_t slots, Rng& rng,
            std::span<std::uint32_t> counts) const;
  void cap(std::uint32_t most, std::span<std::uint32_t> counts);

  RoutingShape shape_;
  Options options_;
  std::vector<std::uint32_t> loads_;  ///< [step][layer][expert]
  std::size_t steps_ = 0;
  std::vector<double> weights_;
  std::vector<std::uint32_t> order_;
};

}  // namespace moesim
