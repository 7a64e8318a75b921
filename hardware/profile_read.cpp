#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "hardware/profile.h"
#include "hardware/profile_knots.h"
#include "sim/base/diagnostic.h"
#include "sim/base/files.h"
#include "sim/base/reader.h"

namespace moesim {

namespace {

using Json = nlohmann::json;

/// Mistakes by path, with the places those paths have in the text. JSON that nlohmann has read is
/// YAML, whose reader knows places but takes long: it is asked only if there is a mistake.
[[noreturn]] void throw_with_places(std::vector<Diagnostic> mistakes, const std::string& text,
                                    const std::string& file) {
  try {
    const Document document = Document::parse(text, file);
    Diagnostics doubled;  // keys given twice are no mistake for nlohmann, who takes the last
    const Reader root(document, doubled);
    for (Diagnostic& mistake : mistakes) mistake.where = root.where(mistake.key);
  } catch (const InputError&) {
    // Deeper than YAML is read: the path has to do.
  }
  throw InputError(std::move(mistakes));
}

/// Reads a document, collecting mistakes by path; one message each.
class ProfileReader {
 public:
  explicit ProfileReader(std::string file) : file_(std::move(file)) {}
  /// For a document whose knots were taken out. Its mistakes are not fit to be shown.
  explicit ProfileReader(const std::vector<std::vector<int>>& knots) : knots_(&knots) {}

  KernelProfile read(const Json& root) {
    KernelProfile profile;
    known(root, "",
          {"schema_version", "system", "framework", "version", "sm_version", "provenance", "ops",
           "notes"});
    if (const auto schema = whole(root, "", "schema_version"); schema && *schema != 1)
      mistake("schema_version", "unknown schema", "this program reads schema 1");
    profile.system = text(root, "", "system");
    profile.framework = text(root, "", "framework");
    profile.version = text(root, "", "version");
    profile.sm_version = whole(root, "", "sm_version").value_or(0);
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
    return profile;
  }
  [[nodiscard]] const std::vector<Diagnostic>& mistakes() const { return mistakes_; }

 private:
  void mistake(const std::string& path, const std::string& problem, const std::string& hint) {
    mistakes_.push_back({{file_, 0, 0}, path, problem, hint});
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
    mistake(join(path, key), found == at.end() ? "missing mapping" : "not a mapping",
            "see hardware/README.md");
    return nullptr;
  }
  std::string text(const Json& at, const std::string& path, const char* key) {
    const auto found = at.find(key);
    if (found != at.end() && found->is_string()) return found->get<std::string>();
    mistake(join(path, key), found == at.end() ? "missing text" : "not a text",
            "see hardware/README.md");
    return "";
  }
  /// Nothing after a mistake, as `whole`.
  std::optional<double> number(const Json& at, const std::string& path, const char* key) {
    const auto found = at.find(key);
    if (found != at.end() && found->is_number() && std::isfinite(found->get<double>()))
      return found->get<double>();
    mistake(join(path, key), found == at.end() ? "missing number" : "not a number",
            "a finite number");
    return std::nullopt;
  }
  std::optional<int> whole(const Json& at, const std::string& path, const char* key) {
    const std::optional<double> value = number(at, path, key);
    if (!value) return std::nullopt;
    if (*value >= 0 && *value <= 1e9 && *value == std::floor(*value))
      return static_cast<int>(*value);
    mistake(join(path, key), fmt::format("{} is no count", *value), "a whole number from 0 on");
    return std::nullopt;
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
    for (std::size_t i = 0; i < sources->size(); ++i) {
      const Json& s = (*sources)[i];
      const std::string at_source = fmt::format("provenance.sources.{}", i);
      if (!s.is_object()) {
        mistake(at_source, "not a mapping", "write {name, commit, license}");
        continue;
      }
      out.sources.push_back({text(s, at_source, "name"), text(s, at_source, "commit"),
                             text(s, at_source, "license")});
    }
  }

