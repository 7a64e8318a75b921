#include <algorithm>
#include <cmath>

#include "hardware/forms_list.h"

namespace moesim {

namespace {

// A kernel bound by memory: launch, then bytes over bandwidth. What the kernel before has just
// written is still in L2 as far as it fits there, so bytes up to a part of the L2 move at its rate
// and only the rest at the memory's. A block walks a row, which takes a while however many SMs
// there are; rows beyond what the SMs hold at a time wait for their turn.
double stream_seconds(const KernelShape& s, std::span<const double> c, const DeviceCeilings& d) {
  const double launch = c[0], bandwidth = c[1], l2_gain = c[2], l2_part = c[3], row_us = c[4],
               chain_us = c[5], blocks = c[6], power = c[7];
  const double fits = l2_part * d.l2_bytes;
  const double cold = soft_max(s.bytes, fits, 4) - fits;
  const double hot = s.bytes - cold;
  const double memory = (cold + hot / l2_gain) / (bandwidth * d.memory_bandwidth);
  const double row = row_us + chain_us * 1e-6 * s.bytes / std::max(1.0, s.rows);
  const double turns = soft_max(1, s.rows / (d.sms * blocks), 4);
  return launch * 1e-6 + soft_max(memory, row * turns * 1e-6, power);
}

Coordinates stream_coordinates(const KernelShape& s) {
  const double rows = std::max(1.0, s.rows);
  return {std::log2(rows), std::log2(std::max(1.0, s.bytes / rows))};
}

}  // namespace

const Form& stream_form() {
  static const Form form{"stream",
                         {{"launch_us", 1.5, 0.3, 50},
                          {"bandwidth", 0.8, 0.02, 1.05},
                          {"l2_gain", 3, 1, 12},
                          {"l2_part", 0.5, 0.05, 2},
                          {"row_us", 0.5, 0.01, 20},
                          {"chain_us_per_mb", 30, 0.1, 5000},
                          {"blocks_per_sm", 4, 0.5, 32},
                          {"power", 2, 1.2, 12}},
                         stream_seconds,
                         {"log2 rows", "log2 bytes per row"},
                         stream_coordinates};
  return form;
}

}  // namespace moesim
