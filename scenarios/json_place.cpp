#include "scenarios/json_place.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>

#include "scenarios/trace_text.h"

namespace moesim {
namespace {

class Walk {
 public:
  explicit Walk(std::string_view text) : text_(text) {}

  [[nodiscard]] std::size_t at() const { return at_; }
  void go_to(std::size_t place) { at_ = place; }
  void skip_space() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }

  /// From the first byte of an object or list: that of the value a step leads to. The last of keys
  /// that are alike, as the parser has it.
  std::optional<std::size_t> find(const JsonStep& step) {
    const auto* const key = std::get_if<std::string_view>(&step);
    if (here() != (key != nullptr ? '{' : '[')) return std::nullopt;
    std::optional<std::size_t> found;
    const char end = key != nullptr ? '}' : ']';
    std::size_t item = 0;
    ++at_;
    for (skip_space(); here() != end && here() != '\0'; skip_space(), ++item) {
      bool wanted = key == nullptr && item == std::get<std::size_t>(step);
      if (key != nullptr) {
        const std::size_t name = at_ + 1;
        skip_value();
        wanted = text_.substr(name, at_ - name - 1) == *key;
        skip_space();
        ++at_;  // the colon
        skip_space();
      }
      if (wanted) found = at_;
      skip_value();
      skip_space();
      if (here() != ',') break;
      ++at_;
    }
    return found;
  }

 private:
  [[nodiscard]] char here() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_text() {
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\') ++at_;
    }
    ++at_;
  }

  void skip_value() {
    int depth = 0;
    do {
      const char c = here();
      if (c == '"') {
        skip_text();
      } else if (c == '{' || c == '[') {
        ++depth;
        ++at_;
      } else if (c == '}' || c == ']') {
        --depth;
        ++at_;
      } else if (depth > 0 && (c == ',' || c == ':')) {
        ++at_;
      } else {
        at_ = std::min(text_.find_first_of(",]}: \t\r\n", at_), text_.size());
      }
      if (depth > 0) skip_space();
    } while (depth > 0 && at_ < text_.size());
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

/// The first number that is no double any more, as the parser reads numbers; empty if there is
/// none.
std::string_view number_beyond_double(std::string_view text) {
  bool quoted = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '"') quoted = !quoted;
    if (quoted) {
      if (text[at] == '\\') ++at;
      continue;
    }
    if ((text[at] < '0' || text[at] > '9') && text[at] != '-') continue;
    const std::size_t end = std::min(text.find_first_not_of("0123456789+-.eE", at), text.size());
    const std::string number(text.substr(at, end - at));
    if (std::isinf(std::strtod(number.c_str(), nullptr))) return text.substr(at, end - at);
    at = end - 1;
  }
  return {};
}

}  // namespace

JsonFault json_fault(std::string_view text) {
  JsonFault fault{0, shown(text) + " is not a JSON object", "one object a line"};
  try {
    const nlohmann::json other = nlohmann::json::parse(text);
    fault.place = json_place(text, {});
  } catch (const nlohmann::json::parse_error& error) {
    fault.place = std::max<std::size_t>(error.byte, 1) - 1;
  } catch (const nlohmann::json::out_of_range&) {
    const std::string_view number = number_beyond_double(text);
    if (number.empty()) return fault;
    fault.place = static_cast<std::size_t>(number.data() - text.data());
    fault.problem = shown(number) + " is beyond the largest number there is";
    fault.hint = "write a number below 1.8e308";
  }
  return fault;
}

std::size_t json_place(std::string_view text, std::span<const JsonStep> path) {
  Walk walk(text);
  walk.skip_space();
  std::size_t place = walk.at() < text.size() ? walk.at() : 0;
  for (const JsonStep& step : path) {
    const std::optional<std::size_t> next = walk.find(step);
    if (!next) break;
    place = *next;
    walk.go_to(place);
  }
  return place;
}

}  // namespace moesim
