#pragma once

#include <cmath>

#include "hardware/kernel_shape.h"

namespace moesim {

/// How fast a kernel reads what it was given before: measurements repeat a call on the same data,
/// so small working sets come from the L2 cache.
struct MemorySpeed {
  double bandwidth = 0.9;  ///< from HBM, over the datasheet's
  double hot = 1;          ///< speed from L2 over that from HBM
  double held = 0.8;       ///< working set over L2 size at which half of the reads miss
};

/// Share of reads that miss a cache of `l2` bytes when `bytes` are used again in turn.
inline double miss_share(double bytes, double l2) {
  return l2 > 0 ? 1 - 1 / (1 + std::pow(bytes / l2, 8)) : 1;
}

/// Seconds to read `bytes`. Where the device is cold, everything comes from HBM.
inline double memory_seconds(double bytes, const MemorySpeed& speed, const DeviceCeilings& device) {
  const double slow = bytes / (speed.bandwidth * device.memory_bandwidth);
  if (device.cold) return slow;
  const double misses = miss_share(bytes, speed.held * device.l2_bytes);
  return slow * (misses + (1 - misses) / speed.hot);
}

}  // namespace moesim
