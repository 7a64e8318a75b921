#include "sim/validation/memory_rows.h"

#include <array>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sim/validation/row_reader.h"

namespace moesim {
namespace {

constexpr std::array kRequired = {"id", "gpu", "model", "is_moe", "engine", "tp"};
constexpr std::array kOptional = {"source_date",
                                  "engine_version",
                                  "weight_dtype",
                                  "kv_dtype",
                                  "pp",
                                  "ep",
                                  "attention_dp",
                                  "mem_fraction",
                                  "max_model_len",
                                  "max_num_seqs",
                                  "max_batched_tokens",
                                  "block_size",
                                  "weights_per_gpu",
                                  "weights_unit",
                                  "kv_per_gpu",
                                  "kv_unit",
                                  "kv_tokens"};
/// Columns of the shared tables that nothing here needs.
constexpr std::array kUnread = {"source",
                                "trust",
                                "n_gpus",
                                "mem_avail_before_load_gb",
                                "mem_avail_after_load_gb",
                                "activation_peak_gib",
                                "non_torch_gib",
                                "cuda_graph_gib",
                                "kv_blocks",
                                "notes"};

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

std::vector<std::string> memory_columns() {
  std::vector<std::string> columns(kRequired.begin(), kRequired.end());
  columns.insert(columns.end(), kOptional.begin(), kOptional.end());
  columns.insert(columns.end(), kUnread.begin(), kUnread.end());
  return columns;
}

std::vector<MemoryRow> read_memory_rows(const CsvTable& table) {
  Diagnostics diagnostics;
  check_columns(table, {kRequired.begin(), kRequired.end()},
                fmt::format("a memory table has the columns {}", fmt::join(kRequired, ", ")),
                diagnostics);
  diagnostics.throw_if_any();
  check_ids(table, diagnostics);
  std::vector<MemoryRow> rows;
  for (const CsvRow& cells : table.rows()) {
    RowReader in(table, cells, diagnostics);
    rows.push_back(read_row(in));
  }
  diagnostics.throw_if_any();
  return rows;
}

}  // namespace moesim
