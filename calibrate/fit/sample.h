#pragma once

#include <string>
#include <vector>

#include "hardware/kernel_shape.h"

namespace moesim {

/// Beyond these a unit is mistaken: the public tables have calls of 1.7 us to 1.03 s.
inline constexpr double kShortestCall = 1e-8, kLongestCall = 10;  // seconds

/// One measured kernel call.
struct KernelSample {
  std::string system;             ///< "h100_sxm"
  std::string framework;          ///< "vllm"
  std::string op, kernel, dtype;  ///< as in KernelCurve
  std::string shape_key;  ///< samples of one shape (all but the swept size) share it: a fit is
                          ///< judged by leaving whole shapes out
  KernelShape shape;
  double seconds = 0;
  bool suspect = false;  ///< contradicts its neighbours: not fitted
};

}  // namespace moesim
