#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <string_view>

#include "sim/base/document_impl.h"

namespace moesim {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::size_t skip_digits(std::string_view text, std::size_t i) {
  while (i < text.size() && is_digit(text[i])) ++i;
  return i;
}

/// The parts of a decimal literal: [sign] whole [. fraction] [e exponent].
struct Literal {
  bool negative = false;
  std::string_view whole, fraction, exponent;  ///< `exponent` with its sign
  bool has_point = false;
};

std::optional<Literal> split_literal(std::string_view text) {
  Literal parts;
  std::size_t i = 0;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) parts.negative = text[i++] == '-';
  const std::size_t whole = i;
  i = skip_digits(text, i);
  parts.whole = text.substr(whole, i - whole);
  if (i < text.size() && text[i] == '.') {
    parts.has_point = true;
    const std::size_t fraction = ++i;
    i = skip_digits(text, i);
    parts.fraction = text.substr(fraction, i - fraction);
  }
  if (parts.whole.empty() && parts.fraction.empty()) return std::nullopt;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    const std::size_t exponent = ++i;
    if (i < text.size() && (text[i] == '-' || text[i] == '+')) ++i;
    const std::size_t digits = i;
    i = skip_digits(text, i);
    if (i == digits) return std::nullopt;
    parts.exponent = text.substr(exponent, i - exponent);
  }
  return i == text.size() ? std::optional(parts) : std::nullopt;
}

/// A number literal as JSON allows it; unchanged if it is valid JSON already.
std::string json_number(const std::string& text) {
  const Literal parts = *split_literal(text);
  std::string result = parts.negative ? "-" : "";
  const std::size_t first = std::min(parts.whole.find_first_not_of('0'), parts.whole.size());
  const std::string_view whole = parts.whole.substr(first);
  result += whole.empty() ? "0" : whole;
  if (parts.has_point) {
    result += '.';
    result += parts.fraction.empty() ? "0" : parts.fraction;
  }
  if (!parts.exponent.empty()) {
    result += 'e';
    result += parts.exponent;
  }
  return result;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (c == '\n') {
      result += "\\n";
    } else if (c == '\t') {
      result += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      result += fmt::format("\\u{:04x}", byte);
    } else {
      result += c;
    }
  }
  return result + '"';
}

bool is_bool_literal(std::string_view text) {
  static constexpr std::string_view kNames[] = {"true", "True", "TRUE", "false", "False", "FALSE"};
  return std::ranges::find(kNames, text) != std::end(kNames);
}

bool is_null_literal(std::string_view text) {
  return text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL";
}

/// Whether text needs no quotes in YAML flow style, and reads back as text.
bool is_bare(const std::string& text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto inner = [&](char c) {
    return letter(c) || is_digit(c) || c == '_' || c == '-' || c == '.' || c == '/';
  };
  if (text.empty() || (!letter(text[0]) && text[0] != '_')) return false;
  return std::ranges::all_of(text, inner) && !is_bool_literal(text) && !is_null_literal(text);
}

enum class Style { kJson, kFlow, kCanonical };

std::string text_of(const std::string& text, Style style) {
  return style == Style::kFlow && is_bare(text) ? text : quoted(text);
}

/// Whole numbers a double cannot hold keep their digits.
std::string canonical_number(const std::string& text) {
  constexpr double kExact = 9007199254740992;  // 2^53
  const std::optional<double> value = literal_value(text);
  if (!value || std::abs(*value) >= kExact) return json_number(text);
  return number_text(*value == 0 ? 0 : *value);  // -0 is 0
}

/// The order in which a mapping's entries are written.
std::vector<const TreeNode::Entry*> entries_of(const TreeNode& node, Style style) {
  std::vector<const TreeNode::Entry*> entries;
  for (const TreeNode::Entry& entry : node.entries) entries.push_back(&entry);
  if (style == Style::kCanonical) std::ranges::sort(entries, {}, &TreeNode::Entry::key);
  return entries;
}

void write_map(const TreeNode& node, Style style, std::string& out);

void write(const TreeNode& node, Style style, std::string& out) {
  switch (node.kind) {
    case TreeNode::Kind::kNull:
      out += "null";
      return;
    case TreeNode::Kind::kScalar:
      if (node.is(TreeNode::Type::kNumber)) {
        out +=
            style == Style::kCanonical ? canonical_number(node.scalar) : json_number(node.scalar);
      } else if (node.is(TreeNode::Type::kBool)) {
        out += node.scalar[0] == 't' || node.scalar[0] == 'T' ? "true" : "false";
      } else {
        out += text_of(node.scalar, style);
      }
      return;
    case TreeNode::Kind::kList:
      out += '[';
      for (const TreeNode& item : node.items) {
        if (&item != &node.items.front()) out += ", ";
        write(item, style, out);
      }
      out += ']';
      return;
    case TreeNode::Kind::kMap:
      write_map(node, style, out);
      return;
  }
}

