#include "sim/base/csv.h"

#include <algorithm>
#include <fmt/format.h>
#include <utility>

namespace moesim {
namespace {

constexpr std::size_t kMostMistakes = 20;

/// Cuts a text into rows. After a mistake it goes on where the next row can begin.
class Cutter {
 public:
  Cutter(std::string_view text, std::string file) : rest_(text), file_(std::move(file)) {
    constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
    if (rest_.starts_with(kByteOrderMark)) rest_.remove_prefix(kByteOrderMark.size());
  }

  /// The next row that is not blank; nothing at the end.
  std::optional<CsvRow> next() {
    while (take_line_end()) {
    }
    if (rest_.empty()) return std::nullopt;
    damaged_ = false;
    CsvRow row;
    do {
      row.cells.push_back(cell());
    } while (take(','));
    if (!rest_.empty() && !take_line_end()) skip_line();
    return row;
  }

  /// Whether the last row had a mistake, so that its cells mean nothing.
  [[nodiscard]] bool damaged() const { return damaged_; }

  void mistake(int line, int column, std::string problem, std::string hint) {
    damaged_ = true;
    if (mistakes_.size() >= kMostMistakes) return;
    mistakes_.push_back({{file_, line, column}, "", std::move(problem), std::move(hint)});
  }
  void throw_if_any() {
    if (!mistakes_.empty()) throw InputError(std::move(mistakes_));
  }

 private:
  bool take(char c) {
    if (!rest_.starts_with(c)) return false;
    step();
    return true;
  }

  bool take_line_end() {
    if (!rest_.starts_with('\n') && !rest_.starts_with('\r')) return false;
    if (rest_.starts_with("\r\n")) rest_.remove_prefix(1);
    rest_.remove_prefix(1);
    ++line_;
    column_ = 1;
    return true;
  }

  char step() {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    ++column_;
    return c;
  }

  void skip_line() {
    while (!rest_.empty() && !take_line_end()) step();
  }

  [[nodiscard]] bool at_cell_end() const {
    return rest_.empty() || rest_.front() == ',' || rest_.front() == '\n' || rest_.front() == '\r';
  }

  CsvRow::Cell cell() {
    CsvRow::Cell cell{"", line_, column_};
    if (take('"')) {
      quoted(cell);
      return cell;
    }
    while (!at_cell_end()) {
      if (rest_.front() == '"') {
        mistake(line_, column_, "a quote inside a cell without quotes",
                "put the whole cell in quotes and double the quotes inside it");
        skip_cell();
        break;
      }
      cell.text += step();
    }
    return cell;
  }

  void quoted(CsvRow::Cell& cell) {
    for (;;) {
      if (rest_.empty()) {
        mistake(cell.line, cell.column, "a quote is never closed", "close it");
        return;
      }
      if (take('"')) {
        if (!take('"')) break;
        cell.text += '"';
      } else if (take_line_end()) {
        cell.text += '\n';
      } else {
        cell.text += step();
      }
    }
    if (at_cell_end()) return;
    mistake(line_, column_, "text after a closing quote", "double the quotes inside the cell");
    skip_cell();
  }

  void skip_cell() {
    while (!at_cell_end()) step();
  }

  std::string_view rest_;
  std::string file_;
  int line_ = 1;
  int column_ = 1;
  bool damaged_ = false;
  std::vector<Diagnostic> mistakes_;
};

std::vector<std::string> read_header(const CsvRow& row, Cutter& cutter) {
  std::vector<std::string> names;
  for (const CsvRow::Cell& cell : row.cells) {
    if (cell.text.empty()) {
      cutter.mistake(cell.line, cell.column, "a column without a name", "name every column");
    } else if (std::ranges::find(names, cell.text) != names.end()) {
      cutter.mistake(cell.line, cell.column, fmt::format("a second column '{}'", cell.text),
                     "remove one of the two");
    }
    names.push_back(cell.text);
  }
  return names;
}

}  // namespace

CsvTable CsvTable::parse(std::string_view text, const std::string& file_name) {
  CsvTable table;
  table.file_name_ = file_name;
  Cutter cutter(text, file_name);
  std::optional<CsvRow> row = cutter.next();
  if (!row) cutter.mistake(1, 1, "the table is empty", "write a header and the rows below it");
  if (row) table.header_ = read_header(*row, cutter);
  while ((row = cutter.next())) {
    const CsvRow::Cell& first = row->cells.front();
    if (!cutter.damaged() && row->cells.size() != table.header_.size()) {
      cutter.mistake(
          first.line, first.column,
          fmt::format("{} cells, the header has {}", row->cells.size(), table.header_.size()),
          "a row has one cell a column; put a cell with commas in quotes");
    }
    table.rows_.push_back(std::move(*row));
  }
  cutter.throw_if_any();
  return table;
}

std::optional<std::size_t> CsvTable::column(std::string_view name) const {
  const auto found = std::ranges::find(header_, name);
  if (found == header_.end()) return std::nullopt;
  return static_cast<std::size_t>(found - header_.begin());
}

Where CsvTable::where(const CsvRow::Cell& cell) const {
  return {file_name_, cell.line, cell.column};
}

}  // namespace moesim
