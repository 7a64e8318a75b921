#include "calibrate/fit/curve_fit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "calibrate/fit/least_squares.h"
#include "hardware/attention.h"
#include "sim/base/check.h"
#include "sim/base/random.h"
#include "sim/base/stats.h"

namespace moesim {

namespace {

constexpr int kFolds = 5;
constexpr std::size_t kFormSamples = 1500;  ///< enough for a form's few coefficients
/// Pull of a coefficient to its start: e times off weighs as one datum off by 2 %. Decides only
/// those that the data do not.
constexpr double kPrior = 0.02;
constexpr double kP80 = 1.2815515655446004;  ///< 80 % of a normal lies within this many sigma

using Pointers = std::vector<const KernelSample*>;

std::uint64_t hash(const std::string& key) {
  std::uint64_t h = 0xcbf29ce484222325ULL;  // FNV-1a
  for (const char c : key) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return mix64(h);
}

/// An even subset: every n-th sample.
Pointers thinned(const Pointers& samples) {
  const std::size_t stride = (samples.size() + kFormSamples - 1) / kFormSamples;
  Pointers out;
  for (std::size_t i = 0; i < samples.size(); i += stride) out.push_back(samples[i]);
  return out;
}

/// Coefficients that the samples tell: all, or all but the last, which is then 0.
std::size_t told_by(const Pointers& samples, const CurvePlan& plan) {
  const std::size_t all = plan.form->coefficients.size();
  if (!plan.uneven) return all;
  const bool told = std::ranges::any_of(
      samples, [](const KernelSample* s) { return has_uneven_contexts(s->shape); });
  return told ? all : all - 1;
}

/// `near`: where to start and from there only; null: from the form's own starts.
void fit_form(const Pointers& all, const DeviceCeilings& device, const CurvePlan& plan,
              const std::vector<double>* near, KernelCurve& curve) {
  Bounded bounds;
  std::vector<double> usual;
  for (const Coefficient& c : plan.form->coefficients) usual.push_back(c.start);
  const std::size_t free = told_by(all, plan);
  for (std::size_t j = 0; j < free; ++j) {
    const Coefficient& c = plan.form->coefficients[j];
    bounds.start.push_back(near != nullptr ? (*near)[j] : c.start);
    bounds.low.push_back(c.low);
    bounds.high.push_back(c.high);
  }
  const int starts = near != nullptr ? 1 : plan.starts;
  const Pointers samples = thinned(all);
  std::vector<double> whole(usual.size());
  const Residuals residuals = [&](std::span<const double> c, std::span<double> out) {
    std::ranges::copy(c, whole.begin());
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const double time = plan.form->seconds(samples[i]->shape, whole, device);
      out[i] = std::log(time / samples[i]->seconds);
    }
    for (std::size_t j = 0; j < free; ++j)
      out[samples.size() + j] = kPrior * std::log(c[j] / usual[j]);
  };
  const std::size_t rows = samples.size() + free;
  curve.coefficients = fit_bounded(bounds, rows, residuals, plan.width, starts);
  curve.coefficients.resize(usual.size());
  // Four digits, as they are written: a curve read back predicts the same to the bit.
  for (double& c : curve.coefficients) {
    if (c == 0) continue;
    const double scale = std::pow(10.0, 3 - std::floor(std::log10(c)));
    c = std::round(c * scale) / scale;
  }
}

void set_axes(const std::vector<Coordinates>& x, const CurvePlan& plan, EfficiencyTable& table) {
  constexpr std::size_t kMostAxes = 4;
  std::vector<TableAxis> varying, constant;
  for (std::size_t a = 0; a < plan.axes.size(); ++a) {
    const auto coordinate = static_cast<std::size_t>(plan.axes[a]);
    double low = std::numeric_limits<double>::infinity();
    double high = -low;
    for (const Coordinates& point : x) {
      low = std::min(low, point[coordinate]);
      high = std::max(high, point[coordinate]);
    }
    const double step = plan.steps[a];
    TableAxis axis;
    axis.coordinate = plan.axes[a];
    axis.step = step;
    axis.low = high > low ? std::floor(low / step) * step : low;
    axis.count = static_cast<int>(std::ceil((high - axis.low) / step - 1e-9)) + 1;
    (high > low ? varying : constant).push_back(axis);
  }
  table.axes.clear();
  for (const std::vector<TableAxis>* group : {&varying, &constant}) {
    for (const TableAxis& axis : *group) {
      if (table.axes.size() < kMostAxes) table.axes.push_back(axis);
    }
  }
}

void fit_efficiency(const Pointers& samples, const DeviceCeilings& device, const CurvePlan& plan,
                    KernelCurve& curve) {
  std::vector<Coordinates> x;
  std::vector<double> residual;
  for (const KernelSample* s : samples) {
    x.push_back(plan.form->coordinates(s->shape));
    residual.push_back(
        std::log(s->seconds / plan.form->seconds(s->shape, curve.coefficients, device)));
  }
  if (plan.axes.empty()) return;
  set_axes(x, plan, curve.table);
  fit_table(x, residual, plan.table, curve.table);
}

KernelCurve fit_once(const Pointers& samples, const DeviceCeilings& device, const CurvePlan& plan,
                     const std::vector<double>* near = nullptr) {
  KernelCurve curve;
  curve.form = plan.form;
  fit_form(samples, device, plan, near, curve);
  fit_efficiency(samples, device, plan, curve);
  return curve;
}

struct Errors {
  double p50 = 0, p90 = 0, p80 = 0;  ///< of |predicted/measured - 1|; p80 of the logarithm
};

Errors errors_of(const std::vector<double>& logs) {
  if (logs.empty()) return {};
  std::vector<double> relative, size;
  for (const double e : logs) {
    relative.push_back(std::abs(std::expm1(e)));
    size.push_back(std::abs(e));
  }
  std::sort(relative.begin(), relative.end());
  std::sort(size.begin(), size.end());
  return {percentile(relative, 50), percentile(relative, 90), percentile(size, 80)};
}

double round4(double value) {
  return std::round(value * 1e4) / 1e4;
}

/// Logarithms of predicted over measured.
struct Residue {
  std::vector<double> in, left, form;
  void add(const Residue& more) {
    in.insert(in.end(), more.in.begin(), more.in.end());
    left.insert(left.end(), more.left.begin(), more.left.end());
    form.insert(form.end(), more.form.begin(), more.form.end());
  }
};

/// Errors of `samples` in sample and with their shapes left out, fold by fold, of fits to the
/// others and `beside`.
Residue residue_of(const Pointers& samples, const Pointers& beside, const KernelCurve& curve,
                   const DeviceCeilings& device, const CurvePlan& plan) {
  Residue residue;
  for (const KernelSample* s : samples) residue.in.push_back(log_error(curve, *s, device));
  for (int fold = 0; fold < kFolds; ++fold) {
    Pointers train = beside, test;
    for (const KernelSample* s : samples)
      (hash(s->shape_key) % kFolds == static_cast<std::uint64_t>(fold) ? test : train).push_back(s);
    if (test.empty() || train.size() < 3) continue;
    const KernelCurve partial = fit_once(train, device, plan, &curve.coefficients);
    for (const KernelSample* s : test) {
      residue.left.push_back(log_error(partial, *s, device));
      const double form = plan.form->seconds(s->shape, partial.coefficients, device);
      residue.form.push_back(std::log(form / s->seconds));
    }
  }
  // A single shape cannot be left out: its own residuals are all there is to say.
  if (residue.left.empty()) residue.left = residue.form = residue.in;
  return residue;
}

FitQuality quality_of(const Pointers& samples, const Residue& residue) {
  std::set<std::string> shapes;
  for (const KernelSample* s : samples) shapes.insert(s->shape_key);
  const Errors in = errors_of(residue.in), left = errors_of(residue.left),
               form = errors_of(residue.form);
  return {static_cast<int>(samples.size()),
          static_cast<int>(shapes.size()),
          round4(form.p50),
          round4(form.p90),
          round4(left.p50),
          round4(left.p90),
          round4(in.p50),
          round4(in.p90)};
}

}  // namespace

