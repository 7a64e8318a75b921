#pragma once

#include <optional>
#include <string>

namespace moesim {

/// What makes a text unusable, and where (counted from 1; columns are bytes).
struct BadByte {
  int line = 1;
  int column = 1;
  std::string problem, hint;
};

/// The first byte that is not UTF-8 or is a control character other than tab and line ends, or a
/// byte order mark at the start; nothing if the text is clean.
[[nodiscard]] std::optional<BadByte> first_bad_byte(const std::string& text);

[[nodiscard]] bool is_utf8(const std::string& text);

/// ASCII letters in lower case, all else as it is, whatever the locale.
[[nodiscard]] std::string lower_case(std::string text);

}  // namespace moesim
