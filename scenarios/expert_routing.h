#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>

#include "scenarios/routing_replay.h"
#include "scenarios/routing_table.h"
#include "sim/base/random.h"

namespace moesim {

class Reader;
class StepReplay;
struct LoadDrift;
struct ModelSpec;

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

  /// Throws InputError, at the keys that are wrong, if the kind cannot route a model of this shape
  /// (a list by layer of another length, a trace of another model) or a file it names is bad.
  virtual void check(const RoutingShape& /*shape*/) const {}

  /// Routed tokens for a model of this shape. Pure: the same arguments, the same table. `epoch`
  /// counts stretches of `epoch_s()` seconds of simulated time: load that drifts has one table
  /// each. A generator's table for fewer sequences or rows is the beginning of one for more (of
  /// each sequence, for rows), except that of `balanced`. A recorded trace returns its own rows,
  /// whatever `size`. Precondition: check(shape).
  [[nodiscard]] virtual RoutingTable table(const RoutingShape& shape, const TableSize& size,
                                           std::uint64_t seed, std::uint64_t epoch) const = 0;
  /// How rows are given to tokens; `seed` is the scenario's unless the kind has its own.
  [[nodiscard]] virtual RoutingReplay::Options replay(std::uint64_t seed) const {
    return {.seed = seed};
  }
  /// Tokens choose independently of their neighbours, given the layer: any rows do for any tokens.
  [[nodiscard]] virtual bool independent_tokens() const { return false; }
  /// Only runs of consecutive rows have the intended load (kind `balanced`).
  [[nodiscard]] virtual bool consecutive_rows() const { return false; }
  /// Length of a stretch of constant load; infinite without drift.
  [[nodiscard]] virtual double epoch_s() const { return std::numeric_limits<double>::infinity(); }

  /// Lets its loads move so from now on, for a kind that is the base of another: `drift` may stand
  /// beside `base`.
  enum class TakesDrift : std::uint8_t { kYes, kHasOne, kRefuses };
  virtual TakesDrift take_drift(const LoadDrift& /*drift*/) { return TakesDrift::kRefuses; }

  /// Loads of whole steps, for the kind that knows only those (`step_loads`): steps then take these
  /// and no rows. Null for every other kind.
  [[nodiscard]] virtual std::unique_ptr<StepReplay> steps(const RoutingShape& shape,
                                                          std::uint64_t seed) const;
  /// Whether it can be told what a token would choose beyond its top-k (next_choices). A recording
  /// has no more than it has.
  [[nodiscard]] virtual bool knows_next(const RoutingShape& /*shape*/) const { return true; }
  /// Whether a table of a larger top_k lists the same choices first.
  [[nodiscard]] virtual bool ranks_all() const { return false; }
  /// What the report should warn of when a model of this shape is routed so; empty: nothing.
  [[nodiscard]] virtual std::string remark(const RoutingShape& /*shape*/) const { return ""; }

  /// All layers are alike and all experts exchangeable (kind `uniform`), so that counts of tokens
  /// per expert may be drawn without a table, by `draw`.
  [[nodiscard]] virtual bool exchangeable() const { return false; }
  /// Fills `counts` (size E) with the tokens per expert of one layer when `tokens` tokens choose
  /// `top_k` distinct experts each. Only for exchangeable kinds.
  virtual void draw(int layer, int tokens, int top_k, Rng& rng,
                    std::span<std::uint32_t> counts) const;
};

/// The kind a mapping names (`kind`, else uniform), made from its other keys. Mistakes go to the
/// reader's diagnostics: an unknown kind, a value out of range, a field of another kind. Keys that
/// belong to no kind are left to the caller's reject_unknown_keys.
[[nodiscard]] std::unique_ptr<ExpertRouting> read_expert_routing(Reader& in);

/// The kind below `base` (uniform if there is none), which another kind builds on; a `drift` beside
/// it is the base's. Mistakes as above.
[[nodiscard]] std::unique_ptr<ExpertRouting> read_base_routing(Reader& in);

/// MoE layers, experts and groups of a model; all zero for a dense one. Layers of a model that
/// differ in their experts are given the first one's.
[[nodiscard]] RoutingShape routing_shape(const ModelSpec& model);

/// A table of zeros with its sequences laid out one after the other, for generators to fill.
[[nodiscard]] RoutingTable empty_table(const RoutingShape& shape, const TableSize& size);

}  // namespace moesim
