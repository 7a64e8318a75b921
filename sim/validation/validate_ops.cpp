#include "sim/validation/validate_ops.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "calibrate/import/kernel_table.h"
#include "hardware/dtypes.h"
#include "hardware/kernel_library.h"
#include "sim/base/stats.h"

namespace moesim {

namespace {

constexpr double kP90 = 1.2815515655446004;  ///< of a normal, in standard deviations
constexpr double kMicro = 1e6;

/// What the tables call an operator: the quantisation kernels have a file of their own.
std::string family_of(const KernelSample& sample) {
  return sample.op == "stream" && sample.kernel.starts_with("quantize") ? "quantize" : sample.op;
}

std::string shown(const std::string& text) {
  return text.empty() ? "any" : text;
}

/// The profiles and the card behind samples of one system and framework.
struct Device {
  SystemSpec system;
  KernelLibrary library;
};

class Devices {
 public:
  /// Null for a system that is not shipped.
  const Device* of(const KernelSample& sample) {
    auto& device = devices_[{sample.system, sample.framework}];
    if (device != nullptr || !is_shipped(sample.system)) return device.get();
    const SystemSpec system = load_system(sample.system, "", {});
    KernelChoice choice;
    choice.system = sample.system;
    choice.sm_version = system.gpu.sm_version;
    choice.framework = sample.framework;
    device = std::make_unique<Device>(Device{system, KernelLibrary(std::move(choice))});
    return device.get();
  }

 private:
  static bool is_shipped(const std::string& name) {
    static const std::vector<std::string> shipped = shipped_systems();
    return std::ranges::find(shipped, name) != shipped.end();
  }
  std::map<std::pair<std::string, std::string>, std::unique_ptr<Device>> devices_;
};

/// A prediction and the class of where it came from.
struct Predicted {
  double us = 0, spread = 0;
  const char* provenance = "measured";
};

std::optional<Predicted> predict(const Device& device, const KernelSample& sample) {
  const std::string kernel[] = {sample.kernel};
  const std::string dtype[] = {sample.dtype};
  const FoundCurve found = device.library.find(sample.op, kernel, dtype, true);
  if (found.curve == nullptr) return std::nullopt;
  const KernelCurve::Answer answer =
      found.curve->at(sample.shape, ceilings_of(device.system, sample.dtype));
  constexpr double kAmongData = 0.5;
  Predicted predicted;
  predicted.us = answer.time.value() * kMicro;
  predicted.spread = std::hypot(answer.spread, found.extra_spread);
  // A table without a framework belongs to all: whose profile holds it does not matter.
  const bool donor = found.donor && !sample.framework.empty();
  if (donor) predicted.provenance = "donor";
  if (!donor && (!answer.inside || answer.support <= 0)) predicted.provenance = "extrapolated";
  if (!donor && answer.inside && answer.support > 0 && answer.support < kAmongData)
    predicted.provenance = "interpolated";
  return predicted;
}

ErrorGroup group_of(const std::string& name, const std::vector<double>& errors) {
  std::vector<double> sizes, signs = errors;
  for (const double e : errors) sizes.push_back(std::abs(e));
  std::ranges::sort(sizes);
  std::ranges::sort(signs);
  return {name,
          "latency",
          errors.size(),
          percentile(sizes, 50),
          percentile(sizes, 90),
          percentile(signs, 50)};
}

}  // namespace

Validation validate_ops(const std::vector<std::filesystem::path>& paths) {
  const KernelSamples read = read_kernel_tables(paths);
  Validation out;
  Devices devices;
  std::map<std::string, std::vector<double>> groups, classes;
  std::size_t number = 0;
  for (const KernelSample& sample : read.samples) {
    const std::string name = fmt::format("{}/{}/{}/{}", family_of(sample), shown(sample.system),
                                         shown(sample.framework), shown(sample.dtype));
    const std::string id = fmt::format("{}:{}", name, ++number);
    const Device* device = devices.of(sample);
    if (device == nullptr) {
      out.unsupported.push_back({id, "system " + sample.system + " is not shipped"});
      continue;
    }
    const std::optional<Predicted> predicted = predict(*device, sample);
    if (!predicted) {
      out.unsupported.push_back({id, "no profile has " + sample.op + " " + sample.kernel});
      continue;
    }
    ComparedValue value;
    value.id = id;
    value.metric = "latency";
    value.measured = sample.seconds * kMicro;
    value.predicted = predicted->us;
    value.p10 = predicted->us * std::exp(-kP90 * predicted->spread);
    value.p90 = predicted->us * std::exp(kP90 * predicted->spread);
    value.source = name;
    value.gpu = sample.system;
    value.engine = sample.framework;
    value.moe = sample.op.starts_with("moe");
    if (sample.suspect) value.left_out = "contradicts its neighbours";
    if (!sample.suspect) {
      groups[name].push_back(value.error());
      classes[fmt::format("provenance/{}", predicted->provenance)].push_back(value.error());
    }
    out.rows.push_back(std::move(value));
  }
  for (const auto& [name, errors] : groups) out.groups.push_back(group_of(name, errors));
  for (const auto& [name, errors] : classes) out.groups.push_back(group_of(name, errors));
  out.coverage = interval_coverage(out.rows);
  for (const std::string& note : read.notes) out.unsupported.push_back({"note", note});
  return out;
}

}  // namespace moesim
