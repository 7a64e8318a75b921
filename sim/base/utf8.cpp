#include "sim/base/utf8.h"

#include <algorithm>
#include <cstddef>
#include <fmt/format.h>
#include <iterator>

namespace moesim {
namespace {

/// Lead bytes of one length, and what may follow at once; all later bytes are 80..BF
/// (Unicode 15.0, table 3-7: no overlong forms, no surrogates, nothing beyond 10FFFF).
struct Lead {
  unsigned first, last;
  std::size_t length;
  unsigned low, high;
};
constexpr Lead kLeads[] = {
    {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf}, {0xe1, 0xec, 3, 0x80, 0xbf},
    {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf}, {0xf0, 0xf0, 4, 0x90, 0xbf},
    {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
};

/// Length of the well-formed UTF-8 character at `i`, or 0.
std::size_t utf8_length(const std::string& text, std::size_t i) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned first = byte(i);
  if (first < 0x80) return 1;
  const auto covers = [&](const Lead& row) { return first >= row.first && first <= row.last; };
  const auto* const lead = std::ranges::find_if(kLeads, covers);
  if (lead == std::end(kLeads) || i + lead->length > text.size()) return 0;
  if (byte(i + 1) < lead->low || byte(i + 1) > lead->high) return 0;
  for (std::size_t k = i + 2; k < i + lead->length; ++k) {
    if ((byte(k) & 0xc0U) != 0x80U) return 0;
  }
  return lead->length;
}

bool has_byte_order_mark(const std::string& text) {
  return text.starts_with("\xef\xbb\xbf") || text.starts_with("\xff\xfe") ||
         text.starts_with("\xfe\xff");
}

}  // namespace

bool is_utf8(const std::string& text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    if (length == 0) return false;
    i += length;
  }
  return true;
}

std::optional<BadByte> first_bad_byte(const std::string& text) {
  BadByte bad;
  if (has_byte_order_mark(text)) {
    bad.problem = "the file starts with a byte order mark";
    bad.hint = "save it as UTF-8 without one";
    return bad;
  }
  bad.hint = "save the file as UTF-8 text";
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    const auto byte = static_cast<unsigned char>(text[i]);
    if (length == 0) {
      bad.problem = fmt::format("byte 0x{:02x} is not valid UTF-8", byte);
      return bad;
    }
    if (byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') {
      bad.problem = fmt::format("control character 0x{:02x}", byte);
      return bad;
    }
    i += length;
    bad.column += static_cast<int>(length);
    if (byte == '\n') {
      ++bad.line;
      bad.column = 1;
    }
  }
  return std::nullopt;
}

std::string lower_case(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

}  // namespace moesim
