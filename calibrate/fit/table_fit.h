#pragma once

#include <span>
#include <vector>

#include "hardware/efficiency_table.h"

namespace moesim {

/// How stiff a table is. Penalties are in units of one datum: a knot with many data ignores them, a
/// knot without obeys them.
struct TableOptions {
  double smooth = 0.3;  ///< of second differences along every axis
  double ridge = 0.03;  ///< of the values themselves: draws to 0 away from data
  double width = 0.1;   ///< of the robust loss: residuals beyond it count less
};

/// Fills `values` and `near` of a table whose axes are set, so that at(x_i) comes near residual_i:
/// penalised least squares on multilinear hats (as P-splines of degree 1: P. Eilers, B. Marx,
/// Statistical Science 11(2), 1996), reweighted a few times against outliers. Sparse Cholesky
/// (Eigen); deterministic.
void fit_table(std::span<const Coordinates> x, std::span<const double> residual,
               const TableOptions& options, EfficiencyTable& table);

}  // namespace moesim
