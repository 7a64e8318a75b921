#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

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
  /// Of a cell; of its row if there is no such column.
  [[nodiscard]] Where where(const char* column) const;

 private:
  [[nodiscard]] const CsvRow::Cell* find(const char* column) const;

  const CsvTable& table_;
  const CsvRow& row_;
  Diagnostics& diagnostics_;
};

/// Notes each of `required` that is no column of the table, with `hint`, and a table without rows.
void check_columns(const CsvTable& table, const std::vector<std::string>& required,
                   const std::string& hint, Diagnostics& diagnostics);

/// Notes rows without an id.
void check_ids(const CsvTable& table, Diagnostics& diagnostics);
/// A sentence for every second row of an id, with its place.
[[nodiscard]] std::vector<std::string> repeated_ids(const CsvTable& table);

/// What to say of columns that look like a misspelling of one of `known` that the table lacks: a
/// sentence each, with the file. Real tables have columns of their own, so others are not named.
[[nodiscard]] std::vector<std::string> misspelt_columns(const CsvTable& table,
                                                        const std::vector<std::string>& known);

/// A number at the start of a text, after words that only say how sure it is; with only a remark
/// behind it.
[[nodiscard]] std::optional<double> leading_number(std::string_view text);

}  // namespace moesim