  KernelCurve read_curve(const Json& at, const std::string& path) {
    KernelCurve curve;
    if (!at.is_object()) {
      mistake(path, "not a mapping", "see hardware/README.md");
      return curve;
    }
    known(at, path,
          {"op", "kernel", "dtype", "form", "coefficients", "spread", "quality", "table"});
    curve.op = text(at, path, "op");
    curve.kernel = text(at, path, "kernel");
    curve.dtype = text(at, path, "dtype");
    const std::string form = text(at, path, "form");
    curve.form = find_form(form);
    if (curve.form == nullptr) {
      if (at.contains("form") && at["form"].is_string())
        mistake(path + ".form", fmt::format("unknown form '{}'", form),
                nearest_name_hint(form, form_names()));
      return curve;
    }
    if (const Json* c = object(at, path, "coefficients"))
      read_coefficients(*c, path + ".coefficients", curve);
    if (const Json* spread = object(at, path, "spread"))
      read_spread(*spread, path + ".spread", curve);
    if (const Json* quality = object(at, path, "quality"))
      read_quality(*quality, path + ".quality", curve);
    if (const Json* table = object(at, path, "table")) read_table(*table, path + ".table", curve);
    return curve;
  }

  void read_spread(const Json& at, const std::string& path, KernelCurve& curve) {
    known(at, path, {"near", "far"});
    const std::optional<double> near = number(at, path, "near"), far = number(at, path, "far");
    if (near && far && (*near < 0 || *far < *near))
      mistake(path, "far is below near, or negative", "0 <= near <= far");
    curve.spread_near = near.value_or(0);
    curve.spread_far = far.value_or(0);
  }