void write_map(const TreeNode& node, Style style, std::string& out) {
  out += '{';
  const char* separator = "";
  for (const TreeNode::Entry* entry : entries_of(node, style)) {
    out += separator + text_of(entry->key, style) + ": ";
    write(entry->value, style, out);
    separator = ", ";
  }
  out += '}';
}

}  // namespace

bool TreeNode::is(Type wanted) const {
  return kind == Kind::kScalar && type() == wanted;
}

TreeNode::Type TreeNode::type() const {
  if (quoted) return Type::kText;
  if (is_bool_literal(scalar)) return Type::kBool;
  return is_number_literal(scalar) ? Type::kNumber : Type::kText;
}

const TreeNode::Entry* TreeNode::find(const std::string& key) const {
  const auto it = std::ranges::find(entries, key, &Entry::key);
  return it == entries.end() ? nullptr : &*it;
}

TreeNode::Entry* TreeNode::find(const std::string& key) {
  const auto it = std::ranges::find(entries, key, &Entry::key);
  return it == entries.end() ? nullptr : &*it;
}

Place TreeNode::Entry::shown_place() const {
  if (value.place.file != place.file || value.kind == Kind::kScalar) return value.place;
  const bool beside = value.place.line == place.line && value.kind != Kind::kNull;
  return beside ? value.place : place;
}

Where Tree::where(const Place& place) const {
  return {files[static_cast<std::size_t>(place.file)], place.line, place.column};
}

int Tree::file_index(const std::string& file) {
  const auto it = std::ranges::find(files, file);
  const auto index = it - files.begin();
  if (it == files.end()) files.push_back(file);
  return static_cast<int>(index);
}

std::string flow_text(const TreeNode& node) {
  std::string result;
  write(node, Style::kFlow, result);
  return result;
}

std::string json_text(const TreeNode& node) {
  std::string result;
  write(node, Style::kJson, result);
  return result;
}

std::string canonical_json_text(const TreeNode& node) {
  std::string result;
  write(node, Style::kCanonical, result);
  return result;
}

bool is_number_literal(const std::string& text) {
  return split_literal(text).has_value();
}

std::optional<double> literal_value(const std::string& text) {
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const char* end = text.data() + text.size();
  double value = 0;
  const auto [stop, error] = std::from_chars(begin, end, value);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

std::string short_text(const std::string& text) {
  constexpr std::size_t kShown = 40;
  if (text.size() <= kShown) return text;
  std::size_t end = kShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;
  return text.substr(0, end) + "...";
}

std::string describe(const TreeNode& node) {
  switch (node.kind) {
    case TreeNode::Kind::kNull:
      return "nothing";
    case TreeNode::Kind::kList:
      return "a list";
    case TreeNode::Kind::kMap:
      return "a mapping";
    case TreeNode::Kind::kScalar:
      break;
  }
  if (node.type() == TreeNode::Type::kNumber) return "the number " + short_text(node.scalar);
  return node.type() == TreeNode::Type::kBool ? node.scalar
                                              : "text '" + short_text(node.scalar) + "'";
}

std::string number_text(double value) {
  constexpr std::size_t kShortEnough = 7;  // 1000000 reads as easily as 1e6
  char buffer[400];  // the longest fixed double has 309 digits before the point
  const auto written = [&](std::chars_format format) {
    return std::string(buffer, std::to_chars(buffer, std::end(buffer), value, format).ptr);
  };
  std::string fixed = written(std::chars_format::fixed);
  if (fixed.size() <= kShortEnough) return fixed;
  std::string scientific = written(std::chars_format::scientific);
  const std::size_t e = scientific.find('e');
  if (e == std::string::npos) return fixed;
  const bool negative = scientific[e + 1] == '-';
  const std::size_t digits = scientific.find_first_not_of("+-0", e + 1);
  if (digits == std::string::npos) return fixed;
  scientific = scientific.substr(0, e + 1) + (negative ? "-" : "") + scientific.substr(digits);
  return scientific.size() < fixed.size() ? scientific : fixed;
}

std::string join_path(const std::string& parent, const std::string& key) {
  if (parent.empty() || key.empty()) return parent + key;
  return parent + "." + key;
}

std::vector<std::string> split_path(const std::string& path) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t end = path.find('.', begin);
    parts.push_back(path.substr(begin, end - begin));
    if (end == std::string::npos) return parts;
    begin = end + 1;
  }
}

std::optional<std::size_t> list_index(const std::string& text) {
  constexpr std::size_t kMostDigits = 9;
  if (text.empty() || text.size() > kMostDigits) return std::nullopt;
  if (text[0] == '0' && text.size() > 1) return std::nullopt;
  std::size_t value = 0;
  for (const char c : text) {
    if (!is_digit(c)) return std::nullopt;
    value = value * 10 + static_cast<std::size_t>(c - '0');
  }
  return value;
}

}  // namespace moesim
