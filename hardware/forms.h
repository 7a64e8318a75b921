#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "hardware/kernel_shape.h"

namespace moesim {

inline constexpr int kMaxCoordinates = 6;
using Coordinates = std::array<double, kMaxCoordinates>;

/// A coefficient of a form: where a fit starts and the range that makes physical sense.
struct Coefficient {
  const char* name;
  double start, low, high;
  bool may_be_none = false;  ///< absent from a profile, it is 0: a part that no datum tells
};

/// An analytic cost model of one kind of kernel (steptime.md 2): few coefficients with a physical
/// meaning, sane at any shape (never falls with work). Fits and the simulator evaluate the same
/// function.
struct Form {
  const char* name;
  std::vector<Coefficient> coefficients;
  /// Seconds of a call; `c` has one value per coefficient.
  double (*seconds)(const KernelShape& shape, std::span<const double> c,
                    const DeviceCeilings& device);
  std::vector<const char*> axes;  ///< names of the coordinates below
  /// Features of the efficiency table, mostly base-2 logarithms; dimensionless or physical, never a
  /// model's name.
  Coordinates (*coordinates)(const KernelShape& shape);
};

/// Forms by name: gemm, moe, attention_decode, attention_prefill, mla_decode, mla_prefill,
/// mla_product, message, stream (memory-bound), deepep, deepep_ll. Null if unknown.
[[nodiscard]] const Form* find_form(const std::string& name);
[[nodiscard]] std::vector<std::string> form_names();

/// (a^p + b^p)^(1/p): a maximum whose corner is round. p >= 1.
[[nodiscard]] double soft_max(double a, double b, double p);
/// soft_max(soft_max(a, b, p), c, p) with a power less.
[[nodiscard]] double soft_max(double a, double b, double c, double p);

}  // namespace moesim
