#pragma once

#include <span>
#include <vector>

#include "hardware/topology.h"
#include "sim/base/units.h"

namespace moesim {

/// Bytes from one GPU to another.
struct Transfer {
  int from_gpu = 0, to_gpu = 0;
  Bytes bytes;
};

/// When each of some transfers that start together is done. They share links max-min fairly: all
/// rates rise alike until a link is full, its transfers keep their rate, the others go on rising
/// (progressive filling; D. Bertsekas, R. Gallager, "Data Networks", 1992, section 6.5.2). Whenever
/// some finish, what is left shares anew. Latency of the path is added once; nothing is paid for
/// starting a transfer. A transfer of nothing, or to its own GPU, is done at 0. O(transfers^2 x
/// links of a path) at worst; transfers of one route are taken together.
[[nodiscard]] std::vector<Seconds> finish_times(const Topology& topology,
                                                std::span<const Transfer> transfers);
/// When the last is done.
[[nodiscard]] Seconds transfer_time(const Topology& topology, std::span<const Transfer> transfers);

/// Rate of each of some routes that all have bytes to send.
struct FlowRoute {
  int from_gpu = 0, to_gpu = 0;
  double flows = 1;  ///< transfers along it; the rate is that of one
};
[[nodiscard]] std::vector<BytesPerSecond> max_min_rates(const Topology& topology,
                                                        std::span<const FlowRoute> routes);

}  // namespace moesim
