#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "calibrate/fit/sample_file.h"
#include "hardware/kernel_fields.h"
#include "sim/base/check.h"

namespace moesim {

namespace {

using Json = nlohmann::ordered_json;

Json header_of(const SampleFile& file) {
  Json header = {{"rec", "run"},      {"schema_version", 1},       {"format", "moesim-samples"},
                 {"tool", file.tool}, {"importer", file.importer}, {"date", file.date}};
  header["sources"] = Json::array();
  for (const KernelProfile::Source& source : file.sources)
    header["sources"].push_back(
        {{"name", source.name}, {"commit", source.commit}, {"license", source.license}});
  header["inputs"] = Json::array();
  for (const SampleFile::Input& input : file.inputs)
    header["inputs"].push_back({{"name", input.name}, {"sha256", input.sha256}});
  if (!file.versions.empty()) header["versions"] = file.versions;
  header["notes"] = file.notes;
  return header;
}

/// Whole numbers without ".0".
Json number_of(double value) {
  constexpr double kExact = 9007199254740992;  // 2^53
  const bool whole = value == std::floor(value) && std::abs(value) < kExact;
  return whole ? Json(static_cast<std::int64_t>(value)) : Json(value);
}

/// Sizes that say nothing, being what they are by default, are left out.
Json axes_of(const KernelShape& shape) {
  static const KernelShape kDefault;
  Json axes = Json::object();
  for (const KernelField& field : kKernelFields) {
    MOESIM_CHECK(std::isfinite(shape.*field.member), "sizes of a sample are numbers");
    if (shape.*field.member != kDefault.*field.member)
      axes[field.name] = number_of(shape.*field.member);
  }
  return axes;
}

Json point_of(const KernelSample& sample, const std::string& importer) {
  MOESIM_CHECK(std::isfinite(sample.seconds) && sample.seconds > 0, "a kernel takes time");
  Json point = {{"rec", "point"}, {"op", sample.op}};
  const auto add_text = [&](const char* key, const std::string& value) {
    if (!value.empty()) point[key] = value;
  };
  if (!importer.empty()) point["impl"] = "imported/" + importer;
  add_text("kernel", sample.kernel);
  add_text("dtype", sample.dtype);
  add_text("system", sample.system);
  add_text("framework", sample.framework);
  add_text("shape", sample.shape_key);
  point["axes"] = axes_of(sample.shape);
  point["t"] = {{"p50", sample.seconds}};
  if (sample.suspect) point["flags"] = {"suspect"};
  point["status"] = importer.empty() ? "ok" : "imported";
  return point;
}

/// Names come from foreign files: what is not UTF-8 there is replaced, not thrown at.
std::string line_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string write_samples(const SampleFile& file) {
  std::string text = line_of(header_of(file));
  for (const KernelSample& sample : file.samples) text += line_of(point_of(sample, file.importer));
  const Json end = {{"rec", "end"}, {"points", file.samples.size()}};
  return text + line_of(end);
}

}  // namespace moesim
