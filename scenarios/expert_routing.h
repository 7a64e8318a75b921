#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>

#include "scenarios/routing_replay.h"
#include "scenarios/routing_table.h"
#include "sim/base/random.h"

namespace moesim {

/// How many tokens a generator is asked for.
struct TableSize {
  int sequences = 64;
  int prompt_rows = 0;  ///< of each sequence
  int decode_rows = 256;
};

/// Which experts tokens choose: `routing.kind` of a scenario (routing-traces.md 3-4). One file each
/// in expert_routing/.
///
/// A kind makes a table of routed tokens once; everything after that is replay of rows, for a
/// generator as for a recorded trace.
class ExpertRouting {
 public:
  virtual ~ExpertRouting() = default;

  /// Routed tokens for a model of this shape. Pure: the same arguments, the same table. `epoch`
  /// counts stretches of `epoch_s()` seconds of simulated time: load that drifts has one table
  /// each. A recorded trace returns its own rows, whatever `size`. Throws InputError if the shape
  /// does not fit (a trace of another model).
  [[nodiscard]] virtual RoutingTable table(const RoutingShape& shape, const TableSize& size,
                                           std::uint64_t seed, std::uint64_t epoch) const = 0;
  /// How rows are given to tokens; `seed` is the scenario's unless the kind has its own.
  [[nodiscard]] virtual RoutingReplay::Options replay(std::uint64_t seed) const {
    return {RoutingReplay::Mode::kSequence, true, seed, {}};
  }
  /// Tokens choose independently of their neighbours, given the layer: any rows do for any tokens.
  [[nodiscard]] virtual bool independent_tokens() const { return false; }
  /// Only runs of consecutive rows have the intended load (kind `balanced`).
  [[nodiscard]] virtual bool consecutive_rows() const { return false; }
  /// Length of a stretch of constant load; infinite without drift.
  [[nodiscard]] virtual double epoch_s() const { return std::numeric_limits<double>::infinity(); }

  /// All layers are alike and all experts exchangeable (kind `uniform`), so that counts of tokens
  /// per expert may be drawn without a table, by `draw`.
  [[nodiscard]] virtual bool exchangeable() const { return false; }
  /// Fills `counts` (size E) with the tokens per expert of one layer when `tokens` tokens choose
  /// `top_k` distinct experts each. Only for exchangeable kinds.
  virtual void draw(int layer, int tokens, int top_k, Rng& rng,
                    std::span<std::uint32_t> counts) const;
};

}  // namespace moesim
