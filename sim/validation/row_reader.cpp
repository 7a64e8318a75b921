#include "sim/validation/row_reader.h"

#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <string_view>

namespace moesim {
namespace {

constexpr std::string_view kNotStated = "not stated";

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

}  // namespace

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
  const CsvRow::Cell* const cell = find(column);
  diagnostics_.add(
      {table_.where(cell == nullptr ? row_.cells.front() : *cell), column, problem, hint});
}

const CsvRow::Cell* RowReader::find(const char* column) const {
  const std::optional<std::size_t> place = table_.column(column);
  return place ? &row_.cells[*place] : nullptr;
}

}  // namespace moesim
