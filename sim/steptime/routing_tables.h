#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "scenarios/expert_routing.h"

namespace moesim {

struct Workload;

/// The table of routed tokens that is in force, and its replay: one for good, or with drift one
/// after the other. Time may go back: instances that share a table run one after the other.
class RoutingTables {
 public:
  RoutingTables(std::unique_ptr<ExpertRouting> routing, const RoutingShape& shape,
                std::uint64_t seed, const TableSize& size, const Workload* requests = nullptr,
                bool with_next = false);
  /// Whether another table than the current one is in force at `now_ns`, or requests arrive with
  /// another mix of domains.
  [[nodiscard]] bool outdated(std::int64_t now_ns) const {
    return !table_in_.holds(now_ns) || !mix_in_.holds(now_ns);
  }
  /// Makes the table and the mix of `now_ns` the current ones; whether the table changed. The one
  /// before is gone then.
  bool advance(std::int64_t now_ns);
  [[nodiscard]] const RoutingTable& table() const { return *table_; }
  /// What its tokens would choose next, if asked for at the start; else null.
  [[nodiscard]] const RoutingTable* next() const { return next_.get(); }
  [[nodiscard]] const RoutingReplay& replay() const { return *replay_; }
  /// Requests that arrive with the mix of now; the nearest mix that has some.
  [[nodiscard]] RequestDomains::Stretch requests() const;
  /// Without replacement: how often the run's requests use up the sequences of a mix at most, begun
  /// ones counted; 0 with replacement, or without requests.
  [[nodiscard]] std::uint64_t sequence_epochs() const;
  [[nodiscard]] const ExpertRouting& routing() const { return *routing_; }

 private:
  /// Nanoseconds of the run, its end not included.
  struct Period {
    std::int64_t begin = 0, end = 0;
    [[nodiscard]] bool holds(std::int64_t now_ns) const { return begin <= now_ns && now_ns < end; }
  };
  void make(std::uint64_t epoch);
  void find_mix(std::int64_t now_ns);
  std::unique_ptr<ExpertRouting> routing_;
  RoutingShape shape_;
  std::uint64_t seed_;
  TableSize size_;
  const Workload* requests_;
  bool with_next_;
  std::size_t mix_ = 0;  ///< of the replay's stretches
  Period table_in_, mix_in_;
  std::unique_ptr<RoutingTable> table_, next_;
  std::unique_ptr<RoutingReplay> replay_;
};

/// Rows enough that what a table has by chance is small beside what a step has: more for small
/// models, whose rows are cheap. About 4 MB where 4096 rows fit.
[[nodiscard]] TableSize table_size(const RoutingShape& shape, int mean_prompt, int mean_output);

}  // namespace moesim
