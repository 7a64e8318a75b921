#include "hardware/dispatch_curve.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "hardware/dtypes.h"
#include "hardware/kernel_library.h"

namespace moesim {

namespace {

// Knots at 2^e (1/2 + i/16), from a quarter of a token to a million.
constexpr int kLeast = -1, kMost = 21, kPerOctave = 8;

double knot(int index) {
  const int octave = kLeast + index / kPerOctave;
  return std::ldexp(0.5 + static_cast<double>(index % kPerOctave) / (2 * kPerOctave), octave);
}

DeviceCeilings device_of(const DispatchSetup& setup) {
  if (setup.device.link_bandwidth > 0) return setup.device;
  const std::vector<std::string> shipped = shipped_systems();
  if (std::ranges::find(shipped, setup.kernels.system) == shipped.end()) return {};
  return ceilings_of(load_system(setup.kernels.system, ".", Where()), "bfloat16");
}

bool nvlink_nodes(const DispatchSetup& setup) {
  for (const int gpu : setup.gpus) {
    const std::array<int, 1> one{gpu};
    if (!setup.topology->nvlink_connected(one)) return false;
  }
  return true;
}

}  // namespace

std::optional<DispatchCurve> DispatchCurve::find(const DispatchSetup& setup, const Query& query) {
  DeviceCeilings device = device_of(setup);
  if (device.link_bandwidth <= 0 || !nvlink_nodes(setup)) return std::nullopt;
  const std::array<std::string, 1> kernels{query.kernel}, dtypes{query.dtype};
  const FoundCurve found = KernelLibrary(setup.kernels).find(query.op, kernels, dtypes, true);
  if (found.curve == nullptr) return std::nullopt;
  if (query.nic_bandwidth > 0) device.nic_bandwidth = query.nic_bandwidth / kMeasuredNicEfficiency;
  DispatchCurve curve;
  curve.source_ = {found.profile, true, found.donor,
                   std::hypot(found.curve->spread_far, found.extra_spread)};
  double longest = 0;
  for (int i = 0; i <= (kMost - kLeast) * kPerOctave; ++i) {
    KernelShape shape = query.per_token;
    shape.tokens = knot(i);
    shape.bytes *= knot(i);
    shape.nic_bytes *= knot(i);
    // Never faster with more tokens, whatever the residual table says.
    longest = std::max(longest, found.curve->at(shape, device).time.value());
    curve.knots_.push_back(longest);
  }
  return curve;
}

DispatchSource stand_in(DispatchSource source) {
  constexpr double kStandIn = 0.2;
  source.donor = true;
  source.spread = std::hypot(source.spread, kStandIn);
  return source;
}

double DispatchCurve::seconds(double tokens) const {
  if (tokens <= knot(0)) return knots_.front();
  int exponent = 0;
  const double mantissa = std::frexp(tokens, &exponent);  // [1/2, 1)
  if (exponent >= kMost) return knots_.back() * (tokens / std::ldexp(0.5, kMost));
  const double place = (mantissa - 0.5) * 2 * kPerOctave;
  const auto step = static_cast<int>(place);
  const int index = (exponent - kLeast) * kPerOctave + step;
  const double* const below = knots_.data() + index;
  return below[0] + (place - step) * (below[1] - below[0]);
}

}  // namespace moesim
