// A comparison as one self-contained page: no scripts, no outside files.
#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <limits>
#include <ostream>
#include <set>
#include <string_view>
#include <tuple>

#include "sim/report/report.h"
#include "sim/validation/accuracy_report.h"
#include "sim/validation/accuracy_tables.h"

namespace moesim {
namespace {

constexpr const char* kHead = R"(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>moesim validation</title><style>
body{font:14px/1.45 system-ui,sans-serif;margin:2em auto;max-width:72em;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:.5em 0 1.5em}th,td{padding:.15em .8em;text-align:right}
th{border-bottom:1px solid #888}td:first-child,th:first-child{text-align:left}
tr:nth-child(even) td{background:#f5f5f5}.plots{display:flex;flex-wrap:wrap;gap:1em}
figure{margin:0}figcaption{text-align:center}.moe{fill:#1f6fb4}.dense{fill:#d9822b}
circle{fill-opacity:.55}.out{fill:none;stroke:#999}svg text{font-size:11px;fill:#555}
.axis{stroke:#bbb}.equal{stroke:#555}.twice{stroke:#bbb;stroke-dasharray:4 3}
</style></head><body>
)";

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      out += c;
    }
  }
  return out;
}

/// A table, row by row.
class Table {
 public:
  Table(std::ostream& out, const std::string& title, const std::vector<std::string>& header)
      : out_(out) {
    out_ << "<h2>" << escaped(title) << "</h2>\n<table><tr>";
    for (const std::string& cell : header) out_ << "<th>" << escaped(cell) << "</th>";
    out_ << "</tr>\n";
  }
  ~Table() { out_ << "</table>\n"; }
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;
  void row(const std::vector<std::string>& cells) {
    out_ << "<tr>";
    for (const std::string& cell : cells) out_ << "<td>" << escaped(cell) << "</td>";
    out_ << "</tr>\n";
  }

 private:
  std::ostream& out_;
};

/// One scatter plot on logarithmic axes, the same for both.
class Scatter {
 public:
  Scatter(const Validation& validation, const std::string& metric) : metric_(metric) {
    for (const ComparedValue& row : validation.rows) {
      if (row.metric != metric || row.measured <= 0 || row.predicted <= 0) continue;
      points_.push_back(&row);
      low_ = std::min({low_, row.measured, row.predicted});
      high_ = std::max({high_, row.measured, row.predicted});
    }
    low_ = std::floor(std::log10(low_));
    high_ = std::max(std::ceil(std::log10(high_)), low_ + 1);
  }

  void write(std::ostream& out) const {
    if (points_.empty()) return;
    const bool crowded = points_.size() > kNamedPoints;
    out << fmt::format("<figure><svg width=\"{0}\" height=\"{0}\" role=\"img\">\n",
                       kSide + 2 * kMargin);
    write_axes(out);
    if (crowded) {
      write_thinned(out);
    } else {
      for (const ComparedValue* point : points_) write_point(*point, out);
    }
    out << fmt::format("</svg><figcaption>{} ({} values{})</figcaption></figure>\n",
                       escaped(metric_), points_.size(),
                       crowded ? "; those within a pixel of each other drawn once" : "");
  }

 private:
  static constexpr double kSide = 300, kMargin = 42;
  static constexpr std::size_t kNamedPoints = 5000;  ///< with more, nobody can point at one

  [[nodiscard]] double along(double value) const {
    return (std::log10(value) - low_) / (high_ - low_) * kSide;
  }
  [[nodiscard]] double x(double value) const { return kMargin + along(value); }
  [[nodiscard]] double y(double value) const { return kMargin + kSide - along(value); }

  void write_axes(std::ostream& out) const {
    for (double exponent = low_; exponent <= high_; ++exponent) {
      const double at = std::pow(10, exponent);
      out << fmt::format(
          "<line class=\"axis\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{2:.1f}\" y2=\"{3:.1f}\"/>"
          "<line class=\"axis\" x1=\"{2:.1f}\" x2=\"{3:.1f}\" y1=\"{1:.1f}\" y2=\"{1:.1f}\"/>"
          "<text x=\"{0:.1f}\" y=\"{4:.1f}\" text-anchor=\"middle\">{5:g}</text>"
          "<text x=\"{6:.1f}\" y=\"{1:.1f}\" text-anchor=\"end\">{5:g}</text>\n",
          x(at), y(at), kMargin, kMargin + kSide, kMargin + kSide + 14, at, kMargin - 4);
    }
    const double low = std::pow(10, low_), high = std::pow(10, high_);
    write_line("equal", low, low, high, high, out);
    write_line("twice", low, 2 * low, high / 2, high, out);
    write_line("twice", 2 * low, low, high, high / 2, out);
    const double middle = kMargin + kSide / 2;
    out << fmt::format(
        "<text x=\"{0:.0f}\" y=\"{1:.0f}\" text-anchor=\"middle\">measured</text>"
        "<text transform=\"translate(10 {0:.0f}) rotate(-90)\" text-anchor=\"middle\">predicted"
        "</text>\n",
        middle, kSide + 2 * kMargin - 10);
  }

  void write_line(const char* kind, double x1, double y1, double x2, double y2,
                  std::ostream& out) const {
    out << fmt::format(
        "<line class=\"{}\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n", kind,
        x(x1), y(y1), x(x2), y(y2));
  }

  static const char* kind_of(const ComparedValue& row) {
    return !row.left_out.empty() ? "out" : row.moe ? "moe" : "dense";
  }

  /// One mark a class and pixel, without names: as many as the plot is large, not as there are
  /// rows.
  void write_thinned(std::ostream& out) const {
    std::set<std::tuple<std::string_view, long, long>> pixels;
    for (const ComparedValue* row : points_)
      pixels.emplace(kind_of(*row), std::lround(x(row->measured)), std::lround(y(row->predicted)));
    for (const auto& [kind, px, py] : pixels)
      out << fmt::format("<circle class=\"{}\" cx=\"{}\" cy=\"{}\" r=\"1\"/>\n", kind, px, py);
  }

  void write_point(const ComparedValue& row, std::ostream& out) const {
    const char* const kind = kind_of(row);
    out << fmt::format(
        "<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\"><title>{}"
        "</title></circle>\n",
        kind, x(row.measured), y(row.predicted), escaped(row.id));
  }

  std::string metric_;
  std::vector<const ComparedValue*> points_;
  double low_ = std::numeric_limits<double>::max(), high_ = 0;
};

std::vector<std::string> metrics_of(const Validation& validation) {
  std::vector<std::string> metrics;
  for (const ComparedValue& row : validation.rows) {
    if (std::ranges::find(metrics, row.metric) == metrics.end()) metrics.push_back(row.metric);
  }
  return metrics;
}

void write_plots(const Validation& validation, std::ostream& out) {
  out << "<h2>Predicted against measured</h2>\n<p><svg width=\"10\" height=\"10\"><circle "
         "class=\"moe\" cx=\"5\" cy=\"5\" r=\"4\"/></svg> MoE <svg width=\"10\" "
         "height=\"10\"><circle class=\"dense\" cx=\"5\" cy=\"5\" r=\"4\"/></svg> dense; hollow: "
         "in no group; dashed: a factor of two.</p>\n<div class=\"plots\">\n";
  for (const std::string& metric : metrics_of(validation)) {
    if (metric != "fits") Scatter(validation, metric).write(out);
  }
  out << "</div>\n";
}

void write_tables(const Validation& validation, std::ostream& out) {
  for (const ReportTable& content : report_tables(validation)) {
    Table table(out, content.title, content.header);
    for (const std::vector<std::string>& row : content.rows) table.row(row);
  }
}

}  // namespace

void write_html(const Validation& validation, const AccuracyTitle& title, std::ostream& out) {
  out << kHead << "<h1>" << escaped(title.what) << "</h1>\n<p>moesim " << tool_version();
  if (!title.data.empty()) out << "; " << escaped(title.data);
  out << ". Errors are (predicted - measured) / measured; |e| is their size.</p>\n";
  if (const std::string note = interruption(validation); !note.empty())
    out << "<p><strong>" << note << "</strong></p>\n";
  write_plots(validation, out);
  write_tables(validation, out);
  out << "</body></html>\n";
}

}  // namespace moesim
