#include "models/config_keys.h"

#include <cmath>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/key_names.h"

namespace moesim {

using nlohmann::json;

namespace {

constexpr const char* kTextConfigs[] = {"text_config", "llm_config", "language_config"};

std::string joined(KeyNames names) {
  std::string text;
  for (const char* name : names) text += (text.empty() ? "" : ", ") + std::string(name);
  return text;
}

std::string shown(const json& value) {
  if (value.is_array()) return "a list";
  if (value.is_object()) return "a mapping";
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  constexpr std::size_t kLongest = 40;
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

// Position of `"key"` followed by a colon at or after `from`; npos if there is none.
std::size_t key_position(const std::string& text, const std::string& key, std::size_t from) {
  const std::string quoted = '"' + key + '"';
  for (std::size_t at = text.find(quoted, from); at != std::string::npos;
       at = text.find(quoted, at + 1)) {
    const std::size_t next = text.find_first_not_of(" \t\r\n", at + quoted.size());
    if (next != std::string::npos && text[next] == ':') return at;
  }
  return std::string::npos;
}

}  // namespace

ConfigKeys::ConfigKeys(const json& merged, const std::string& text, const std::string& file,
                       Diagnostics& diagnostics)
    : merged_(merged), text_(text), file_(file), diagnostics_(diagnostics) {}

const json* ConfigKeys::find(const char* path) const {
  const json* node = &merged_;
  std::string rest = path;
  while (true) {
    const std::size_t dot = rest.find('.');
    const std::string key = rest.substr(0, dot);
    if (!node->is_object()) return nullptr;
    const auto it = node->find(key);
    if (it == node->end() || it->is_null()) return nullptr;
    node = &*it;
    if (dot == std::string::npos) return node;
    rest.erase(0, dot + 1);
  }
}

const char* ConfigKeys::present(KeyNames names) const {
  for (const char* name : names) {
    if (find(name) != nullptr) return name;
  }
  return nullptr;
}

bool ConfigKeys::has(KeyNames names) const {
  return present(names) != nullptr;
}

bool ConfigKeys::is_list(KeyNames names) const {
  const char* name = present(names);
  return name != nullptr && find(name)->is_array();
}

std::optional<int> ConfigKeys::whole_number(const json& value, const std::string& key,
                                            Range range) {
  if (!value.is_number()) {
    fail(key, fmt::format("{} is not a number", shown(value)),
         "write a whole number without quotes");
    return std::nullopt;
  }
  const double number = value.get<double>();
  if (std::floor(number) != number) {
    fail(key, fmt::format("{} is not a whole number", shown(value)),
         "sizes and counts are whole numbers");
    return std::nullopt;
  }
  if (number < range.min || number > range.max) {
    fail(key, fmt::format("{} is outside {:.0f} to {:.0f}", shown(value), range.min, range.max),
         "check the value against the published config.json");
    return std::nullopt;
  }
  return static_cast<int>(number);
}

int ConfigKeys::integer(KeyNames names, Range range) {
  const char* name = present(names);
  if (name == nullptr) {
    missing(names, "");
    return static_cast<int>(range.min);
  }
  return whole_number(*find(name), name, range).value_or(static_cast<int>(range.min));
}

std::optional<int> ConfigKeys::optional_integer(KeyNames names, Range range) {
  const char* name = present(names);
  if (name == nullptr) return std::nullopt;
  return whole_number(*find(name), name, range);
}

int ConfigKeys::integer_or(KeyNames names, int fallback, Range range) {
  return optional_integer(names, range).value_or(fallback);
}

bool ConfigKeys::boolean_or(KeyNames names, bool fallback) {
  const char* name = present(names);
  if (name == nullptr) return fallback;
  const json& value = *find(name);
  if (value.is_boolean()) return value.get<bool>();
  fail(name, fmt::format("{} is neither true nor false", shown(value)),
       "write true or false without quotes");
  return fallback;
}

std::string ConfigKeys::text_or(KeyNames names, const std::string& fallback) {
  const char* name = present(names);
  if (name == nullptr) return fallback;
  const json& value = *find(name);
  if (value.is_string()) return value.get<std::string>();
  fail(name, fmt::format("{} is not a text", shown(value)), "write a text in quotes");
  return fallback;
}

std::vector<int> ConfigKeys::integers(KeyNames names, Range range) {
  const char* name = present(names);
  if (name == nullptr) return {};
  const json& value = *find(name);
  if (!value.is_array()) {
    fail(name, fmt::format("{} is not a list", shown(value)), "write a list of whole numbers");
    return {};
  }
  std::vector<int> numbers;
  for (const json& item : value) {
    const std::optional<int> number = whole_number(item, name, range);
    if (!number) return {};
    numbers.push_back(*number);
  }
  return numbers;
}

std::vector<std::string> ConfigKeys::texts(KeyNames names) {
  const char* name = present(names);
  if (name == nullptr) return {};
  const json& value = *find(name);
  std::vector<std::string> result;
  if (value.is_array()) {
    for (const json& item : value) {
      if (item.is_string()) result.push_back(item.get<std::string>());
    }
  }
  if (!value.is_array() || result.size() != value.size()) {
    fail(name, fmt::format("{} is not a list of texts", shown(value)),
         "write a list of texts in quotes");
    return {};
  }
  return result;
}

std::vector<int> ConfigKeys::per_layer(KeyNames names, int layers, Range range) {
  const char* name = present(names);
  const auto size = static_cast<std::size_t>(layers);
  if (name == nullptr || !find(name)->is_array())
    return std::vector<int>(size, integer(names, range));
  std::vector<int> values = integers(names, range);
  if (!values.empty() && values.size() != size && sound(kLayerKeys)) {
    fail(name, fmt::format("the list has {} values for {} layers", values.size(), layers),
         "give one value, or one per layer");
  }
  values.resize(size, values.empty() ? static_cast<int>(range.min) : values.back());
  return values;
}

bool ConfigKeys::sound(KeyNames names) const {
  for (const char* name : names) {
    if (failed_.count(name) > 0) return false;
  }
  return true;
}

void ConfigKeys::missing(KeyNames names, const std::string& hint) {
  const std::string first = *names.begin();
  const std::string spelled = names.size() > 1
                                  ? fmt::format("accepted keys: {}", joined(names))
                                  : std::string("copy it from the published config.json");
  failed_.insert(first);
  diagnostics_.add({.where = Where{.file = file_, .line = 0, .column = 0},
                    .key = first,
                    .problem = "missing key",
                    .hint = hint.empty() ? spelled : hint});
}

void ConfigKeys::fail(const std::string& key, const std::string& problem, const std::string& hint) {
  failed_.insert(key);
  diagnostics_.add({.where = where(key), .key = key, .problem = problem, .hint = hint});
}

Where ConfigKeys::where(const std::string& key) const {
  // The text model's section overrides the top level, so look inside it first.
  std::size_t at = std::string::npos;
  for (const char* section : kTextConfigs) {
    const std::size_t start = key_position(text_, section, 0);
    if (start == std::string::npos || at != std::string::npos) continue;
    at = key_position(text_, key.substr(key.rfind('.') + 1), start);
  }
  if (at == std::string::npos) {
    at = 0;
    std::string rest = key;
    while (at != std::string::npos) {
      const std::size_t dot = rest.find('.');
      at = key_position(text_, rest.substr(0, dot), at);
      if (dot == std::string::npos) break;
      rest.erase(0, dot + 1);
    }
  }
  Where where{.file = file_, .line = 0, .column = 0};
  if (at == std::string::npos) return where;
  where.line = 1;
  where.column = 1;
  for (std::size_t i = 0; i < at; ++i) {
    where.column = text_[i] == '\n' ? 1 : where.column + 1;
    if (text_[i] == '\n') ++where.line;
  }
  return where;
}

}  // namespace moesim
