#pragma once

#include <span>
#include <vector>

#include "calibrate/fit/sample.h"
#include "calibrate/fit/table_fit.h"
#include "hardware/kernel_curve.h"

namespace moesim {

/// How one operator is fitted: its form and the axes of its table.
struct CurvePlan {
  const Form* form = nullptr;
  /// Coordinates of the table, by importance: the first four that vary among the samples, then, if
  /// there is room, those that do not.
  std::vector<int> axes;
  std::vector<double> steps;  ///< distance of knots, per axis
  TableOptions table;
  double width = 0.15;  ///< of the robust loss on log error
  int starts = 4;
  /// The form's last coefficient is told by batches of unequal contexts alone: 0 where none was
  /// measured.
  bool uneven = false;
};

/// Fits form, then table, then measures its own error by leaving shapes out in five folds (quality,
/// spreads): shapes of equal contexts from fits to such alone, then batches of unequal contexts
/// from fits to all the others. Suspect samples are dropped. Precondition: at least three samples
/// that are not. `device` is that of the samples' dtype. Deterministic.
[[nodiscard]] KernelCurve fit_curve(std::span<const KernelSample> samples,
                                    const DeviceCeilings& device, const CurvePlan& plan);

/// ln(predicted / measured) of a sample.
[[nodiscard]] double log_error(const KernelCurve& curve, const KernelSample& sample,
                               const DeviceCeilings& device);

}  // namespace moesim
