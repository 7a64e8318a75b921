#include "calibrate/fit/table_fit.h"

#include <Eigen/Sparse>
#include <Eigen/SparseCholesky>
#include <algorithm>
#include <cmath>

namespace moesim {

namespace {

using Matrix = Eigen::SparseMatrix<double>;
using Triplets = std::vector<Eigen::Triplet<double>>;
using Vector = Eigen::VectorXd;

/// Second differences along each axis, and the ridge.
Matrix penalty(const EfficiencyTable& table, const TableOptions& options) {
  const auto knots = static_cast<int>(table.size());
  Triplets entries;
  int stride = knots;
  for (const TableAxis& axis : table.axes) {
    stride /= axis.count;
    for (int knot = 0; knot < knots; ++knot) {
      const int at = knot / stride % axis.count;
      if (at == 0 || at + 1 == axis.count) continue;
      const int index[3] = {knot - stride, knot, knot + stride};
      const double weight[3] = {1, -2, 1};
      for (int a = 0; a < 3; ++a) {
        for (int b = 0; b < 3; ++b)
          entries.emplace_back(index[a], index[b], options.smooth * weight[a] * weight[b]);
      }
    }
  }
  for (int knot = 0; knot < knots; ++knot) entries.emplace_back(knot, knot, options.ridge);
  Matrix result(knots, knots);
  result.setFromTriplets(entries.begin(), entries.end());
  return result;
}

/// The hats of every datum, one row each.
Matrix design(std::span<const Coordinates> x, const EfficiencyTable& table) {
  Triplets entries;
  std::array<EfficiencyTable::Corner, 16> corner;
  double distance = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const int count = table.corners(x[i], corner, distance);
    for (int c = 0; c < count; ++c) {
      const auto& at = corner[static_cast<std::size_t>(c)];
      entries.emplace_back(static_cast<int>(i), at.knot, at.weight);
    }
  }
  Matrix result(static_cast<Eigen::Index>(x.size()), static_cast<Eigen::Index>(table.size()));
  result.setFromTriplets(entries.begin(), entries.end());
  return result;
}

}  // namespace

void fit_table(std::span<const Coordinates> x, std::span<const double> residual,
               const TableOptions& options, EfficiencyTable& table) {
  const Matrix hats = design(x, table);
  const Matrix stiff = penalty(table, options);
  const Eigen::Map<const Vector> target(residual.data(),
                                        static_cast<Eigen::Index>(residual.size()));
  Vector weight = Vector::Ones(target.size());
  Vector theta = Vector::Zero(static_cast<Eigen::Index>(table.size()));
  Eigen::SimplicialLDLT<Matrix> solver;
  constexpr int kRounds = 4;
  for (int round = 0; round < kRounds; ++round) {
    const Matrix normal = hats.transpose() * weight.asDiagonal() * hats + stiff;
    if (round == 0) solver.analyzePattern(normal);
    solver.factorize(normal);
    theta = solver.solve(hats.transpose() * weight.cwiseProduct(target));
    const Vector error = hats * theta - target;
    for (Eigen::Index i = 0; i < error.size(); ++i) {
      const double z = error[i] / options.width;
      weight[i] = 1 / std::sqrt(1 + z * z);
    }
  }
  const Vector density = hats.transpose() * Vector::Ones(target.size());
  table.values.resize(table.size());
  table.near.resize(table.size());
  for (std::size_t k = 0; k < table.size(); ++k) {
    const auto at = static_cast<Eigen::Index>(k);
    // Three decimals of a logarithm are 0.1 %, far below the noise of any datum.
    table.values[k] = static_cast<float>(std::round(theta[at] * 1000) / 1000);
    table.near[k] = static_cast<std::uint8_t>(std::clamp(density[at] * 3, 0.0, 9.0));
  }
}

}  // namespace moesim
