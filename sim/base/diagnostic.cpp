#include "sim/base/diagnostic.h"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <utility>

namespace moesim {
namespace {

/// Control characters written as escapes, so that a message is always one line.
std::string one_line(const std::string& text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      result += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  return result;
}

std::string place_text(const Where& where) {
  std::string result = one_line(where.file);
  if (where.line > 0) result += fmt::format(":{}", where.line);
  if (where.line > 0 && where.column > 0) result += fmt::format(":{}", where.column);
  return result;
}

/// Line `where.line` of the file as it is on disk, or nothing (no such file, a pipe, gzip, zstd).
bool read_line(const Where& where, std::string& line) {
  std::error_code error;
  if (where.line <= 0 || !std::filesystem::is_regular_file(where.file, error)) return false;
  std::ifstream file(where.file, std::ios::binary);
  for (int i = 0; i < where.line; ++i) {
    if (!std::getline(file, line)) return false;
    if (i == 0 && (line.starts_with("\x1f\x8b") || line.starts_with("\x28\xb5\x2f\xfd")))
      return false;
  }
  if (line.ends_with('\r')) line.pop_back();
  return true;
}

bool starts_character(char c) {
  return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U;
}

/// Cuts a long line (minified JSON) to the part around the column, which moves with it.
void cut_around(std::string& line, std::size_t& column) {
  constexpr std::size_t kBefore = 60;
  constexpr std::size_t kWidth = 100;
  if (line.size() > kWidth && column > kBefore && column <= line.size()) {
    std::size_t cut = column - kBefore;
    while (cut < column && !starts_character(line[cut])) ++cut;
    line = "..." + line.substr(cut);
    column = column - cut + 3;
  }
  if (line.size() > kWidth) {
    std::size_t end = kWidth;
    while (end > 0 && !starts_character(line[end])) --end;
    line = line.substr(0, end) + "...";
  }
}

/// "  4 |   mem_bw: 3350" and the caret below the column; empty if the line cannot be had.
std::string excerpt(const Where& where) {
  std::string line;
  if (!read_line(where, line)) return "";
  std::size_t column = static_cast<std::size_t>(std::max(where.column, 1)) - 1;
  cut_around(line, column);
  const std::string margin = fmt::format("{:>3} | ", where.line);
  std::string pad(margin.size() - 2, ' ');
  pad += "| ";
  for (std::size_t i = 0; i < std::min(column, line.size()); ++i) {
    if (starts_character(line[i])) pad += line[i] == '\t' ? '\t' : ' ';
  }
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 && c != '\t') c = '?';
  }
  std::string result = "\n" + margin + line;
  if (where.column > 0) result += "\n" + pad + "^";
  return result;
}

std::string join(const std::vector<Diagnostic>& diagnostics) {
  std::string result;
  for (const Diagnostic& diagnostic : diagnostics) {
    if (!result.empty()) result += "\n";
    result += to_text(diagnostic);
  }
  return result;
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal
/// string alignment). O(|a| |b|).
std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> before(b.size() + 1), previous(b.size() + 1), current(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) previous[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    current[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = previous[j - 1] + (a[i - 1] == b[j - 1] ? 0U : 1U);
      current[j] = std::min({previous[j] + 1, current[j - 1] + 1, replace});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) current[j] = std::min(current[j], before[j - 2] + 1);
    }
    std::swap(before, previous);
    std::swap(previous, current);
  }
  return previous[b.size()];
}

}  // namespace

std::string to_text(const Diagnostic& diagnostic) {
  std::string result = place_text(diagnostic.where);
  if (!result.empty()) result += ": ";
  if (!diagnostic.key.empty()) result += one_line(diagnostic.key) + ": ";
  result += one_line(diagnostic.problem);
  if (!diagnostic.hint.empty()) result += "; " + one_line(diagnostic.hint);
  return result + excerpt(diagnostic.where);
}

InputError::InputError(std::vector<Diagnostic> diagnostics)
    : std::runtime_error(join(diagnostics)), diagnostics_(std::move(diagnostics)) {}

void throw_input_error(Diagnostic diagnostic) {
  std::vector<Diagnostic> list;
  list.push_back(std::move(diagnostic));
  throw InputError(std::move(list));
}

bool Diagnostics::any_at(const std::string& path) const {
  return std::ranges::any_of(list_, [&](const Diagnostic& diagnostic) {
    return path.empty() || diagnostic.key == path || diagnostic.key.starts_with(path + ".");
  });
}

void Diagnostics::throw_if_any() const {
  if (!list_.empty()) throw InputError(list_);
}

std::string nearest_name_hint(const std::string& name, const std::vector<std::string>& known) {
  constexpr std::size_t kLongest = 200;  // beyond any name of ours; bounds the quadratic cost
  constexpr std::size_t kShown = 12;
  if (known.empty()) return "no names are known here";
  const std::string* nearest = nullptr;
  std::size_t best = kLongest;
  for (const std::string& candidate : known) {
    const std::size_t length = std::max(name.size(), candidate.size());
    if (length > kLongest) continue;
    const std::size_t distance = edit_distance(name, candidate);
    if (distance * 3 > length || distance >= best) continue;
    nearest = &candidate;
    best = distance;
  }
  if (nearest != nullptr) return "did you mean '" + *nearest + "'?";
  // A name without its unit: ttft for ttft_ms.
  const auto longer = [&](const std::string& one) { return one.starts_with(name + "_"); };
  if (!name.empty() && std::ranges::count_if(known, longer) == 1)
    return "did you mean '" + *std::ranges::find_if(known, longer) + "'?";
  std::string list;
  for (std::size_t i = 0; i < std::min(known.size(), kShown); ++i) {
    list += (i == 0 ? "" : ", ") + known[i];
  }
  if (known.size() > kShown) list += fmt::format(", ... ({} in all)", known.size());
  return "known: " + list;
}

}  // namespace moesim
