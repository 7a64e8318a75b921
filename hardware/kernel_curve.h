#pragma once

#include <string>
#include <vector>

#include "hardware/efficiency_table.h"
#include "hardware/forms.h"
#include "sim/base/units.h"

namespace moesim {

/// What a fit says of its own error: fractions of the measured time.
struct FitQuality {
  int points = 0;                     ///< samples fitted
  int shapes = 0;                     ///< distinct shapes among them
  double form_p50 = 0, form_p90 = 0;  ///< form alone, shapes left out
  double left_p50 = 0, left_p90 = 0;  ///< form and table, shapes left out
  double in_p50 = 0, in_p90 = 0;      ///< form and table, in sample
};

/// Cost of one operator on one device in one framework: analytic form times efficiency table
/// (steptime.md 2), with the spread of its error.
struct KernelCurve {
  std::string op;      ///< "gemm", "moe", "attention_generation", ...: the family of the samples
  std::string kernel;  ///< "triton", "cutlass", "graph", ...; "" where there is one only
  std::string dtype;   ///< "bfloat16", "fp8_block", ...
  const Form* form = nullptr;
  std::vector<double> coefficients;
  EfficiencyTable table;
  double spread_near = 0;  ///< standard deviation of ln(measured/predicted) among data
  double spread_far = 0;   ///< the same for shapes left out of the fit
  FitQuality quality;      ///< of batches of equal contexts, if the operator is attention
  FitQuality uneven;       ///< of batches of unequal ones; no points: none was measured

  struct Answer {
    Seconds time;
    double spread = 0;   ///< standard deviation of the logarithm
    double support = 0;  ///< 0 far from any datum ... 1 among many
    bool inside = true;  ///< within the range of the data
  };
  [[nodiscard]] Answer at(const KernelShape& shape, const DeviceCeilings& device) const;
};

}  // namespace moesim