  void read_coefficients(const Json& at, const std::string& path, KernelCurve& curve) {
    std::vector<std::string> names;
    for (const Coefficient& c : curve.form->coefficients) {
      names.emplace_back(c.name);
      if (c.may_be_none && !at.contains(c.name)) {
        curve.coefficients.push_back(0);
        continue;
      }
      const std::optional<double> value = number(at, path, c.name);
      constexpr double kSlack = 1.001;  // written with four digits
      if (value && (*value < c.low / kSlack || *value > c.high * kSlack))
        mistake(join(path, c.name), fmt::format("{} is outside its range", *value),
                fmt::format("{} to {}", c.low, c.high));
      curve.coefficients.push_back(value.value_or(c.start));
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
    q.points = whole(at, path, "points").value_or(0);
    q.shapes = whole(at, path, "shapes").value_or(0);
    q.form_p50 = number(at, path, "form_p50").value_or(0);
    q.form_p90 = number(at, path, "form_p90").value_or(0);
    q.left_p50 = number(at, path, "left_out_p50").value_or(0);
    q.left_p90 = number(at, path, "left_out_p90").value_or(0);
    q.in_p50 = number(at, path, "in_sample_p50").value_or(0);
    q.in_p90 = number(at, path, "in_sample_p90").value_or(0);
  }

  bool read_axes(const Json& at, const std::string& path, KernelCurve& curve) {
    const auto axes = at.find("axes");
    if (axes == at.end() || !axes->is_array() || axes->size() > kMostAxes) {
      mistake(path + ".axes", "not a list of at most four axes", "see hardware/README.md");
      return false;
    }
    const std::size_t before = mistakes_.size();
    for (std::size_t i = 0; i < axes->size(); ++i)
      curve.table.axes.push_back(
          read_axis((*axes)[i], fmt::format("{}.axes.{}", path, i), *curve.form));
    return mistakes_.size() == before;
  }

  TableAxis read_axis(const Json& at, const std::string& path, const Form& form) {
    TableAxis axis;
    if (!at.is_object()) {
      mistake(path, "not a mapping", "write {axis, low, step, count}");
      return axis;
    }
    known(at, path, {"axis", "low", "step", "count"});
    const std::string name = text(at, path, "axis");
    const auto found = std::ranges::find(form.axes, name);
    if (found == form.axes.end() && at.contains("axis") && at["axis"].is_string())
      mistake(path + ".axis", fmt::format("unknown axis '{}'", name),
              nearest_name_hint(name, {form.axes.begin(), form.axes.end()}));
    axis.coordinate = static_cast<int>(found - form.axes.begin());
    axis.low = number(at, path, "low").value_or(0);
    const std::optional<double> step = number(at, path, "step");
    const std::optional<int> count = whole(at, path, "count");
    if (step && *step <= 0)
      mistake(path + ".step", fmt::format("{} is not above 0", *step), "the distance of two knots");
    if (count && (*count < 1 || *count > kMostKnots))
      mistake(path + ".count", fmt::format("{} knots", *count), "an axis has 1 to 1000");
    axis.step = step.value_or(1);
    axis.count = count.value_or(1);
    return axis;
  }

  /// Thousandths; none if they are missing.
  std::vector<int> knots(const Json& table, const std::string& path) {
    const auto values = table.find("log_milli");
    if (values == table.end()) return {};
    if (knots_ != nullptr) return knots_->at(values->get<std::size_t>());
    std::vector<int> out;
    for (const Json& v : *values) {
      const auto milli = v.is_number_integer() ? v.get<std::int64_t>() : kNoMilli;
      if (!std::in_range<int>(milli)) {
        mistake(fmt::format("{}.log_milli.{}", path, out.size()), "not a whole number",
                "thousandths of a natural logarithm");
        return {};
      }
      out.push_back(static_cast<int>(milli));
    }
    return out;
  }

  void read_table(const Json& at, const std::string& path, KernelCurve& curve) {
    known(at, path, {"axes", "log_milli", "near"});
    if (!read_axes(at, path, curve)) return;
    const std::size_t before = mistakes_.size();
    const std::string near = text(at, path, "near");
    if (mistakes_.size() > before) return;
    const std::size_t size = curve.table.axes.empty() ? 0 : curve.table.size();
    const std::vector<int> values = knots(at, path);
    if (mistakes_.size() > before) return;
    if (values.size() != size || near.size() != size) {
      mistake(path, fmt::format("log_milli and near need {} entries", size),
              "one per knot, last axis fastest");
      return;
    }
    curve.table.values.reserve(size);
    for (const int milli : values)
      curve.table.values.push_back(static_cast<float>(static_cast<double>(milli) / 1000));
    for (const char c : near)
      curve.table.near.push_back(static_cast<std::uint8_t>(std::clamp(c - '0', 0, 9)));
  }

  static constexpr std::size_t kMostAxes = 4;
  static constexpr int kMostKnots = 1000;
  static constexpr std::int64_t kNoMilli = std::numeric_limits<std::int64_t>::max();
  std::string file_;
  const std::vector<std::vector<int>>* knots_ = nullptr;
  std::vector<Diagnostic> mistakes_;
};

/// Where a byte stands, counted from 1 as nlohmann does.
Where place_of(const std::string& text, std::size_t byte, const std::string& file) {
  const std::string before = text.substr(0, std::max<std::size_t>(byte, 1) - 1);
  const auto line = static_cast<int>(std::ranges::count(before, '\n')) + 1;
  const std::size_t start = before.rfind('\n') + 1;  // npos + 1 is 0
  return {file, line, static_cast<int>(before.size() - start) + 1};
}

/// A profile without mistakes.
std::optional<KernelProfile> read_quickly(const std::string& text) {
  const std::optional<Knots> knots = take_knots(text);
  if (!knots) return std::nullopt;
  const Json root = Json::parse(knots->rest, nullptr, false);
  if (!root.is_object()) return std::nullopt;
  ProfileReader reader(knots->lists);
  KernelProfile profile = reader.read(root);
  if (!reader.mistakes().empty()) return std::nullopt;
  return profile;
}

}  // namespace

KernelProfile read_profile(const std::string& text, const std::string& file) {
  if (std::optional<KernelProfile> profile = read_quickly(text)) return *std::move(profile);
  Json root;
  try {
    root = Json::parse(text);
  } catch (const Json::parse_error& error) {
    throw_input_error({place_of(text, error.byte, file), "", "not a JSON document",
                       "a profile is written by moesim fit"});
  } catch (const Json::out_of_range&) {
    throw_input_error({{file, 0, 0},
                       "",
                       "holds a number that is too large",
                       "a profile is written by moesim fit"});
  }
  if (!root.is_object())
    throw_input_error({{file, 1, 1}, "", "not a mapping", "a profile is written by moesim fit"});
  ProfileReader reader(file);
  KernelProfile profile = reader.read(root);
  if (!reader.mistakes().empty()) throw_with_places(reader.mistakes(), text, file);
  return profile;
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
