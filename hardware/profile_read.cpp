#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "hardware/profile.h"
#include "sim/base/diagnostic.h"
#include "sim/base/files.h"

namespace moesim {

namespace {

using Json = nlohmann::json;

/// Reads a document, collecting mistakes by path.
class ProfileReader {
 public:
  explicit ProfileReader(std::string file) : file_(std::move(file)) {}

  KernelProfile read(const Json& root) {
    KernelProfile profile;
    known(root, "",
          {"schema_version", "system", "framework", "version", "sm_version", "provenance", "ops",
           "notes"});
    if (whole(root, "", "schema_version") != 1)
      mistake("schema_version", "unknown schema", "this program reads schema 1");
    profile.system = text(root, "", "system");
    profile.framework = text(root, "", "framework");
    profile.version = text(root, "", "version");
    profile.sm_version = whole(root, "", "sm_version");
    if (const Json* provenance = object(root, "", "provenance"))
      read_provenance(*provenance, profile.provenance);
    const auto ops = root.find("ops");
    if (ops == root.end() || !ops->is_array()) {
      mistake("ops", "missing list", "an empty profile has \"ops\": []");
    } else {
      profile.curves.reserve(ops->size());
      for (std::size_t i = 0; i < ops->size(); ++i)
        profile.curves.push_back(read_curve((*ops)[i], fmt::format("ops.{}", i)));
    }
    diagnostics_.throw_if_any();
    return profile;
  }

 private:
  void mistake(const std::string& path, const std::string& problem, const std::string& hint) {
    diagnostics_.add({{file_, 0, 0}, path, problem, hint});
  }
  static std::string join(const std::string& path, const char* key) {
    return path.empty() ? key : path + "." + key;
  }
  void known(const Json& at, const std::string& path, const std::vector<std::string>& keys) {
    for (const auto& item : at.items()) {
      if (std::ranges::find(keys, item.key()) == keys.end())
        mistake(path.empty() ? item.key() : path + "." + item.key(), "unknown key",
                nearest_name_hint(item.key(), keys));
    }
  }
  const Json* object(const Json& at, const std::string& path, const char* key) {
    const auto found = at.find(key);
    if (found != at.end() && found->is_object()) return &*found;
    mistake(join(path, key), "missing mapping", "see hardware/README.md");
    return nullptr;
  }
  std::string text(const Json& at, const std::string& path, const char* key) {
    const auto found = at.find(key);
    if (found != at.end() && found->is_string()) return found->get<std::string>();
    mistake(join(path, key), "missing text", "see hardware/README.md");
    return "";
  }
  double number(const Json& at, const std::string& path, const char* key) {
    const auto found = at.find(key);
    if (found != at.end() && found->is_number() && std::isfinite(found->get<double>()))
      return found->get<double>();
    mistake(join(path, key), "missing number", "a finite number");
    return 0;
  }
  int whole(const Json& at, const std::string& path, const char* key) {
    const double value = number(at, path, key);
    if (value < 0 || value > 1e9 || value != std::floor(value)) {
      mistake(join(path, key), fmt::format("{} is no count", value), "a whole number from 0 on");
      return 0;
    }
    return static_cast<int>(value);
  }

  void read_provenance(const Json& at, KernelProfile::Provenance& out) {
    const std::string path = "provenance";
    known(at, path, {"date", "tool", "origin", "sources", "samples_digest", "notes"});
    out.date = text(at, path, "date");
    out.tool = text(at, path, "tool");
    out.samples_digest = text(at, path, "samples_digest");
    out.notes = text(at, path, "notes");
    const auto origin = at.find("origin");
    if (origin != at.end() && origin->is_array()) {
      for (const Json& o : *origin)
        if (o.is_string()) out.origin.push_back(o.get<std::string>());
    }
    const auto sources = at.find("sources");
    if (sources == at.end() || !sources->is_array() || sources->empty()) {
      mistake("provenance.sources", "missing list", "name where the measurements are from");
      return;
    }
    for (const Json& s : *sources) {
      if (!s.is_object()) continue;
      out.sources.push_back({text(s, "provenance.sources", "name"),
                             text(s, "provenance.sources", "commit"),
                             text(s, "provenance.sources", "license")});
    }
  }

