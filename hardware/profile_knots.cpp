#include "hardware/profile_knots.h"

#include <charconv>
#include <system_error>

namespace moesim {

std::optional<Knots> take_knots(std::string_view text) {
  constexpr std::string_view kKey = "\"log_milli\":";
  Knots out;
  for (std::size_t at = 0;;) {
    const std::size_t key = text.find(kKey, at);
    const std::size_t begin = key + kKey.size();
    out.rest.append(text, at, key == text.npos ? text.npos : begin - at);
    if (key == text.npos) return out;
    if (begin >= text.size() || text[begin] != '[') return std::nullopt;
    std::vector<int>& list = out.lists.emplace_back();
    const char* next = text.data() + begin;
    const char* const end = text.data() + text.size();
    do {
      const auto [stop, error] = std::from_chars(next + 1, end, list.emplace_back());
      if (error != std::errc() || stop == end) return std::nullopt;
      next = stop;
    } while (*next == ',');
    if (*next != ']') return std::nullopt;
    out.rest += std::to_string(out.lists.size() - 1);
    at = static_cast<std::size_t>(next + 1 - text.data());
  }
}

}  // namespace moesim
