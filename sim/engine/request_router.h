#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "scenarios/workload.h"

namespace moesim {

/// What a request router may know of an instance when a request arrives.
struct InstanceLoad {
  int waiting = 0;
  int running = 0;
  std::int64_t tokens = 0;  ///< prompt + output tokens of unfinished requests sent there
};

/// Chooses the instance of a request. Deterministic: its own random stream, ties to the lowest
/// index. Serving-semantics 6.5. Registered: round_robin, least_loaded, power_of_two,
/// prefix_affinity.
class RequestRouter {
 public:
  virtual ~RequestRouter() = default;
  /// Whether `pick` looks at live loads. If not, instances run independently between arrivals.
  [[nodiscard]] virtual bool needs_load() const = 0;
  /// Called once before the run.
  virtual void start(std::uint64_t seed, std::size_t instances, const Workload& workload) = 0;
  /// Index into `loads`, which is never empty; zeros unless needs_load().
  [[nodiscard]] virtual std::size_t pick(std::uint32_t request,
                                         std::span<const InstanceLoad> loads) = 0;
};

}  // namespace moesim
