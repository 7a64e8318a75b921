#pragma once

#include <functional>
#include <span>
#include <vector>

namespace moesim {

/// Minimises sum rho(r_i)^2 over bounded parameters by Levenberg-Marquardt (Eigen), from several
/// starts; deterministic. `residuals` fills one residual per datum. The loss is smooth L1 of width
/// `width`, so that a few wrong data do not steer. `start`, `low`, `high` have one entry per
/// parameter; all positive: the search runs on logarithms within the bounds.
struct Bounded {
  std::vector<double> start, low, high;
};
using Residuals = std::function<void(std::span<const double> parameters, std::span<double> out)>;

[[nodiscard]] std::vector<double> fit_bounded(const Bounded& bounds, std::size_t residual_count,
                                              const Residuals& residuals, double width, int starts);

}  // namespace moesim
