#pragma once

#include <iosfwd>
#include <string>

#include "sim/validation/accuracy.h"

namespace moesim {

// Writers of a comparison: one format a file, from plain data only.

/// The document of commands.md "moesim validate"; doubles have at most six significant digits.
void write_json(const Validation& validation, std::ostream& out);

/// Start-up memory row by row; groups, rank correlations and coverage; why rows are left out.
void write_text(const Validation& validation, std::ostream& out);
/// A table a run: its statistics, and the error of the peer that predicted it too.
void write_runs_text(const Validation& validation, std::ostream& out);

/// What the pages say of themselves.
struct AccuracyTitle {
  std::string what;  ///< "Published operating points"
  std::string data;  ///< what was read, in words; may be empty
};
/// One self-contained page: the tables, and predicted against measured as inline SVG.
void write_html(const Validation& validation, const AccuracyTitle& title, std::ostream& out);
/// A section of ACCURACY.md: the same tables without the plots.
void write_markdown(const Validation& validation, const AccuracyTitle& title, std::ostream& out);

}  // namespace moesim
