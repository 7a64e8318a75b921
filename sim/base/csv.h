#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/base/diagnostic.h"

namespace moesim {

/// One row of a table: its cells without quotes, and where each begins.
struct CsvRow {
  struct Cell {
    std::string text;
    int line = 0;
    int column = 0;  ///< of its first byte, the quote included
  };
  std::vector<Cell> cells;
};

/// A CSV table with a header (RFC 4180: commas, double quotes, line ends inside quotes). Strict: a
/// quote inside a bare cell, text after a closing quote, a column without a name or named twice and
/// a row of another length than the header are mistakes. Blank lines and a byte order mark are
/// skipped. Not for traces of millions of rows, which scenarios/trace_text.h reads without copying.
class CsvTable {
 public:
  /// Throws InputError with the first 20 mistakes.
  [[nodiscard]] static CsvTable parse(std::string_view text, const std::string& file_name);

  /// A table made of another; cells keep the places they had there. Every row is as long as the
  /// header, and no name stands twice in it.
  CsvTable(std::string file_name, std::vector<std::string> header, std::vector<CsvRow> rows)
      : file_name_(std::move(file_name)), header_(std::move(header)), rows_(std::move(rows)) {}

  [[nodiscard]] const std::string& file_name() const { return file_name_; }
  [[nodiscard]] const std::vector<std::string>& header() const { return header_; }
  [[nodiscard]] const std::vector<CsvRow>& rows() const { return rows_; }
  /// The place of a column in every row, if the table has it.
  [[nodiscard]] std::optional<std::size_t> column(std::string_view name) const;
  /// Where a cell stands, for a diagnostic.
  [[nodiscard]] Where where(const CsvRow::Cell& cell) const;

 private:
  CsvTable() = default;
  std::string file_name_;
  std::vector<std::string> header_;
  std::vector<CsvRow> rows_;
};

}  // namespace moesim
