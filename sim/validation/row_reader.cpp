#include "sim/validation/row_reader.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <set>
#include <string_view>

namespace moesim {
namespace {

constexpr std::string_view kNotStated = "not stated";

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

std::string without_digits(std::string text) {
  std::erase_if(text, [](char c) { return c >= '0' && c <= '9'; });
  return text;
}

}  // namespace

void check_columns(const CsvTable& table, const std::vector<std::string>& required,
                   const std::string& hint, Diagnostics& diagnostics) {
  for (const std::string& name : required) {
    if (!table.column(name))
      diagnostics.add({{table.file_name(), 1, 1}, name, "missing column", hint});
  }
  if (table.rows().empty()) {
    diagnostics.add({{table.file_name(), 1, 1},
                     "",
                     "no rows below the header",
                     "write a row for each measurement, or leave the file out"});
  }
}

void check_ids(const CsvTable& table, Diagnostics& diagnostics) {
  for (const CsvRow& cells : table.rows()) {
    RowReader row(table, cells, diagnostics);
    if (row.text("id").empty()) row.fail("id", "a row without an id", "name it");
  }
}

std::vector<std::string> repeated_ids(const CsvTable& table) {
  std::set<std::string> ids;
  Diagnostics unused;  // texts are never refused
  std::vector<std::string> sentences;
  for (const CsvRow& cells : table.rows()) {
    RowReader row(table, cells, unused);
    const std::string id = row.text("id");
    if (ids.insert(id).second) continue;
    sentences.push_back(fmt::format("{}:{}: id: a second row '{}'; both are compared",
                                    table.file_name(), row.where("id").line, id));
  }
  return sentences;
}

std::vector<std::string> misspelt_columns(const CsvTable& table,
                                          const std::vector<std::string>& known) {
  std::vector<std::string> absent, warnings;
  for (const std::string& name : known) {
    if (!table.column(name)) absent.push_back(name);
  }
  for (const std::string& column : table.header()) {
    // "tpot_ms_p95" is no misspelling of "tpot_ms_p90", nor of anything else.
    const bool sibling = std::ranges::any_of(known, [&](const std::string& name) {
      return without_digits(name) == without_digits(column);
    });
    if (sibling) continue;
    const std::string hint = nearest_name_hint(column, absent);
    if (!hint.starts_with("did you mean")) continue;
    warnings.push_back(
        fmt::format("{}:1: {}: unknown column, not read; {}", table.file_name(), column, hint));
  }
  return warnings;
}

std::optional<double> leading_number(std::string_view text) {
  for (const std::string_view word : {"model default", "default", "about", "~"}) {
    if (text.starts_with(word)) text = trimmed(text.substr(word.size()));
  }
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || !std::isfinite(value)) return std::nullopt;
  const std::string_view rest = trimmed({stop, end});
  if (!rest.empty() && !rest.starts_with('(') && !rest.starts_with(',')) return std::nullopt;
  return value;
}

std::string RowReader::text(const char* column) const {
  const CsvRow::Cell* const cell = find(column);
  if (cell == nullptr || cell->text.starts_with(kNotStated)) return "";
  return std::string(trimmed(cell->text));
}

std::optional<double> RowReader::number(const char* column, Range range) {
  const std::string value = text(column);
  if (value.empty()) return std::nullopt;
  const std::optional<double> result = leading_number(value);
  if (!result) {
    fail(column, fmt::format("'{}' is not a number", value),
         "write a number, with a remark in brackets after it, or leave the cell empty");
  } else if (*result < range.min || *result > range.max) {
    fail(column, fmt::format("{:g} is outside {:g} to {:g}", *result, range.min, range.max),
         "check the unit");
    return std::nullopt;
  }
  return result;
}

std::optional<int> RowReader::whole(const char* column, Range range) {
  const std::optional<double> value = number(column, range);
  if (!value) return std::nullopt;
  if (*value != std::floor(*value)) {
    fail(column, fmt::format("{:g} is not a whole number", *value), "write a whole number");
    return std::nullopt;
  }
  return static_cast<int>(*value);
}

bool RowReader::flag(const char* column) {
  const std::string value = text(column);
  if (value != "0" && value != "1")
    fail(column, fmt::format("'{}' is not 0 or 1", value), "write 0 or 1");
  return value == "1";
}

void RowReader::fail(const char* column, const std::string& problem, const std::string& hint) {
  diagnostics_.add({where(column), column, problem, hint});
}

Where RowReader::where(const char* column) const {
  const CsvRow::Cell* const cell = find(column);
  return table_.where(cell == nullptr ? row_.cells.front() : *cell);
}

const CsvRow::Cell* RowReader::find(const char* column) const {
  const std::optional<std::size_t> place = table_.column(column);
  return place ? &row_.cells[*place] : nullptr;
}

}  // namespace moesim
