#include "calibrate/fit/curve_fit.h"

#include <cmath>
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "calibrate/fit/plans.h"
#include "sim/base/random.h"

namespace moesim {
namespace {

DeviceCeilings device() {
  DeviceCeilings d;
  d.memory_bandwidth = 3e12;
  d.peak = 1e15;
  d.sms = 132;
  d.l2_bytes = 50e6;
  return d;
}

/// GEMMs of a device that follows the form exactly but for a smooth bump and some noise.
std::vector<KernelSample> made_up(double bump, double noise) {
  const Form* form = find_form("gemm");
  const std::vector<double> truth{3, 0.8, 0.6, 3, 0.4, 0.3, 4, 0.3};
  Rng random(7, "gemm");
  std::vector<KernelSample> samples;
  for (const double n : {512.0, 1024.0, 3072.0, 4096.0, 8192.0, 12288.0}) {
    for (const double k : {512.0, 2048.0, 4096.0, 8192.0}) {
      for (double m = 1; m <= 8192; m *= 2) {
        KernelSample s;
        s.op = "gemm";
        s.dtype = "bfloat16";
        s.shape.m = m;
        s.shape.n = n;
        s.shape.k = k;
        s.shape.weight_bytes = 2;
        s.shape_key = std::to_string(n) + "x" + std::to_string(k);
        const double wave = bump * std::sin(std::log2(m) / 2);
        s.seconds =
            form->seconds(s.shape, truth, device()) * std::exp(wave + noise * random.normal());
        samples.push_back(s);
      }
    }
  }
  return samples;
}

}  // namespace

TEST_CASE("a fit finds the form behind exact samples") {
  const std::vector<KernelSample> samples = made_up(0, 0);
  const KernelCurve curve = fit_curve(samples, device(), plan_for("gemm", "", "bfloat16"));
  CHECK(curve.quality.left_p90 < 0.02);
  for (const KernelSample& s : samples) CHECK(std::abs(log_error(curve, s, device())) < 0.05);
}

TEST_CASE("the table mends what the form cannot follow, also for shapes left out") {
  const std::vector<KernelSample> samples = made_up(0.2, 0.01);
  const KernelCurve curve = fit_curve(samples, device(), plan_for("gemm", "", "bfloat16"));
  CHECK(curve.quality.form_p50 > 0.05);
  CHECK(curve.quality.left_p50 < 0.03);
}

TEST_CASE("a few wild samples do not steer a fit, and suspects do not count") {
  std::vector<KernelSample> samples = made_up(0, 0.01);
  for (std::size_t i = 0; i < samples.size(); i += 20) samples[i].seconds *= 4;
  std::vector<KernelSample> marked = samples;
  for (std::size_t i = 0; i < marked.size(); i += 20) marked[i].suspect = true;
  const CurvePlan plan = plan_for("gemm", "", "bfloat16");
  CHECK(fit_curve(samples, device(), plan).quality.left_p50 < 0.03);
  CHECK(fit_curve(marked, device(), plan).quality.left_p90 < 0.05);
}

TEST_CASE("the spread of a fit says how far its errors reach") {
  const std::vector<KernelSample> samples = made_up(0, 0.08);
  const KernelCurve curve = fit_curve(samples, device(), plan_for("gemm", "", "bfloat16"));
  CHECK(curve.spread_near > 0.05);
  CHECK(curve.spread_near < 0.11);
  CHECK(curve.spread_far >= curve.spread_near);
}

TEST_CASE("the same samples give the same curve") {
  const std::vector<KernelSample> samples = made_up(0.1, 0.02);
  const CurvePlan plan = plan_for("gemm", "", "bfloat16");
  const KernelCurve a = fit_curve(samples, device(), plan);
  const KernelCurve b = fit_curve(samples, device(), plan);
  CHECK(a.coefficients == b.coefficients);
  CHECK(a.table.values == b.table.values);
}

namespace {

/// Decodes of a device that follows the form exactly: `longs` of each batch are four times as long
/// as the others.
KernelSample decodes(double batch, double longs, double context) {
  const std::vector<double> truth{10, 0.9, 2, 5, 2, 1, 1.5, 0.8, 0.5, 0.3, 2, 0.5, 0.5, 20};
  KernelSample s;
  s.op = "attention_generation";
  s.dtype = "bfloat16/bfloat16";
  s.shape.heads = 32;
  s.shape.kv_heads = 8;
  s.shape.head_dim = 128;
  s.shape.batch = s.shape.queries = batch;
  s.shape.kv_tokens = s.shape.pairs_qk = (batch + 3 * longs) * context;
  s.shape.longest = longs > 0 ? 4 * context : context;
  s.shape_key = std::to_string(batch) + ":" + std::to_string(longs);
  s.seconds = find_form("attention_decode")->seconds(s.shape, truth, device());
  return s;
}

}  // namespace

TEST_CASE(
    "what the longest context adds is told by batches of unequal contexts, and by no others") {
  std::vector<KernelSample> samples;
  for (double batch = 1; batch <= 512; batch *= 2) {
    for (double context = 128; context <= 32768; context *= 2)
      samples.push_back(decodes(batch, 0, context));
  }
  const CurvePlan plan = plan_for("attention_generation", "", "bfloat16/bfloat16");
  const KernelCurve even = fit_curve(samples, device(), plan);
  CHECK(even.coefficients.back() == 0);
  CHECK(even.uneven.points == 0);
  for (double batch = 8; batch <= 512; batch *= 2) {
    for (const double longs : {1.0, 3.0}) {
      for (double context = 128; context <= 8192; context *= 2)
        samples.push_back(decodes(batch, longs, context));
    }
  }
  const KernelCurve both = fit_curve(samples, device(), plan);
  CHECK(both.coefficients.back() == doctest::Approx(20).epsilon(0.1));
  CHECK(both.quality.points == even.quality.points);
  CHECK(both.uneven.points == 7 * 2 * 7);
  CHECK(both.uneven.shapes == 14);
  CHECK(both.uneven.left_p90 < 0.05);
}

}  // namespace moesim
