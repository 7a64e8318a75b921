#pragma once

#include <string>
#include <vector>

#include "hardware/kernel_shape.h"

namespace moesim {

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
