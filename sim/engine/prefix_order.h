#pragma once

#include <cstdint>
#include <vector>

namespace moesim {

struct SchedulerState;

/// SGLang's schedule_policy lpm: the waiting requests with the longest cached prefix first
/// (serving-semantics 8.1). Of requests that share a prefix nobody has computed yet, all but the
/// first go to the end: they will find it cached. Beyond 128 waiting requests the order is left as
/// it is.
class LongestPrefixFirst {
 public:
  /// Reorders the queue. Costs a look-up per waiting request, 128 at most.
  void apply(SchedulerState& state);

 private:
  struct Ranked {
    std::uint32_t request;
    std::int64_t prefix;  ///< cached tokens; -1: behind all others
  };
  std::vector<Ranked> ranked_;
  std::vector<std::uint32_t> sorted_, seen_;
};

}  // namespace moesim
