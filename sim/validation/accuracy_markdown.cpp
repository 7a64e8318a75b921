// A comparison as a section of ACCURACY.md.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <ostream>

#include "sim/report/report.h"
#include "sim/validation/accuracy_report.h"
#include "sim/validation/accuracy_tables.h"

namespace moesim {
namespace {

/// A bar in a cell would end it.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

void write_line(const std::vector<std::string>& cells, std::ostream& out) {
  out << '|';
  for (const std::string& text : cells) out << ' ' << cell(text) << " |";
  out << '\n';
}

}  // namespace

void write_markdown(const Validation& validation, const AccuracyTitle& title, std::ostream& out) {
  out << "## " << title.what << "\n\nmoesim " << tool_version();
  if (!title.data.empty()) out << "; " << title.data;
  out << ". Errors are (predicted - measured) / measured; |e| is their size.\n";
  if (const std::string note = interruption(validation); !note.empty())
    out << "\n**" << note << "**\n";
  for (const ReportTable& table : report_tables(validation)) {
    out << "\n### " << table.title << "\n\n";
    write_line(table.header, out);
    out << '|';
    for (std::size_t i = 0; i < table.header.size(); ++i) out << (i == 0 ? " --- |" : " ---: |");
    out << '\n';
    for (const std::vector<std::string>& row : table.rows) write_line(row, out);
  }
}

}  // namespace moesim
