#include "hardware/kernel_curve.h"

#include <algorithm>
#include <cmath>

namespace moesim {

KernelCurve::Answer KernelCurve::at(const KernelShape& shape, const DeviceCeilings& device) const {
  constexpr double kLargest = 0.6931471805599453;  // a correction stays within [1/2, 2]
  const double base = form->seconds(shape, coefficients, device);
  const EfficiencyTable::Answer found = table.at(form->coordinates(shape));
  const double correction = std::clamp(found.log_factor, -kLargest, kLargest);
  Answer answer;
  answer.time = Seconds(base * std::exp(correction));
  answer.spread = spread_far + (spread_near - spread_far) * found.support;
  answer.support = found.support;
  answer.inside = found.inside;
  return answer;
}

}  // namespace moesim
