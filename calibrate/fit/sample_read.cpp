#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <set>

#include "calibrate/fit/plans.h"
#include "calibrate/fit/sample_file.h"
#include "hardware/kernel_fields.h"
#include "sim/base/diagnostic.h"

namespace moesim {

namespace {

using Json = nlohmann::json;
using Names = std::vector<std::string>;

constexpr std::size_t kMostMistakes = 20;
constexpr const char* kHelp = "see calibrate/README.md";

constexpr double kLargestSize = 1e18;  ///< beyond, a unit is wrong
/// What is counted in a call; the other sizes are sums, means and shares of a rank.
const Names kCounts = {"m",     "n",       "k",     "tokens", "total_experts", "topk",
                       "batch", "queries", "heads", "gpus",   "nodes",         "rows"};

const Names& axis_names() {
  static const Names kNames = [] {
    Names names;
    for (const KernelField& field : kKernelFields) names.emplace_back(field.name);
    return names;
  }();
  return kNames;
}

/// One line, parsed; mistakes point at its keys.
class Line {
 public:
  Line(std::string_view text, const std::string& file, int number, Diagnostics& diagnostics)
      : text_(text), file_(file), number_(number), diagnostics_(diagnostics) {}

  /// The object on the line; null after a mistake.
  Json parse() {
    std::vector<std::set<std::string>> open;
    std::string doubled;
    const auto watch = [&](int, Json::parse_event_t event, Json& value) {
      if (event == Json::parse_event_t::object_start) open.emplace_back();
      if (event == Json::parse_event_t::object_end) open.pop_back();
      if (event == Json::parse_event_t::key && !open.back().insert(value.get<std::string>()).second)
        doubled = value.get<std::string>();
      return true;
    };
    Json json;
    try {
      json = Json::parse(text_.begin(), text_.end(), watch);
    } catch (const Json::parse_error& error) {
      mistake_at(error.byte, "", "not a JSON object", "one object a line");
      return nullptr;
    } catch (const Json::out_of_range&) {
      mistake_at(1, "", "a number no double can hold", "times are in seconds, sizes in bytes");
      return nullptr;
    }
    if (!json.is_object()) {
      mistake_at(1, "", "not a JSON object", "one object a line");
      return nullptr;
    }
    if (!doubled.empty()) mistake(doubled, "stands twice", "keep one");
    return json;
  }

  /// `key` is a path: "t.p50".
  void mistake(const std::string& key, const std::string& problem, const std::string& hint) {
    mistake_at(column_of(key), key, problem, hint);
  }
  void only(const Json& at, const std::string& path, const Names& known) {
    for (const auto& item : at.items()) {
      if (std::ranges::find(known, item.key()) == known.end())
        mistake(path + item.key(), "unknown key", nearest_name_hint(item.key(), known));
    }
  }
  std::string text(const Json& at, const std::string& path, const char* key, bool required) {
    const auto found = at.find(key);
    if (found != at.end() && found->is_string()) return found->get<std::string>();
    if (found != at.end() || required)
      mistake(path + key, found == at.end() ? "missing text" : "not a text", kHelp);
    return "";
  }
  double number(const Json& value, const std::string& path, double least, double most) {
    if (!value.is_number()) {
      mistake(path, "not a number", kHelp);
      return least;
    }
    const auto read = value.get<double>();
    if (read >= least && read <= most) return read;
    mistake(path, fmt::format("{} is outside {} to {}", read, least, most),
            "times are in seconds, sizes in bytes");
    return least;
  }

 private:
  void mistake_at(std::size_t column, const std::string& key, const std::string& problem,
                  const std::string& hint) {
    if (diagnostics_.size() < kMostMistakes)
      diagnostics_.add({{file_, number_, static_cast<int>(column)}, key, problem, hint});
  }
  /// Where the last key of a path that is there begins; 1 if none is.
  [[nodiscard]] std::size_t column_of(const std::string& path) const {
    std::size_t at = 0, found = std::string_view::npos, column = 1;
    for (std::size_t begin = 0; begin <= path.size();) {
      const std::size_t end = std::min(path.find('.', begin), path.size());
      const std::string quoted = "\"" + path.substr(begin, end - begin) + "\"";
      found = text_.find(quoted, at);
      if (found == std::string_view::npos) return column;
      column = found + 1;
      at = found + quoted.size();
      begin = end + 1;
    }
    return column;
  }

  std::string_view text_;
  const std::string& file_;
  int number_;
  Diagnostics& diagnostics_;
};

class FileReader {
 public:
  FileReader(std::string_view text, const std::string& file) : rest_(text), file_(file) {}

