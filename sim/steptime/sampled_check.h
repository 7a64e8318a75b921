#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/steptime/moe_model.h"
#include "sim/steptime/moe_stats.h"
#include "sim/steptime/routing_bank.h"
#include "sim/steptime/step_rows.h"

namespace moesim {

/// Counts a few layers of a few steps of a sampled run exactly, too: every token with its own row,
/// those layers priced again with what the ranks really hold. What the draws said is compared with
/// that, so the error that a run reports of itself is its own.
///
/// Steps 16, 22, 32, 45, ...: powers of the root of two. A run of any length has some in its
/// beginning and its middle, and they are few: 25 of 100,000. Of each a sixteenth of the layers,
/// others every time.
class SampledCheck {
 public:
  /// Whether step number `step` of an instance is one of them.
  [[nodiscard]] static bool due(std::uint64_t step);

  /// `tables` and `workload`, which may be null, outlive it; copies are counted if `stages` need
  /// them.
  SampledCheck(const RoutingTables& tables, const Workload* workload, const RoutingShape& shape,
               std::span<const MoeStageSpec> stages);
  /// Another table is in force.
  void restart() { rows_.restart(); }

  /// Begins with a step; false if it is not looked at: none is due, or it does not name its tokens.
  bool begin(const MoeStep& step);
  /// Layers being looked at, while a step is.
  [[nodiscard]] std::span<const int> layers() const { return layers_; }
  /// Adds a draw of layer `index` of them, `weight` times; dispatch and combine take `scale` times
  /// as long as the draw says.
  struct Scale {
    double dispatch = 1, combine = 1;
  };
  void add_drawn(const MoeLayerRecord& record, double weight, const Scale& scale);
  /// Prices the layers exactly and adds how far the draws are from that to `error`.
  void finish(const MoeStep& step, std::span<MoeStageSpec> stages, SampledError& error);

 private:
  struct Seen {
    double active = 0, rank_imbalance = 0, ns = 0;
  };
  void count(int layer, const ReplicaRanks& replicas);

  const RoutingTables& tables_;
  RoutingShape shape_;
  StepRows rows_;
  StepLoad load_;
  std::vector<int> layers_;
  std::vector<int> placed_;  ///< [token][top_k] of one layer
  Seen drawn_;
};

}  // namespace moesim
