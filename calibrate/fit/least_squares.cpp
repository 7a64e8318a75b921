#include "calibrate/fit/least_squares.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <unsupported/Eigen/NonLinearOptimization>

#include "sim/base/random.h"

namespace moesim {

namespace {

using Vector = Eigen::VectorXd;

/// Bounds by a logistic map of the logarithm: any real u is a legal parameter.
class Map {
 public:
  explicit Map(const Bounded& bounds) : bounds_(bounds) {}
  [[nodiscard]] double to_parameter(std::size_t i, double u) const {
    const double low = std::log(bounds_.low[i]);
    const double high = std::log(bounds_.high[i]);
    return std::exp(low + (high - low) / (1 + std::exp(-u)));
  }
  [[nodiscard]] double to_free(std::size_t i, double parameter) const {
    const double low = std::log(bounds_.low[i]);
    const double high = std::log(bounds_.high[i]);
    const double t = std::clamp((std::log(parameter) - low) / (high - low), 0.01, 0.99);
    return std::log(t / (1 - t));
  }
  [[nodiscard]] std::size_t size() const { return bounds_.start.size(); }

 private:
  const Bounded& bounds_;
};

/// What Eigen's solver asks for.
struct Problem {
  const Map& map;
  const Residuals& residuals;
  std::size_t count;
  double width;
  mutable std::vector<double> parameters, out, shifted;

  [[nodiscard]] int inputs() const { return static_cast<int>(map.size()); }
  [[nodiscard]] int values() const { return static_cast<int>(count); }

  void evaluate(const Vector& u, std::vector<double>& into) const {
    parameters.resize(map.size());
    for (std::size_t i = 0; i < map.size(); ++i)
      parameters[i] = map.to_parameter(i, u[static_cast<Eigen::Index>(i)]);
    into.resize(count);
    residuals(parameters, into);
    for (double& r : into) {
      // Smooth L1: quadratic within `width`, linear beyond.
      const double z = r / width;
      const double loss = 2 * (std::sqrt(1 + z * z) - 1);
      r = std::copysign(width * std::sqrt(loss), r);
    }
  }
  int operator()(const Vector& u, Vector& f) const {
    evaluate(u, out);
    f = Eigen::Map<const Vector>(out.data(), static_cast<Eigen::Index>(count));
    return 0;
  }
  int df(const Vector& u, Eigen::MatrixXd& jacobian) const {
    evaluate(u, out);
    Vector moved = u;
    for (Eigen::Index i = 0; i < u.size(); ++i) {
      constexpr double kStep = 1e-5;
      moved[i] = u[i] + kStep;
      evaluate(moved, shifted);
      moved[i] = u[i];
      for (std::size_t r = 0; r < count; ++r)
        jacobian(static_cast<Eigen::Index>(r), i) = (shifted[r] - out[r]) / kStep;
    }
    return 0;
  }
};

}  // namespace

std::vector<double> fit_bounded(const Bounded& bounds, std::size_t residual_count,
                                const Residuals& residuals, double width, int starts) {
  const Map map(bounds);
  Problem problem{map, residuals, residual_count, width, {}, {}, {}};
  Rng random(0, "fit");
  double best = std::numeric_limits<double>::infinity();
  Vector best_u;
  for (int attempt = 0; attempt < starts; ++attempt) {
    Vector u(static_cast<Eigen::Index>(map.size()));
    for (std::size_t i = 0; i < map.size(); ++i) {
      const double centre = map.to_free(i, bounds.start[i]);
      const double jump = attempt == 0 ? 0 : 3 * (random.uniform() - 0.5);
      u[static_cast<Eigen::Index>(i)] = centre + jump;
    }
    Eigen::LevenbergMarquardt<Problem> solver(problem);
    solver.parameters.maxfev = 60;
    solver.parameters.xtol = 1e-6;
    solver.parameters.ftol = 1e-7;
    solver.minimize(u);
    if (solver.fnorm < best) {
      best = solver.fnorm;
      best_u = u;
    }
  }
  std::vector<double> result(map.size());
  for (std::size_t i = 0; i < map.size(); ++i)
    result[i] = map.to_parameter(i, best_u[static_cast<Eigen::Index>(i)]);
  return result;
}

}  // namespace moesim
