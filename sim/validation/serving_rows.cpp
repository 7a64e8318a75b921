#include "sim/validation/serving_rows.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <string_view>
#include <utility>

#include "sim/validation/row_reader.h"

namespace moesim {
namespace {

/// What a number must be.
struct Kind {
  double most;
  bool whole;
  const char* words;
};
constexpr Kind kCount{1e9, true, "a whole number above 0"};
constexpr Kind kTokens{1e8, false, "a number above 0"};  // means are none of whole tokens
constexpr Kind kAmount{1e15, false, "a number above 0"};
constexpr Kind kShare{1, false, "a share above 0, at most 1"};

/// Why a value is none of a kind, as the end of a sentence; empty if it is one.
std::string objection(const Kind& kind, std::optional<double> value) {
  if (!value || *value <= 0 || (kind.whole && *value != std::floor(*value)))
    return fmt::format("is not {}", kind.words);
  return *value <= kind.most ? "" : fmt::format("is above {:g}", kind.most);
}

/// Reads cells that people wrote: what cannot be read makes its row unusable, not the table.
class Cells {
 public:
  Cells(const CsvTable& table, const CsvRow& row, std::vector<std::string>& unclear)
      : reader_(table, row, unused_), unclear_(unclear) {}

  [[nodiscard]] std::string text(const char* column) const { return reader_.text(column); }

  /// "896 per GPU (vendor's config)" is 896: each engine has a GPU, or says so.
  std::optional<double> number(const char* column, const Kind& kind = kAmount) {
    const std::string cell = text(column);
    return cell.empty() ? std::nullopt
                        : checked(column, kind, leading_number(cell.substr(0, cell.find(" per "))));
  }

  std::optional<int> whole(const char* column) {
    const std::optional<double> value = number(column, kCount);
    return value ? std::optional(static_cast<int>(*value)) : std::nullopt;
  }

  /// "0.9", or "kv_free_frac 0.95 (0.90 on OOM)".
  std::optional<double> share(const char* column) {
    const std::string cell = text(column);
    if (cell.empty()) return std::nullopt;
    std::size_t begin = cell.find_first_of("0123456789");
    if (begin == std::string::npos) return checked(column, kShare, std::nullopt);
    if (begin > 0 && cell[begin - 1] == '-') --begin;
    return checked(column, kShare, leading_number(std::string_view(cell).substr(begin)));
  }

 private:
  std::optional<double> checked(const char* column, const Kind& kind, std::optional<double> value) {
    const std::string problem = objection(kind, value);
    if (problem.empty()) return value;
    const Where where = reader_.where(column);
    unclear_.push_back(fmt::format("{}:{}:{}: {}: '{}' {}", where.file, where.line, where.column,
                                   column, text(column), problem));
    return std::nullopt;
  }

