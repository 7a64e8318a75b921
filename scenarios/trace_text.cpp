#include "scenarios/trace_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <utility>

namespace moesim {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t';
}
bool is_number_character(char c) {
  return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

}  // namespace

Lines::Lines(std::string_view text) : rest_(text) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (rest_.starts_with(kByteOrderMark)) mark_ = kByteOrderMark.size();
  rest_.remove_prefix(mark_);
}

bool Lines::next() {
  while (!rest_.empty()) {
    const std::size_t end = rest_.find_first_of("\r\n");
    line_ = rest_.substr(0, end);
    ++number_;
    if (end == std::string_view::npos) {
      rest_ = {};
    } else {
      const bool pair = rest_.substr(end, 2) == "\r\n";
      rest_.remove_prefix(end + (pair ? 2 : 1));
    }
    if (!trimmed(line_).empty()) return true;
  }
  return false;
}

void refuse_file(const std::string& file, const std::string& key, const std::string& problem,
                 const std::string& hint) {
  Diagnostic diagnostic;  // field by field: GCC 12 warns wrongly about a nested list here
  diagnostic.where.file = file;
  diagnostic.key = key;
  diagnostic.problem = problem;
  diagnostic.hint = hint;
  throw InputError({diagnostic});
}

void TraceMistakes::add(TracePlace at, const std::string& key, std::string problem,
                        std::string hint) {
  constexpr std::size_t kShown = 20;
  ++count_;
  if (list_.size() >= kShown) return;
  Diagnostic diagnostic;
  diagnostic.where.file = file_;
  diagnostic.where.line = at.line;
  diagnostic.where.column = at.line > 0 ? at.column : 0;
  diagnostic.key = key;
  diagnostic.problem = std::move(problem);
  diagnostic.hint = std::move(hint);
  list_.push_back(std::move(diagnostic));
}

void TraceMistakes::throw_if_any() {
  if (list_.empty()) return;
  const std::size_t shown_count = list_.size();
  if (count_ > shown_count) {
    Diagnostic more = list_.back();
    more.where.line = more.where.column = 0;
    more.key.clear();
    more.problem = fmt::format("{} more mistakes", count_ - shown_count);
    more.hint = "mend the first ones";
    list_.push_back(std::move(more));
  }
  throw InputError(std::move(list_));
}

std::optional<double> parse_number(std::string_view text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> parse_whole(std::string_view text) {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string shown(std::string_view text) {
  constexpr std::size_t kLongest = 40;
  if (text.size() <= kLongest) return fmt::format("'{}'", text);
  return fmt::format("'{}...'", text.substr(0, kLongest));
}

void split_csv(std::string_view line, std::vector<std::string_view>& fields) {
  fields.clear();
  for (;;) {
    std::size_t end = 0;
    std::string_view field;
    if (line.starts_with('"')) {
      std::size_t close = line.find('"', 1);
      while (close != std::string_view::npos && line.substr(close, 2) == "\"\"")
        close = line.find('"', close + 2);
      end = close == std::string_view::npos ? line.size()
                                            : std::min(line.find(',', close), line.size());
      field = line.substr(1, (close == std::string_view::npos ? line.size() : close) - 1);
    } else {
      end = std::min(line.find(','), line.size());
      field = trimmed(line.substr(0, end));
    }
    fields.push_back(field);
    if (end == line.size()) return;
    line.remove_prefix(end + 1);
  }
}

std::size_t csv_place(std::string_view line, std::string_view field) {
  const auto at = static_cast<std::size_t>(field.data() - line.data());
  return at > 0 && line[at - 1] == '"' ? at - 1 : at;
}

FlatObject::FlatObject(std::string_view line) : text_(line) {
  skip_space();
  if (!take('{')) fail();
}

bool FlatObject::fail() {
  failed_ = true;
  return false;
}

void FlatObject::skip_space() {
  while (at_ < text_.size() && is_space(text_[at_])) ++at_;
}

bool FlatObject::take(char c) {
  if (at_ >= text_.size() || text_[at_] != c) return false;
  ++at_;
  return true;
}

bool FlatObject::read_text(std::string_view& out) {
  const std::size_t begin = at_;
  while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\') ++at_;
  out = text_.substr(begin, at_ - begin);
  return take('"');
}

bool FlatObject::read_value() {
  if (take('"')) {
    kind_ = Kind::kText;
    return read_text(value_);
  }
  const std::size_t begin = at_;
  if (take('[')) {
    kind_ = Kind::kList;
    std::string_view item;
    do {
      at_ = std::min(text_.find_first_of("]{\"\\", at_), text_.size());
    } while (take('"') && read_text(item));
    if (!take(']')) return false;
  } else {
    while (at_ < text_.size() && is_number_character(text_[at_])) ++at_;
    kind_ = Kind::kNumber;
    if (at_ == begin) {
      kind_ = Kind::kWord;
      while (at_ < text_.size() && text_[at_] >= 'a' && text_[at_] <= 'z') ++at_;
    }
  }
  value_ = text_.substr(begin, at_ - begin);
  return !value_.empty();
}

bool FlatObject::next() {
  if (failed_) return false;
  skip_space();
  if (take('}')) {
    skip_space();
    if (at_ != text_.size()) return fail();
    return false;
  }
  if (!std::exchange(first_, false) && !take(',')) return fail();
  skip_space();
  if (!take('"') || !read_text(key_)) return fail();
  skip_space();
  if (!take(':')) return fail();
  skip_space();
  return read_value() || fail();
}

bool parse_whole_list(std::string_view list, std::vector<std::uint64_t>& out) {
  out.clear();
  const char* at = list.data();
  const char* const end = at + list.size();
  const auto skip = [&] {
    while (at < end && is_space(*at)) ++at;
  };
  if (at == end || *at++ != '[') return false;
  skip();
  if (at < end && *at == ']') return at + 1 == end;
  while (at < end) {
    std::uint64_t value = 0;
    const auto [stop, error] = std::from_chars(at, end, value);
    if (error != std::errc{}) return false;
    out.push_back(value);
    at = stop;
    skip();
    if (at == end) return false;
    if (*at == ']') return at + 1 == end;
    if (*at++ != ',') return false;
    skip();
  }
  return false;
}

}  // namespace moesim
