#include "sim/validation/validate_ops.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "calibrate/import/kernel_table.h"
#include "hardware/attention.h"
#include "hardware/dtypes.h"
#include "hardware/kernel_library.h"
#include "sim/base/stats.h"
#include "sim/validation/goals.h"

namespace moesim {

namespace {

constexpr double kP90 = 1.2815515655446004;  ///< of a normal, in standard deviations
constexpr double kMicro = 1e6;

/// What the tables call an operator: the quantisation kernels have a file of their own, and so do
/// batches of unequal contexts.
std::string family_of(const KernelSample& sample) {
  if (has_uneven_contexts(sample.shape)) return sample.op + "_uneven";
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

/// The curve of a sample's own operator, kernel and format; null if no profile has it.
FoundCurve curve_of(const Device& device, const KernelSample& sample) {
  const std::string kernel[] = {sample.kernel};
  const std::string dtype[] = {sample.dtype};
  return device.library.find(sample.op, kernel, dtype, true);
}

/// A prediction and the class of where it came from.
struct Predicted {
  double us = 0, spread = 0;
  const char* provenance = "measured";
};

Predicted predict(const FoundCurve& found, const Device& device, const KernelSample& sample) {
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

std::string no_curve(const KernelSample& sample) {
  const std::string what =
      sample.kernel.empty() ? sample.op : fmt::format("{} {}", sample.op, sample.kernel);
  if (sample.shape.nodes > 1)
    return fmt::format("{} between nodes: no profile, networks are computed from their links",
                       what);
  return "no profile has " + what;
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

/// Collects predictions, sample by sample.
class KernelComparison {
 public:
  explicit KernelComparison(Validation& out) : out_(out) {}

  /// Precondition: the sample names its system.
  void add(const KernelSample& sample) {
    const std::string name = fmt::format("{}/{}/{}/{}", family_of(sample), shown(sample.system),
                                         shown(sample.framework), shown(sample.dtype));
    const std::string id = fmt::format("{}:{}", name, ++number_);
    const Device* const device = devices_.of(sample);
    if (device == nullptr)
      return out_.unsupported.push_back({id, "system " + sample.system + " is not shipped"});
    const FoundCurve found = curve_of(*device, sample);
    if (found.curve == nullptr) return out_.unsupported.push_back({id, no_curve(sample)});
    curves_.emplace(std::tuple{found.profile, sample.op, sample.kernel, sample.dtype}, found.curve);
    const Predicted predicted = predict(found, *device, sample);
    ComparedValue value;
    value.id = id;
    value.metric = "latency";
    value.measured = sample.seconds * kMicro;
    value.predicted = predicted.us;
    value.p10 = predicted.us * std::exp(-kP90 * predicted.spread);
    value.p90 = predicted.us * std::exp(kP90 * predicted.spread);
    value.source = name;
    value.gpu = sample.system;
    value.engine = sample.framework;
    value.moe = sample.op.starts_with("moe");
    if (sample.suspect) value.left_out = "contradicts its neighbours";
    if (!sample.suspect) {
      groups_[name].push_back(value.error());
      classes_[fmt::format("provenance/{}", predicted.provenance)].push_back(value.error());
      pooled_.push_back(value.error());
    }
    out_.rows.push_back(std::move(value));
  }

  void finish() {
    for (const auto& [name, errors] : groups_) out_.groups.push_back(group_of(name, errors));
    for (const auto& [name, errors] : classes_) out_.groups.push_back(group_of(name, errors));
    if (!pooled_.empty()) out_.groups.push_back(group_of("pooled", pooled_));
    for (const auto& [key, curve] : curves_) {
      // Not a structured binding: a lambda cannot capture one everywhere.
      const auto add_errors = [this, &key = key](const FitQuality& q, const std::string& part) {
        out_.left_out_curves.push_back({std::get<0>(key), std::get<1>(key), std::get<2>(key) + part,
                                        std::get<3>(key), q.points, q.shapes, q.left_p50,
                                        q.left_p90, q.in_p50, q.in_p90});
      };
      add_errors(curve->quality, "");
      if (curve->uneven.points > 0) add_errors(curve->uneven, "uneven contexts");
    }
    out_.coverage = interval_coverage(out_.rows);
    out_.goals = kernel_goals(out_);
  }

 private:
  using Errors = std::map<std::string, std::vector<double>>;
  Validation& out_;
  Devices devices_;
  std::size_t number_ = 0;
  Errors groups_, classes_;
  std::vector<double> pooled_;
  /// Curves that answered, by profile, operator, kernel and format.
  std::map<std::tuple<std::string, std::string, std::string, std::string>,
           std::shared_ptr<const KernelCurve>>
      curves_;
};

/// Counts the samples that name no system, by file: they do not say themselves which one they are
/// from.
void list_unnamed(const KernelSamples& read, Validation& out) {
  const auto unnamed = [](const KernelSample& sample) { return sample.system.empty(); };
  if (std::ranges::none_of(read.samples, unnamed)) return;
  for (const KernelSamples::File& file : read.files) {
    const KernelSamples one = read_kernel_table(file.path);
    const auto count = std::ranges::count_if(one.samples, unnamed);
    if (count == 0) continue;
    out.unsupported.push_back({file.path.filename().string(),
                               fmt::format("{}: names no system; call the file FAMILY_SYSTEM.csv, "
                                           "or give it a column system",
                                           file.path.string()),
                               static_cast<std::size_t>(count)});
  }
}

}  // namespace

Validation validate_ops(const std::vector<std::filesystem::path>& paths,
                        const std::atomic<bool>* stop) {
  const KernelSamples read = read_kernel_tables(paths);
  Validation out;
  KernelComparison comparison(out);
  for (const KernelSample& sample : read.samples) {
    if (stop != nullptr && *stop) {
      ++out.unreached;
    } else if (!sample.system.empty()) {
      comparison.add(sample);
    }
  }
  comparison.finish();
  list_unnamed(read, out);
  for (const KernelSamples::Note& note : read.notes)
    out.unsupported.push_back({"note", note.text, note.rows});
  return out;
}

}  // namespace moesim
