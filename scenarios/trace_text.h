#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/base/diagnostic.h"

// Private to the trace readers: text cut into lines, fields, and flat JSON objects without copying.

namespace moesim {

/// The lines of a text, whatever ends them (LF, CR LF, CR).
class Lines {
 public:
  explicit Lines(std::string_view text);
  /// Moves to the next line that is not blank; false at the end.
  bool next();
  [[nodiscard]] std::string_view line() const { return line_; }
  [[nodiscard]] int number() const { return number_; }
  /// In the file, of byte `at` of the line; both from their first: 1 and 0.
  [[nodiscard]] int column(std::size_t at) const {
    return static_cast<int>(at + 1 + (number_ == 1 ? mark_ : 0));
  }

 private:
  std::string_view rest_, line_;
  std::size_t mark_ = 0;  ///< bytes before the first line
  int number_ = 0;
};

/// A place in a file, from 1; 0: unknown.
struct TracePlace {
  int line = 0, column = 0;
};

/// Throws an InputError about a whole file.
[[noreturn]] void refuse_file(const std::string& file, const std::string& key,
                              const std::string& problem, const std::string& hint);

/// Mistakes of one file: the first 20 in full, then how many more.
class TraceMistakes {
 public:
  explicit TraceMistakes(std::string file) : file_(std::move(file)) {}
  void add(TracePlace at, const std::string& key, std::string problem, std::string hint);
  void add(int line, const std::string& key, std::string problem, std::string hint) {
    add(TracePlace{line, 0}, key, std::move(problem), std::move(hint));
  }
  [[nodiscard]] bool any() const { return count_ > 0; }
  void throw_if_any();

 private:
  std::string file_;
  std::vector<Diagnostic> list_;
  std::size_t count_ = 0;
};

/// A finite decimal number that is the whole text, or nothing.
[[nodiscard]] std::optional<double> parse_number(std::string_view text);
/// A whole number from 0 that is the whole text, or nothing.
[[nodiscard]] std::optional<std::uint64_t> parse_whole(std::string_view text);
[[nodiscard]] std::string_view trimmed(std::string_view text);
/// For messages: the text in quotes, cut if it is long.
[[nodiscard]] std::string shown(std::string_view text);

/// Fields of a CSV line (RFC 4180 quotes; a field keeps no quotes) into `fields`, which point into
/// `line`.
void split_csv(std::string_view line, std::vector<std::string_view>& fields);
/// Where a field of that line begins, from 0, its quote included.
[[nodiscard]] std::size_t csv_place(std::string_view line, std::string_view field);

/// The pairs of one JSON object whose values are numbers, plain texts, true, false, null, or lists
/// of these: what the trace formats use. Nested objects and escapes are not taken.
class FlatObject {
 public:
  explicit FlatObject(std::string_view line);
  enum class Kind { kNumber, kText, kList, kWord };
  /// Moves to the next pair; false at the end and at anything that is not understood (then
  /// `failed`).
  bool next();
  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] std::string_view key() const { return key_; }
  [[nodiscard]] Kind kind() const { return kind_; }
  /// Digits of a number, text without quotes, a list with its brackets.
  [[nodiscard]] std::string_view value() const { return value_; }

 private:
  bool fail();
  void skip_space();
  bool take(char c);
  bool read_text(std::string_view& out);
  bool read_value();

  std::string_view text_, key_, value_;
  std::size_t at_ = 0;
  Kind kind_ = Kind::kWord;
  bool first_ = true;
  bool failed_ = false;
};

/// The whole numbers of "[1, 2, 3]" into `out`; false if there is anything else in it.
[[nodiscard]] bool parse_whole_list(std::string_view list, std::vector<std::uint64_t>& out);

}  // namespace moesim
