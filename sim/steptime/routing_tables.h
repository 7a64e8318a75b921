#pragma once

#include <cstdint>
#include <memory>

#include "scenarios/expert_routing.h"

namespace moesim {

/// The table of routed tokens that is in force, and its replay: one for good, or with drift one
/// after the other. Time may go back: instances that share a table run one after the other.
class RoutingTables {
 public:
  RoutingTables(std::unique_ptr<ExpertRouting> routing, const RoutingShape& shape,
                std::uint64_t seed, const TableSize& size);
  /// Whether another table than the current one is in force at `now_ns`.
  [[nodiscard]] bool outdated(std::int64_t now_ns) const {
    return now_ns < epoch_begin_ns_ || now_ns >= epoch_end_ns_;
  }
  /// Makes the table of `now_ns` the current one; whether it changed. The one before is gone then.
  bool advance(std::int64_t now_ns);
  [[nodiscard]] const RoutingTable& table() const { return *table_; }
  [[nodiscard]] const RoutingReplay& replay() const { return *replay_; }
  [[nodiscard]] const ExpertRouting& routing() const { return *routing_; }

 private:
  void make(std::uint64_t epoch);
  std::unique_ptr<ExpertRouting> routing_;
  RoutingShape shape_;
  std::uint64_t seed_;
  TableSize size_;
  std::uint64_t epoch_ = 0;
  std::int64_t epoch_begin_ns_ = 0, epoch_end_ns_ = 0;
  std::unique_ptr<RoutingTable> table_;
  std::unique_ptr<RoutingReplay> replay_;
};

/// Rows enough that what a table has by chance is small beside what a step has: more for small
/// models, whose rows are cheap. About 4 MB where 4096 rows fit.
[[nodiscard]] TableSize table_size(const RoutingShape& shape, int mean_prompt, int mean_output);

}  // namespace moesim
