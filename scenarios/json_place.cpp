#include "scenarios/json_place.h"

#include <algorithm>
#include <optional>

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

}  // namespace

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
