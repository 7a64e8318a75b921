#include "sim/validation/memory_rows.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <set>

#include "sim/validation/row_reader.h"

namespace moesim {
namespace {

constexpr std::array kRequired = {"id", "gpu", "model", "is_moe", "engine", "tp"};

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