  SampleFile read() {
    for (int number = 1; !rest_.empty(); ++number) {
      const std::size_t end = std::min(rest_.find('\n'), rest_.size());
      std::string_view text = rest_.substr(0, end);
      rest_.remove_prefix(std::min(end + 1, rest_.size()));
      if (text.ends_with('\r')) text.remove_suffix(1);
      if (text.find_first_not_of(" \t") == std::string_view::npos) continue;
      Line line(text, file_, number, diagnostics_);
      const Json json = line.parse();
      if (!json.is_null()) read_line(json, line);
    }
    if (!begun_)
      diagnostics_.add({{file_, 1, 1}, "", "no samples", "the first line is of kind run"});
    diagnostics_.throw_if_any();
    if (not_measured_ > 0)
      out_.warnings.push_back(fmt::format("{} points were not measured", not_measured_));
    if (!ended_) out_.warnings.emplace_back("no closing line: the end of the file is missing");
    return std::move(out_);
  }

 private:
  void read_line(const Json& json, Line& line) {
    const std::string kind = line.text(json, "", "rec", true);
    if (kind.empty()) return;
    if (ended_) return line.mistake("rec", "a line after the closing one", "one file, one end");
    if (!begun_ && kind != "run")
      return line.mistake("rec", "the first line is not of kind run", kHelp);
    if (kind == "run") return read_run(json, line);
    if (kind == "point") return read_point(json, line);
    if (kind == "end") return read_end(json, line);
    line.mistake("rec", fmt::format("unknown kind '{}'", kind),
                 nearest_name_hint(kind, {"run", "point", "end"}));
  }

  void read_run(const Json& json, Line& line) {
    if (begun_) return line.mistake("rec", "a second line of kind run", "one file, one run");
    begun_ = true;
    // What a microbenchmark tells of its machine is for people.
    line.only(json, "",
              {"rec", "schema_version", "format", "tool", "importer", "date", "sources", "inputs",
               "notes", "commit", "host_id", "devices", "versions", "env", "grid", "budget_s"});
    if (json.value("schema_version", Json()) != 1)
      line.mistake("schema_version", "unknown schema", "this program reads schema 1");
    if (json.value("format", Json("moesim-samples")) != "moesim-samples")
      line.mistake("format", "unknown format", "moesim-samples");
    out_.tool = line.text(json, "", "tool", true);
    out_.importer = line.text(json, "", "importer", false);
    out_.date = line.text(json, "", "date", false);
    for (const Json& source : objects(json, "sources", line)) {
      line.only(source, "sources.", {"name", "commit", "license"});
      out_.sources.push_back({line.text(source, "sources.", "name", true),
                              line.text(source, "sources.", "commit", true),
                              line.text(source, "sources.", "license", true)});
    }
    for (const Json& input : objects(json, "inputs", line)) {
      line.only(input, "inputs.", {"name", "sha256"});
      out_.inputs.push_back(
          {line.text(input, "inputs.", "name", true), line.text(input, "inputs.", "sha256", true)});
    }
    out_.notes = texts(json, "notes", line);
    read_versions(json, line);
  }

  /// Those of frameworks; what else a microbenchmark lists is for people.
  void read_versions(const Json& json, Line& line) {
    const auto versions = json.find("versions");
    if (versions == json.end()) return;
    if (!versions->is_object()) return line.mistake("versions", "not a mapping", kHelp);
    for (const char* framework : {"vllm", "sglang", "trtllm"}) {
      if (!versions->contains(framework)) continue;
      out_.versions[framework] = line.text(*versions, "versions.", framework, true);
    }
  }

  void read_point(const Json& json, Line& line) {
    ++points_;
    line.only(json, "", {"rec",   "op",    "impl",    "kernel", "dtype",  "system", "framework",
                         "shape", "axes",  "t",       "flags",  "status", "id",     "mode",
                         "bytes", "flops", "samples", "k",      "clock",  "why"});
    const std::string status = line.text(json, "", "status", true);
    if (status == "skipped" || status == "invalid" || status == "throttled") {
      ++not_measured_;
      return;
    }
    if (status != "ok" && status != "imported" && !status.empty())
      line.mistake("status", fmt::format("unknown status '{}'", status),
                   "ok, imported, skipped, invalid or throttled");
    ++(status == "imported" ? out_.imported : out_.measured);
    KernelSample sample;
    sample.op = line.text(json, "", "op", true);
    sample.kernel = line.text(json, "", "kernel", false);
    sample.dtype = line.text(json, "", "dtype", false);
    sample.system = line.text(json, "", "system", false);
    sample.framework = line.text(json, "", "framework", false);
    sample.shape_key = line.text(json, "", "shape", false);
    if (!known_operator(sample.op, line)) return;
    read_axes(json, line, sample);
    sample.seconds = read_time(json, line);
    for (const std::string& flag : texts(json, "flags", line)) sample.suspect |= flag == "suspect";
    out_.samples.push_back(std::move(sample));
  }