  KernelCurve read_curve(const Json& at, const std::string& path) {
    KernelCurve curve;
    known(at, path,
          {"op", "kernel", "dtype", "form", "coefficients", "spread", "quality", "table"});
    curve.op = text(at, path, "op");
    curve.kernel = text(at, path, "kernel");
    curve.dtype = text(at, path, "dtype");
    const std::string form = text(at, path, "form");
    curve.form = find_form(form);
    if (curve.form == nullptr) {
      mistake(path + ".form", fmt::format("unknown form '{}'", form),
              nearest_name_hint(form, form_names()));
      return curve;
    }
    if (const Json* c = object(at, path, "coefficients"))
      read_coefficients(*c, path + ".coefficients", curve);
    if (const Json* spread = object(at, path, "spread")) {
      known(*spread, path + ".spread", {"near", "far"});
      curve.spread_near = number(*spread, path + ".spread", "near");
      curve.spread_far = number(*spread, path + ".spread", "far");
      if (curve.spread_near < 0 || curve.spread_far < curve.spread_near)
        mistake(path + ".spread", "far is below near, or negative", "0 <= near <= far");
    }
    if (const Json* quality = object(at, path, "quality"))
      read_quality(*quality, path + ".quality", curve);
    if (const Json* table = object(at, path, "table")) read_table(*table, path + ".table", curve);
    return curve;
  }

  void read_coefficients(const Json& at, const std::string& path, KernelCurve& curve) {
    std::vector<std::string> names;
    for (const Coefficient& c : curve.form->coefficients) {
      names.emplace_back(c.name);
      if (c.may_be_none && !at.contains(c.name)) {
        curve.coefficients.push_back(0);
        continue;
      }
      const double value = number(at, path, c.name);
      constexpr double kSlack = 1.001;  // written with four digits
      if (value < c.low / kSlack || value > c.high * kSlack)
        mistake(join(path, c.name), fmt::format("{} is outside its range", value),
                fmt::format("{} to {}", c.low, c.high));
      curve.coefficients.push_back(value);
    }
    known(at, path, names);
  }

  void read_quality(const Json& at, const std::string& path, KernelCurve& curve) {
    std::vector<std::string> keys = {"points",        "shapes",       "form_p50",
                                     "form_p90",      "left_out_p50", "left_out_p90",
                                     "in_sample_p50", "in_sample_p90"};
    if (at.contains("uneven")) {
      if (const Json* uneven = object(at, path, "uneven")) {
        known(*uneven, path + ".uneven", keys);
        read_errors(*uneven, path + ".uneven", curve.uneven);
      }
    }
    keys.emplace_back("uneven");
    known(at, path, keys);
    read_errors(at, path, curve.quality);
  }

  void read_errors(const Json& at, const std::string& path, FitQuality& q) {
    q.points = whole(at, path, "points");
    q.shapes = whole(at, path, "shapes");
    q.form_p50 = number(at, path, "form_p50");
    q.form_p90 = number(at, path, "form_p90");
    q.left_p50 = number(at, path, "left_out_p50");
    q.left_p90 = number(at, path, "left_out_p90");
    q.in_p50 = number(at, path, "in_sample_p50");
    q.in_p90 = number(at, path, "in_sample_p90");
  }

