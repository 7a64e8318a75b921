#include <cmath>
#include <doctest/doctest.h>

#include "calibrate/fit/curve_fit.h"
#include "sim/base/random.h"

using namespace moesim;

TEST_CASE("coefficients that the data do not tell stay at their start, the others are found") {
  const DeviceCeilings device{.memory_bandwidth = 1e12, .link_bandwidth = 100e9};
  CurvePlan plan;
  plan.form = find_form("message");
  std::vector<double> truth;
  for (const Coefficient& k : plan.form->coefficients) truth.push_back(k.start);
  truth[0] = 20;   // alpha_us
  truth[3] = 0.3;  // wire
  Rng random(1, "samples");
  for (int table = 0; table < 8; ++table) {
    std::vector<KernelSample> samples;
    for (int e = 10; e < 30; ++e) {
      KernelSample s;
      s.shape.gpus = 2;  // says nothing of further ranks
      s.shape.bytes = std::exp2(e);
      s.shape_key = std::to_string(e);
      const double noise = std::exp(0.2 * (random.uniform() - 0.5));
      s.seconds = plan.form->seconds(s.shape, truth, device) * noise;
      samples.push_back(s);
    }
    const KernelCurve curve = fit_curve(samples, device, plan);
    CHECK(curve.coefficients[0] == doctest::Approx(20).epsilon(0.25));
    CHECK(curve.coefficients[3] == doctest::Approx(0.3).epsilon(0.25));
    for (const std::size_t untold : {1U, 2U}) {
      const double start = plan.form->coefficients[untold].start;
      CHECK(curve.coefficients[untold] == doctest::Approx(start).epsilon(0.1));
    }
  }
}