  void read_end(const Json& json, Line& line) {
    ended_ = true;
    line.only(json, "", {"rec", "points", "ok", "skipped", "throttled", "wall_s"});
    if (json.value("points", Json()) != points_)
      line.mistake("points", fmt::format("the file has {} points", points_),
                   "lines are missing or doubled");
  }

  /// A sample that nothing fits would be lost without a word.
  static bool known_operator(const std::string& op, Line& line) {
    if (op.empty()) return false;  // reported already
    const Names known = fitted_operators();
    if (std::ranges::find(known, op) != known.end()) return true;
    line.mistake("op", fmt::format("unknown operator '{}'", op), nearest_name_hint(op, known));
    return false;
  }

  static void read_axes(const Json& json, Line& line, KernelSample& sample) {
    const auto axes = json.find("axes");
    if (axes == json.end() || !axes->is_object())
      return line.mistake("axes", "missing mapping of sizes", kHelp);
    line.only(*axes, "axes.", axis_names());
    for (const KernelField& field : kKernelFields) {
      const auto value = axes->find(field.name);
      if (value == axes->end()) continue;
      // Below 0 stands for "as measured" where KernelShape says so.
      const double least = KernelShape().*field.member < 0 ? -1 : 0;
      sample.shape.*field.member =
          read_size(*value, std::string("axes.") + field.name, least, line);
    }
    for (const char* size : sizes_needed(sample.op)) {
      const auto field = std::ranges::find(kKernelFields, std::string_view(size),
                                           [](const KernelField& f) { return f.name; });
      if (axes->contains(size) && !(*axes)[size].is_number()) continue;  // reported already
      if (sample.shape.*field->member <= 0)
        line.mistake(std::string("axes.") + size, "must be above 0",
                     fmt::format("a call of {} has this size", sample.op));
    }
  }

  static double read_size(const Json& value, const std::string& path, double least, Line& line) {
    const double size = line.number(value, path, least, kLargestSize);
    const bool count = std::ranges::find(kCounts, path.substr(path.find('.') + 1)) != kCounts.end();
    if (count && size != std::floor(size))
      line.mistake(path, fmt::format("{} is not a whole number", size), kHelp);
    return size;
  }

  static double read_time(const Json& json, Line& line) {
    const auto t = json.find("t");
    if (t == json.end() || !t->is_object()) {
      line.mistake("t", "missing mapping of times", "{\"p50\": seconds}");
      return kShortestCall;
    }
    line.only(*t, "t.", {"p50", "p10", "p25", "p75", "p90", "min", "mean", "n", "notch"});
    double before = 0;
    for (const char* quantile : {"min", "p10", "p25", "p50", "p75", "p90"}) {
      const auto value = t->find(quantile);
      if (value == t->end()) continue;
      const double time =
          line.number(*value, std::string("t.") + quantile, kShortestCall, kLongestCall);
      if (time < before)
        line.mistake(std::string("t.") + quantile, "below a lower quantile", "quantiles rise");
      before = time;
    }
    const auto median = t->find("p50");
    if (median != t->end() && median->is_number()) return median->get<double>();
    if (median == t->end()) line.mistake("t.p50", "missing number", "the median, in seconds");
    return kShortestCall;
  }

  static std::vector<Json> objects(const Json& json, const char* key, Line& line) {
    std::vector<Json> all;
    const auto found = json.find(key);
    if (found == json.end()) return all;
    if (!found->is_array()) line.mistake(key, "not a list", kHelp);
    for (const Json& item : *found) {
      if (item.is_object())
        all.push_back(item);
      else
        line.mistake(key, "an item is not a mapping", kHelp);
    }
    return all;
  }
  static Names texts(const Json& json, const char* key, Line& line) {
    Names all;
    const auto found = json.find(key);
    if (found == json.end()) return all;
    if (!found->is_array()) line.mistake(key, "not a list", kHelp);
    for (const Json& item : *found) {
      if (item.is_string())
        all.push_back(item.get<std::string>());
      else
        line.mistake(key, "an item is not a text", kHelp);
    }
    return all;
  }

  std::string_view rest_;
  const std::string& file_;
  Diagnostics diagnostics_;
  SampleFile out_;
  bool begun_ = false, ended_ = false;
  std::size_t points_ = 0, not_measured_ = 0;
};

}  // namespace

bool is_sample_file(std::string_view text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  constexpr std::string_view kShort = "{\"rec\":\"run\"", kSpaced = "{\"rec\": \"run\"";
  return line.starts_with(kShort) || line.starts_with(kSpaced);
}

SampleFile read_samples(std::string_view text, const std::string& file_name) {
  return FileReader(text, file_name).read();
}

}  // namespace moesim