  bool read_axes(const Json& at, const std::string& path, KernelCurve& curve) {
    const auto axes = at.find("axes");
    if (axes == at.end() || !axes->is_array() || axes->size() > kMostAxes) {
      mistake(path + ".axes", "not a list of at most four axes", "see hardware/README.md");
      return false;
    }
    for (const Json& a : *axes) {
      known(a, path + ".axes", {"axis", "low", "step", "count"});
      TableAxis axis;
      const std::string name = text(a, path + ".axes", "axis");
      const auto& names = curve.form->axes;
      const auto found = std::ranges::find(names, name);
      if (found == names.end())
        mistake(path + ".axes", fmt::format("unknown axis '{}'", name),
                nearest_name_hint(name, {names.begin(), names.end()}));
      axis.coordinate = static_cast<int>(found - names.begin());
      axis.low = number(a, path + ".axes", "low");
      axis.step = number(a, path + ".axes", "step");
      axis.count = whole(a, path + ".axes", "count");
      if (axis.step <= 0 || axis.count < 1 || axis.count > kMostKnots) {
        mistake(path + ".axes", "an axis needs a step above 0 and 1 to 1000 knots",
                "see hardware/README.md");
        return false;
      }
      curve.table.axes.push_back(axis);
    }
    return true;
  }

  void read_table(const Json& at, const std::string& path, KernelCurve& curve) {
    known(at, path, {"axes", "log_milli", "near"});
    if (!read_axes(at, path, curve)) return;
    const auto values = at.find("log_milli");
    const std::string near = text(at, path, "near");
    const std::size_t size = curve.table.axes.empty() ? 0 : curve.table.size();
    if (values == at.end() || !values->is_array() || values->size() != size ||
        near.size() != size) {
      mistake(path, fmt::format("log_milli and near need {} entries", size),
              "one per knot, last axis fastest");
      return;
    }
    curve.table.values.reserve(size);
    for (const Json& v : *values) {
      if (!v.is_number_integer()) {
        mistake(path + ".log_milli", "not a whole number", "thousandths of a natural logarithm");
        return;
      }
      curve.table.values.push_back(static_cast<float>(v.get<double>() / 1000));
    }
    for (const char c : near)
      curve.table.near.push_back(static_cast<std::uint8_t>(std::clamp(c - '0', 0, 9)));
  }

  static constexpr std::size_t kMostAxes = 4;
  static constexpr int kMostKnots = 1000;
  std::string file_;
  Diagnostics diagnostics_;
};

}  // namespace

KernelProfile read_profile(const std::string& text, const std::string& file) {
  Json root;
  try {
    root = Json::parse(text);
  } catch (const Json::parse_error& error) {
    const std::string before = text.substr(0, error.byte);
    const auto line = static_cast<int>(std::ranges::count(before, '\n')) + 1;
    throw_input_error(
        {{file, line, 0}, "", "not a JSON document", "a profile is written by moesim fit"});
  } catch (const Json::out_of_range&) {
    throw_input_error({{file, 0, 0},
                       "",
                       "holds a number that is too large",
                       "a profile is written by moesim fit"});
  }
  if (!root.is_object())
    throw_input_error({{file, 1, 1}, "", "not a mapping", "a profile is written by moesim fit"});
  return ProfileReader(file).read(root);
}

KernelProfile load_profile(const std::filesystem::path& file) {
  return read_profile(read_file(file), file.string());
}

const KernelCurve* KernelProfile::find(std::string_view op, std::string_view kernel,
                                       std::string_view dtype) const {
  const KernelCurve* best = nullptr;
  for (const KernelCurve& curve : curves) {
    if (curve.op != op || curve.dtype != dtype || (!kernel.empty() && curve.kernel != kernel))
      continue;
    if (best == nullptr || curve.quality.points > best->quality.points) best = &curve;
  }
  return best;
}

std::vector<ProfileName> shipped_profiles() {
  namespace fs = std::filesystem;
  std::vector<ProfileName> names;
  std::error_code error;
  for (const fs::directory_entry& system :
       fs::directory_iterator(data_dir() / "hardware" / "profiles", error)) {
    if (!system.is_directory()) continue;
    for (const fs::directory_entry& entry : fs::directory_iterator(system.path(), error)) {
      const std::string stem = entry.path().stem().string();
      const std::size_t dash = stem.rfind('-');
      if (entry.path().extension() != ".json" || dash == std::string::npos) continue;
      names.push_back({system.path().filename().string(), stem.substr(0, dash),
                       stem.substr(dash + 1), entry.path()});
    }
  }
  std::ranges::sort(names, {}, &ProfileName::file);
  return names;
}

}  // namespace moesim