double log_error(const KernelCurve& curve, const KernelSample& sample,
                 const DeviceCeilings& device) {
  return std::log(curve.at(sample.shape, device).time.value() / sample.seconds);
}

KernelCurve fit_curve(std::span<const KernelSample> samples, const DeviceCeilings& device,
                      const CurvePlan& plan) {
  Pointers good, even, uneven;
  for (const KernelSample& s : samples) {
    if (s.suspect) continue;
    good.push_back(&s);
    (has_uneven_contexts(s.shape) ? uneven : even).push_back(&s);
  }
  MOESIM_CHECK(good.size() >= 3, "a curve needs three samples");
  KernelCurve curve = fit_once(good, device, plan);
  curve.op = samples.front().op;
  curve.kernel = samples.front().kernel;
  curve.dtype = samples.front().dtype;

  Residue all = residue_of(even, {}, curve, device, plan);
  curve.quality = quality_of(even, all);
  if (!uneven.empty()) {
    const Residue of_uneven = residue_of(uneven, even, curve, device, plan);
    curve.uneven = quality_of(uneven, of_uneven);
    all.add(of_uneven);
  }
  const Errors in = errors_of(all.in), left = errors_of(all.left);
  curve.spread_near = round4(in.p80 / kP80);
  curve.spread_far = round4(std::max(in.p80, left.p80) / kP80);
  return curve;
}

}  // namespace moesim
