#include <algorithm>
#include <array>
#include <cstddef>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <ostream>
#include <string>
#include <vector>

#include "sim/report/number_text.h"
#include "sim/report/report.h"

namespace moesim {
namespace {

/// Columns of the comparison table; comparison.json has every metric.
struct Column {
  const char* metric;
  const char* title;
};
constexpr std::array kColumns{
    Column{"request_throughput", "req/s"},
    Column{"output_throughput", "tok/s"},
    Column{"p50_ttft_ms", "TTFT p50"},
    Column{"p99_ttft_ms", "TTFT p99"},
    Column{"p50_tpot_ms", "TPOT p50"},
    Column{"p99_tpot_ms", "TPOT p99"},
    Column{"p50_e2el_ms", "E2E p50"},
    Column{"p99_e2el_ms", "E2E p99"},
    Column{"slo_attainment_ratio", "in SLO"},
    Column{"usd_per_million_output_tokens", "USD/Mtok"},
    Column{"weights_gib_per_gpu", "weight GiB"},
    Column{"num_kv_tokens", "KV tokens"},
    Column{"rank_imbalance_by_tokens", "fullest"},
    Column{"dropped_ratio", "dropped"},
    Column{"a2a_kb_per_token_layer", "KB/token"},
    Column{"a2a_kb_per_token_layer_inter", "over net"},
};

const MetricDelta* find_delta(const VariantComparison& variant, const char* metric) {
  const auto found = std::find_if(variant.delta.begin(), variant.delta.end(),
                                  [&](const MetricDelta& delta) { return delta.metric == metric; });
  return found == variant.delta.end() ? nullptr : &*found;
}

/// Columns some variant has.
std::vector<Column> used_columns(const Comparison& comparison) {
  std::vector<Column> columns;
  for (const Column& column : kColumns) {
    const bool used = std::any_of(comparison.variants.begin(), comparison.variants.end(),
                                  [&](const VariantComparison& variant) {
                                    return find_delta(variant, column.metric) != nullptr;
                                  });
    if (used) columns.push_back(column);
  }
  return columns;
}

std::string value_text(const MetricDelta& delta, double value) {
  return delta.metric.ends_with("_ratio") ? percent(value) : short_number(value);
}

/// Whether chance may play a part, and nothing says how much.
bool lacks_interval(const MetricDelta& delta) {
  return !delta.exact && delta.abs != 0 && !delta.significant;
}

/// Whether it may be chance alone. No difference under any requests and step times is none.
bool may_be_chance(const MetricDelta& delta) {
  const bool nothing = delta.abs == 0 && delta.p10 == 0.0 && delta.p90 == 0.0;
  return !nothing && !delta.significant.value_or(true);
}

/// "+12.3 %"; "~" stands before a difference that may be chance, "?" before one without interval.
std::string change_text(const MetricDelta& delta) {
  if (!delta.rel) return "";
  const char* mark = lacks_interval(delta) ? "?" : may_be_chance(delta) ? "~" : "";
  return fmt::format("{}{:+.1f} %", mark, *delta.rel * 100);
}

/// The comparison table: its columns, and how wide the names beside them are.
struct Table {
  std::vector<Column> columns;
  std::size_t name_width = 20;
};

Table table_of(const Comparison& comparison) {
  Table table{used_columns(comparison)};
  table.name_width = std::max(table.name_width, comparison.baseline.size());
  for (const VariantComparison& variant : comparison.variants)
    table.name_width = std::max(table.name_width, variant.name.size());
  return table;
}

bool any_lacks_interval(const Comparison& comparison, const Table& table) {
  for (const VariantComparison& variant : comparison.variants) {
    for (const Column& column : table.columns) {
      const MetricDelta* delta = find_delta(variant, column.metric);
      if (delta != nullptr && delta->rel && lacks_interval(*delta)) return true;
    }
  }
  return false;
}

/// One row: a name, then a cell for every column.
template <class Cell>
void write_cells(const std::string& name, const Table& table, const Cell& cell, std::ostream& out) {
  out << fmt::format("{:<{}}", name, table.name_width);
  for (const Column& column : table.columns) out << fmt::format(" {:>10}", cell(column));
  out << '\n';
}

void write_variant(const VariantComparison& variant, const Table& table, std::ostream& out) {
  const auto cell = [&](const Column& column, auto&& text) {
    const MetricDelta* delta = find_delta(variant, column.metric);
    return delta == nullptr ? std::string("-") : text(*delta);
  };
  if (!variant.infeasible.empty()) {
    out << fmt::format("{:<{}} does not fit: {}\n", variant.name, table.name_width,
                       variant.infeasible);
  } else {
    write_cells(
        variant.name, table,
        [&](const Column& column) {
          return cell(column,
                      [](const MetricDelta& delta) { return value_text(delta, delta.variant); });
        },
        out);
    write_cells(
        "", table, [&](const Column& column) { return cell(column, change_text); }, out);
  }
  for (const Change& change : variant.changes) {
    out << fmt::format("  {}: {} -> {}\n", change.path, change.from.value_or("(not set)"),
                       change.to);
  }
}

/// Whether a change makes other requests of other lengths, not the same at other times.
bool makes_requests(const Change& change) {
  if (change.path == "seed" || change.path == "workload" || change.path == "workload.trace")
    return true;
  for (const char* key : {"workload.trace.path", "workload.trace.start_s", "workload.trace.end_s",
                          "workload.synthetic"}) {
    if (change.path.starts_with(key)) return true;
  }
  return false;
}

/// "variants on the same requests", and which are not.
std::string title(const Comparison& comparison) {
  std::vector<std::string> others;
  for (const VariantComparison& variant : comparison.variants) {
    if (std::ranges::any_of(variant.changes, makes_requests)) others.push_back(variant.name);
  }
  if (others.empty()) return "variants on the same requests";
  if (others.size() == comparison.variants.size()) return "variants on requests of their own";
  return fmt::format("variants on the same requests, but {} on others", fmt::join(others, ", "));
}

}  // namespace

void write_text(const Comparison& comparison, std::ostream& out) {
  if (comparison.variants.empty()) return;
  const Table table = table_of(comparison);
  out << fmt::format("\n{} (ms; ~ = may be chance{})\n", title(comparison),
                     any_lacks_interval(comparison, table) ? "; ? = no interval" : "");
  write_cells(
      "", table, [](const Column& column) { return column.title; }, out);
  const auto base_value = [&](const Column& column) {
    for (const VariantComparison& variant : comparison.variants) {
      const MetricDelta* delta = find_delta(variant, column.metric);
      if (delta != nullptr) return value_text(*delta, delta->base);
    }
    return std::string("-");
  };
  if (!table.columns.empty()) write_cells(comparison.baseline, table, base_value, out);
  for (const VariantComparison& variant : comparison.variants) write_variant(variant, table, out);
}

}  // namespace moesim
