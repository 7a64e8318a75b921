#include "sim/validation/memory_rows.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <set>
#include <string_view>

#include "sim/base/reader.h"

namespace moesim {
namespace {

constexpr std::array kRequired = {"id", "gpu", "model", "is_moe", "engine", "tp"};
constexpr std::string_view kNotStated = "not stated";

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

/// A number at the start of a text, after words that only say how sure it is; with only a remark
/// behind it.
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

/// Reads the cells of one row by column name; mistakes go to the diagnostics.
class RowReader {
 public:
  RowReader(const CsvTable& table, const CsvRow& row, Diagnostics& diagnostics)
      : table_(table), row_(row), diagnostics_(diagnostics) {}

  [[nodiscard]] std::string text(const char* column) const {
    const CsvRow::Cell* const cell = find(column);
    if (cell == nullptr || cell->text.starts_with(kNotStated)) return "";
    return std::string(trimmed(cell->text));
  }

  std::optional<double> number(const char* column, Range range) {
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

  std::optional<int> whole(const char* column, Range range) {
    const std::optional<double> value = number(column, range);
    if (!value) return std::nullopt;
    if (*value != std::floor(*value)) {
      fail(column, fmt::format("{:g} is not a whole number", *value), "write a whole number");
      return std::nullopt;
    }
    return static_cast<int>(*value);
  }

  /// 0 or 1.
  bool flag(const char* column) {
    const std::string value = text(column);
    if (value != "0" && value != "1")
      fail(column, fmt::format("'{}' is not 0 or 1", value), "write 0 or 1");
    return value == "1";
  }

  void fail(const char* column, const std::string& problem, const std::string& hint) {
    const CsvRow::Cell* const cell = find(column);
    diagnostics_.add(
        {table_.where(cell == nullptr ? row_.cells.front() : *cell), column, problem, hint});
  }

 private:
  [[nodiscard]] const CsvRow::Cell* find(const char* column) const {
    const std::optional<std::size_t> place = table_.column(column);
    return place ? &row_.cells[*place] : nullptr;
  }

  const CsvTable& table_;
  const CsvRow& row_;
  Diagnostics& diagnostics_;
};

/// Old vLLM and SGLang print "GB" but divide by 2^30; the table says so where it knows.
std::optional<double> in_gib(RowReader& in, const char* column, const char* unit_column,
                             std::vector<std::string>& unclear) {
  const std::optional<double> value = in.number(column, {.min = -1e4, .max = 1e4});
  const std::string unit = in.text(unit_column);
  if (!value || unit.empty() || unit.find("GiB") != std::string::npos) return value;
  unclear.push_back(fmt::format("{} is in '{}', not GiB", column, unit));
  return std::nullopt;
}

MemoryRow read_row(RowReader& in) {
  constexpr Range kRanks{.min = 1, .max = 4096};
  constexpr Range kTokens{.min = 1, .max = 1e8};
  MemoryRow row;
  row.id = in.text("id");
  if (row.id.empty()) in.fail("id", "a row without an id", "name it");
  row.date = in.text("source_date");
  row.gpu = in.text("gpu");
  row.model = in.text("model");
  row.engine = in.text("engine");
  row.version = in.text("engine_version");
  row.weight_dtype = in.text("weight_dtype");
  row.kv_dtype = in.text("kv_dtype");
  row.moe = in.flag("is_moe");
  row.tp = in.whole("tp", kRanks);
  row.pp = in.whole("pp", kRanks);
  row.ep = in.whole("ep", kRanks);
  row.attention_dp = in.whole("attention_dp", kRanks);
  row.utilization = in.number("mem_fraction", {.min = 0.01, .max = 1});
  row.max_model_len = in.whole("max_model_len", kTokens);
  row.max_num_seqs = in.whole("max_num_seqs", kTokens);
  row.max_num_batched_tokens = in.whole("max_batched_tokens", kTokens);
  row.block_size = in.whole("block_size", kTokens);
  row.weights_gib = in_gib(in, "weights_per_gpu", "weights_unit", row.unclear);
  row.kv_gib = in_gib(in, "kv_per_gpu", "kv_unit", row.unclear);
  row.kv_tokens = in.number("kv_tokens", {.min = 1, .max = 1e12});
  return row;
}

}  // namespace

bool is_memory_table(const CsvTable& table) {
  return table.column("weights_per_gpu") || table.column("kv_tokens");
}

std::vector<MemoryRow> read_memory_rows(const CsvTable& table) {
  Diagnostics diagnostics;
  for (const char* name : kRequired) {
    if (table.column(name)) continue;
    diagnostics.add({{table.file_name(), 1, 1},
                     name,
                     "missing column",
                     fmt::format("a memory table has the columns {}", fmt::join(kRequired, ", "))});
  }
  diagnostics.throw_if_any();
  std::vector<MemoryRow> rows;
  std::set<std::string> ids;
  for (const CsvRow& cells : table.rows()) {
    RowReader in(table, cells, diagnostics);
    MemoryRow row = read_row(in);
    if (!row.id.empty() && !ids.insert(row.id).second)
      in.fail("id", fmt::format("a second row '{}'", row.id), "give every row its own id");
    rows.push_back(std::move(row));
  }
  diagnostics.throw_if_any();
  return rows;
}

}  // namespace moesim
