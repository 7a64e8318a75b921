#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sim/base/csv.h"
#include "sim/base/reader.h"

namespace moesim {

/// Reads the cells of one row of a measurement table by column name. Numbers may have words around
/// them ("~0.10.1", "145 (approximate)", "model default 40960"), as people wrote them down; a cell
/// that is empty, or says "not stated", is nothing. Mistakes go to the diagnostics.
class RowReader {
 public:
  RowReader(const CsvTable& table, const CsvRow& row, Diagnostics& diagnostics)
      : table_(table), row_(row), diagnostics_(diagnostics) {}

  [[nodiscard]] std::string text(const char* column) const;
  std::optional<double> number(const char* column, Range range);
  std::optional<int> whole(const char* column, Range range);
  /// 0 or 1.
  bool flag(const char* column);
  void fail(const char* column, const std::string& problem, const std::string& hint);

 private:
  [[nodiscard]] const CsvRow::Cell* find(const char* column) const;

  const CsvTable& table_;
  const CsvRow& row_;
  Diagnostics& diagnostics_;
};

/// A number at the start of a text, after words that only say how sure it is; with only a remark
/// behind it.
[[nodiscard]] std::optional<double> leading_number(std::string_view text);

}  // namespace moesim
