#include "models/hf_json.h"

#include <filesystem>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "sim/base/diagnostic.h"
#include "sim/base/files.h"

namespace moesim {

using nlohmann::json;

namespace {

[[noreturn]] void fail_file(const Where& where, const std::string& problem,
                            const std::string& hint) {
  throw InputError({{.where = where, .key = "", .problem = problem, .hint = hint}});
}

Where place_of(const std::string& text, const std::string& file, std::size_t byte) {
  Where where{.file = file, .line = 1, .column = 1};
  for (std::size_t i = 0; i < byte && i < text.size(); ++i) {
    where.column = text[i] == '\n' ? 1 : where.column + 1;
    if (text[i] == '\n') ++where.line;
  }
  return where;
}

/// Watches a parse for keys given twice and for nesting that no config has (and that would exhaust
/// the stack).
class Watch {
 public:
  bool operator()(int depth, json::parse_event_t event, const json& value) {
    constexpr int kDeepest = 32;
    const auto level = static_cast<std::size_t>(depth);
    if (depth > kDeepest) too_deep = true;
    if (too_deep) return false;
    if (event == json::parse_event_t::object_start) {
      seen_.resize(level + 2);
      seen_[level + 1].clear();
    }
    if (event == json::parse_event_t::key && level < seen_.size()) {
      const std::string key = value.get<std::string>();
      if (!seen_[level].insert(key).second && twice.empty()) twice = key;
    }
    return true;
  }

  bool too_deep = false;
  std::string twice;

 private:
  std::vector<std::set<std::string>> seen_;  // by depth
};

json parse_json(const std::string& text, const std::string& file) {
  Watch watch;
  json parsed;
  try {
    parsed = json::parse(text, std::ref(watch));
  } catch (const json::parse_error& error) {
    fail_file(place_of(text, file, error.byte > 0 ? error.byte - 1 : 0), "not valid JSON",
              "check quotes, commas and brackets before this place");
  } catch (const json::exception&) {  // a number beyond any double
    fail_file({.file = file, .line = 0, .column = 0}, "holds a number that is too large",
              "copy the published config.json");
  }
  if (watch.too_deep) {
    fail_file({.file = file, .line = 1, .column = 1}, "is nested too deeply",
              "copy the published config.json");
  }
  if (!watch.twice.empty()) {
    fail_file(place_of(text, file, text.rfind('"' + watch.twice + '"')),
              fmt::format("'{}' is given twice", watch.twice), "keep one of the two");
  }
  if (!parsed.is_object()) {
    fail_file({.file = file, .line = 1, .column = 1}, "is not a mapping of keys",
              "a config.json starts with '{'");
  }
  return parsed;
}

// The text model's section wins over the top level (multi-modal checkpoints).
void merge_text_config(json& config, const std::string& text, const std::string& file) {
  for (const char* section : {"text_config", "llm_config", "language_config"}) {
    const auto it = config.find(section);
    if (it == config.end() || it->is_null()) continue;
    if (!it->is_object()) {
      fail_file(place_of(text, file, text.find(section)),
                fmt::format("{} is not a mapping", section), "copy the published config.json");
    }
    const json inner = *it;
    config.erase(it);
    config.update(inner);
  }
}

// ModelOpt writes its formats to a second file; its section takes the place of quantization_config.
void merge_quant_config(json& config, const std::string& file) {
  if (config.contains("quantization_config")) return;
  const std::filesystem::path beside =
      std::filesystem::path(file).parent_path() / "hf_quant_config.json";
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(beside, ignored)) return;
  const std::string text = read_file(beside);
  json quant = parse_json(text, beside.string());
  const auto section = quant.find("quantization");
  if (section == quant.end() || !section->is_object()) {
    fail_file({.file = beside.string(), .line = 1, .column = 1}, "has no mapping 'quantization'",
              "copy the published hf_quant_config.json");
  }
  (*section)["quant_method"] = "modelopt";
  config["quantization_config"] = std::move(*section);
}

}  // namespace

json read_merged_config(const std::string& text, const std::string& file) {
  json config = parse_json(text, file);
  merge_text_config(config, text, file);
  merge_quant_config(config, file);
  return config;
}

}  // namespace moesim