  Diagnostics unused_;
  RowReader reader_;
  std::vector<std::string>& unclear_;
};

/// The 0.90 of "kv_free_frac 0.95 (0.90 on OOM)".
std::optional<double> smaller_fraction(const Cells& cells) {
  const std::string cell = cells.text("gpu_mem_util");
  const std::size_t bracket = cell.find('(');
  if (bracket == std::string::npos || cell.find("on OOM") == std::string::npos) return std::nullopt;
  const auto value = leading_number(std::string_view(cell).substr(bracket + 1));
  return value && *value > 0 && *value <= 1 ? value : std::nullopt;
}

constexpr std::array kQuantities = {"ttft", "tpot", "itl", "e2e"};
constexpr std::array kStatistics = {"mean", "p50", "p90", "p99"};
constexpr std::array kRates = {"output_tok_s", "total_tok_s", "input_tok_s", "out_tok_s_per_gpu",
                               "total_tok_s_per_gpu"};
constexpr std::array kRequired = {"id", "model", "gpu", "engine"};
constexpr std::array kOptional = {"source_id",
                                  "source_date",
                                  "engine_version",
                                  "weight_dtype",
                                  "kv_dtype",
                                  "len_dist",
                                  "load_mode",
                                  "spec_decode",
                                  "prefix_cache",
                                  "notes",
                                  "trust",
                                  "interconnect",
                                  "prefill_cfg",
                                  "decode_cfg",
                                  "is_moe",
                                  "disagg",
                                  "n_gpus",
                                  "tp",
                                  "pp",
                                  "dp",
                                  "ep",
                                  "attention_dp",
                                  "isl",
                                  "osl",
                                  "concurrency",
                                  "num_requests",
                                  "max_batch",
                                  "qc_little",
                                  "gpu_mem_util",
                                  "request_rate_rps",
                                  "max_batched_tokens"};
/// Columns of the shared tables that nothing here needs.
constexpr std::array kUnread = {"source", "moe_tp", "req_s"};

std::string latency_column(const char* quantity, const char* statistic) {
  return fmt::format("{}_ms_{}", quantity, statistic);
}

std::vector<std::string> measured_columns() {
  std::vector<std::string> columns(kRates.begin(), kRates.end());
  for (const char* quantity : kQuantities) {
    for (const char* statistic : kStatistics)
      columns.push_back(latency_column(quantity, statistic));
  }
  return columns;
}

void read_measured(Cells& cells, ServingRow& row) {
  const auto add_rate = [&](const char* metric, const char* per_gpu) {
    if (const auto total = cells.number(metric)) {
      row.measured.push_back({metric, *total});
    } else if (const auto each = cells.number(per_gpu); each && row.gpus && !row.disagg) {
      row.measured.push_back({metric, *each * *row.gpus});
    }
  };
  add_rate("output_tok_s", "out_tok_s_per_gpu");
  add_rate("total_tok_s", "total_tok_s_per_gpu");
  // Of a side that only reads prompts; elsewhere it says what the output rate says.
  if (row.measured.empty()) add_rate("input_tok_s", "");
  for (const char* quantity : kQuantities) {
    for (const char* statistic : kStatistics) {
      const auto value = cells.number(latency_column(quantity, statistic).c_str());
      if (value) row.measured.push_back({fmt::format("{}_{}", quantity, statistic), *value});
    }
  }
}

ServingRow read_row(const CsvTable& table, const CsvRow& csv, const std::string& source) {
  ServingRow row;
  Cells cells(table, csv, row.unclear);
  row.id = cells.text("id");
  row.source = cells.text("source_id");
  if (row.source.empty()) row.source = source;
  row.date = cells.text("source_date");
  row.gpu = cells.text("gpu");
  row.model = cells.text("model");
  row.engine = cells.text("engine");
  row.version = cells.text("engine_version");
  row.weight_dtype = cells.text("weight_dtype");
  row.kv_dtype = cells.text("kv_dtype");
  row.len_dist = cells.text("len_dist");
  row.load_mode = cells.text("load_mode");
  row.spec_decode = cells.text("spec_decode");
  row.prefix_cache = cells.text("prefix_cache");
  row.notes = cells.text("notes");
  row.trust = cells.text("trust");
  row.interconnect = cells.text("interconnect");
  row.prefill_cfg = cells.text("prefill_cfg");
  row.decode_cfg = cells.text("decode_cfg");
  row.moe = cells.text("is_moe") == "1";
  row.disagg = cells.text("disagg") == "1";
  row.gpus = cells.whole("n_gpus");
  row.tp = cells.whole("tp");
  row.pp = cells.whole("pp");
  row.dp = cells.whole("dp");
  row.ep = cells.whole("ep");
  row.attention_dp = cells.whole("attention_dp");
  row.isl = cells.number("isl", kTokens);
  row.osl = cells.number("osl", kTokens);
  row.concurrency = cells.whole("concurrency");
  row.num_requests = cells.whole("num_requests");
  row.all_at_once = cells.text("request_rate_rps") == "inf";
  if (!row.all_at_once) row.request_rate = cells.number("request_rate_rps");
  row.max_batch = cells.whole("max_batch");
  row.max_batched_tokens = cells.whole("max_batched_tokens");
  row.limits_per_gpu = cells.text("max_batch").ends_with("per device") ||
                       cells.text("max_batched_tokens").ends_with("per device");
  row.memory_fraction = cells.share("gpu_mem_util");
  row.smaller_fraction = smaller_fraction(cells);
  row.qc_little = cells.number("qc_little");
  read_measured(cells, row);
  return row;
}

}  // namespace

bool has_drafts(const ServingRow& row) {
  return !row.spec_decode.empty() && !row.spec_decode.starts_with("none");
}

bool is_trusted(const ServingRow& row) {
  constexpr int kGpusOfNode = 8;
  const auto says = [&](const char* word) {
    return row.interconnect.find(word) != std::string::npos;
  };
  const bool one_node = row.gpus && *row.gpus <= kGpusOfNode && !says("multi-node") &&
                        !says("between") && !says("InfiniBand") && !says("IB ");
  return row.trust == "A" && one_node && !has_drafts(row);
}

bool is_plain(const ServingRow& row) {
  return !has_drafts(row) && !row.disagg && row.attention_dp.value_or(0) <= 1 &&
         row.ep.value_or(1) <= 1;
}

bool is_serving_table(const CsvTable& table) {
  return std::ranges::any_of(measured_columns(), [&](const std::string& column) {
    return table.column(column).has_value();
  });
}

std::vector<std::string> serving_columns() {
  std::vector<std::string> columns = measured_columns();
  columns.insert(columns.end(), kRequired.begin(), kRequired.end());
  columns.insert(columns.end(), kOptional.begin(), kOptional.end());
  columns.insert(columns.end(), kUnread.begin(), kUnread.end());
  return columns;
}

std::vector<ServingRow> read_serving_rows(const CsvTable& table, const std::string& source) {
  Diagnostics diagnostics;
  check_columns(table, {kRequired.begin(), kRequired.end()},
                fmt::format("a table of serving measurements has the columns {}, and one of what "
                            "was measured",
                            fmt::join(kRequired, ", ")),
                diagnostics);
  diagnostics.throw_if_any();
  check_ids(table, diagnostics);
  diagnostics.throw_if_any();
  std::vector<ServingRow> rows;
  rows.reserve(table.rows().size());
  for (const CsvRow& csv : table.rows()) rows.push_back(read_row(table, csv, source));
  return rows;
}

}  // namespace moesim
