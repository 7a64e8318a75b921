#include "calibrate/import/aic_columns.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <optional>
#include <utility>

#include "calibrate/import/kernel_table.h"
#include "sim/base/diagnostic.h"

namespace moesim {

namespace {

/// One row of a foreign table, read by name; mistakes are noted.
class Row {
 public:
  Row(const CsvTable& table, std::size_t row, Diagnostics& diagnostics)
      : table_(table), cells_(table.rows()[row].cells), diagnostics_(diagnostics) {}

  [[nodiscard]] const CsvRow::Cell& cell(const char* column) const {
    return cells_[*table_.column(column)];
  }
  [[nodiscard]] const std::string& text(const char* column) const { return cell(column).text; }
  [[nodiscard]] double number(const char* column) {
    const std::string& text = cell(column).text;
    double value = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error == std::errc() && stop == end && std::isfinite(value)) return value;
    mistake(column, fmt::format("'{}' is not a number", text));
    return 1;
  }
  /// Whether the sum or product that it goes into is in range, the table of ours tells.
  [[nodiscard]] double count(const char* column) {
    const double value = number(column);
    if (value >= 0 && value == std::floor(value)) return value;
    mistake(column, fmt::format("'{}' is not a whole number", text(column)));
    return 1;
  }
  void mistake(const char* column, const std::string& problem) {
    if (diagnostics_.size() < kMostTableMistakes)
      diagnostics_.add(
          {table_.where(cell(column)), column, problem, "correct the row or take it out"});
  }

 private:
  const CsvTable& table_;
  const std::vector<CsvRow::Cell>& cells_;
  Diagnostics& diagnostics_;
};

/// Fifteen digits: what was decimal stays decimal (0.26154 ms is 261.54 us).
std::string plain(double value) {
  return fmt::format("{:.15g}", value);
}

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

// --- cells -------------------------------------------------------------------------------------

/// "TRTLLM", "vLLM", "SGLang".
std::string framework_of(Row& row) {
  std::string name = row.text("framework");
  std::ranges::transform(name, name.begin(), [](char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  });
  if (name != "vllm" && name != "sglang" && name != "trtllm")
    row.mistake("framework", fmt::format("unknown framework '{}'", row.text("framework")));
  return name;
}

/// As torch.cuda.get_device_name prints them.
std::string system_of(Row& row) {
  static constexpr std::pair<const char*, const char*> kDevices[] = {
      {"NVIDIA A100-SXM4-80GB", "a100_sxm"},
      {"NVIDIA A100 80GB PCIe", "a100_pcie"},
      {"NVIDIA H100 80GB HBM3", "h100_sxm"},
      {"NVIDIA H100 PCIe", "h100_pcie"},
      {"NVIDIA H200", "h200_sxm"},
      {"NVIDIA B200", "b200_sxm"},
      {"NVIDIA GB200", "gb200"},
      {"NVIDIA L40S", "l40s"},
      {"NVIDIA L4", "l4"},
      {"NVIDIA GeForce RTX 4090", "rtx_4090"}};
  const std::string& device = row.text("device");
  for (const auto& [name, system] : kDevices) {
    if (device == name) return system;
  }
  if (device.starts_with("NVIDIA RTX PRO 6000 Blackwell")) return "rtx_pro_6000";
  row.mistake("device", fmt::format("unknown device '{}'", device));
  return "";
}

/// Older collectors named 16-bit formats by the other one; the kernels cost the same.
std::string format_of(const std::string& text) {
  return text == "float16" ? "bfloat16" : text;
}
std::string gemm_format(Row& row) {
  return format_of(row.text("gemm_dtype"));
}
std::string moe_format(Row& row) {
  return format_of(row.text("moe_dtype"));
}
std::string product_format(Row& row) {
  return format_of(row.text("bmm_dtype"));
}
std::string compute_format(Row& row) {
  return format_of(row.text("attn_dtype"));
}
std::string cache_format(Row& row) {
  return format_of(row.text("kv_cache_dtype"));
}

std::string microseconds(Row& row) {
  return plain(row.number("latency") * 1000);
}

/// Sizes of messages are counts of elements.
std::string message_bytes(Row& row, const char* dtype_column) {
  const std::string& dtype = row.text(dtype_column);
  double bytes = 0;
  if (dtype == "int8") bytes = 1;
  if (dtype == "half" || dtype == "float16" || dtype == "bfloat16") bytes = 2;
  if (dtype == "float32") bytes = 4;
  if (bytes == 0) row.mistake(dtype_column, fmt::format("unknown element type '{}'", dtype));
  return plain(row.count("message_size") * bytes);
}
std::string nccl_bytes(Row& row) {
  return message_bytes(row, "nccl_dtype");
}
std::string all_reduce_bytes(Row& row) {
  return message_bytes(row, "allreduce_dtype");
}

/// "vLLM_custom_graph", "SGLang_CustomAllReduce_eager"; TensorRT-LLM's is measured in a graph.
std::string launch_mode(Row& row) {
  return contains(row.text("kernel_source"), "eager") ? "eager" : "graph";
}

/// "moe_torch_flow_cutlass", "sglang_fused_moe_triton", "vllm_fused_moe", ...: first that fits.
std::string moe_kernel(Row& row) {
  static constexpr std::pair<const char*, const char*> kParts[] = {
      {"nongated", "nongated"}, {"min_latency", "min_latency"}, {"trtllm_moe", "trtllm_gen"},
      {"marlin", "marlin"},     {"deepgemm", "deepgemm"},       {"triton", "triton"},
      {"cutedsl", "cutedsl"},   {"cutlass", "cutlass"},         {"vllm_fused_moe", "triton"}};
  const std::string& source = row.text("kernel_source");
  for (const auto& [part, kernel] : kParts) {
    if (contains(source, part)) return kernel;
  }
  return source == "moe_torch_flow" ? "default" : source;
}
std::string has_gate(Row& row) {
  return contains(row.text("kernel_source"), "nongated") ? "0" : "1";
}
std::string moe_phase(Row& row) {
  return contains(row.text("op_name"), "context") ? "context" : "generation";
}

/// The length a decode step sees, its own token taken off.
std::string past_tokens(Row& row) {
  return plain(row.count("isl") + row.count("step") - 1);
}

// --- tables ------------------------------------------------------------------------------------

struct Column {
  const char* ours;
  const char* theirs;                    ///< the cell whose place ours keeps
  std::string (*value)(Row&) = nullptr;  ///< else its text
  const char* also = nullptr;            ///< another column that `value` reads
  bool optional = false;
};
using Columns = std::vector<Column>;

const Column kSource{"src", "framework", framework_of};
const Column kVersion{"version", "version"};  ///< of the framework; of NCCL's tables NCCL's
const Column kLatency{"latency_us", "latency", microseconds};

const Columns kGemm{kSource,    kVersion,   {"dtype", "gemm_dtype", gemm_format},
                    {"n", "n"}, {"k", "k"}, {"m", "m"},
                    kLatency};
const Columns kMoe{kSource,
                   kVersion,
                   {"kernel", "kernel_source", moe_kernel},
                   {"dtype", "moe_dtype", moe_format},
                   {"dist", "distribution"},
                   {"hidden", "hidden_size"},
                   {"inter", "inter_size"},
                   {"gated", "kernel_source", has_gate},
                   {"topk", "topk"},
                   {"experts", "num_experts"},
                   {"tp", "moe_tp_size"},
                   {"ep", "moe_ep_size"},
                   {"tokens", "num_tokens"},
                   kLatency};
const Columns kDeepGemm{{"phase", "op_name", moe_phase}, {"dtype", "moe_dtype", moe_format},
                        {"dist", "distribution"},        {"hidden", "hidden_size"},
                        {"inter", "inter_size"},         {"topk", "topk"},
                        {"experts", "num_experts"},      {"ep", "moe_ep_size"},
                        {"tokens", "num_tokens"},        kLatency};
const Columns kNccl{{"nccl", "version"},
                    {"op", "op_name"},
                    {"dtype", "nccl_dtype"},
                    {"gpus", "num_gpus"},
                    {"bytes", "message_size", nccl_bytes, "nccl_dtype"},
                    kLatency};
const Columns kAllReduce{kSource,
                         kVersion,
                         {"mode", "kernel_source", launch_mode},
                         {"gpus", "num_gpus"},
                         {"bytes", "message_size", all_reduce_bytes, "allreduce_dtype"},
                         kLatency};
const Columns kProducts{kSource,
                        kVersion,
                        {"op", "op_name"},
                        {"dtype", "bmm_dtype", product_format},
                        {"heads", "num_heads"},
                        {"tokens", "num_tokens"},
                        kLatency};
const Columns kQuantise{kSource,    kVersion,   {"op", "op_name"}, {"dtype", "quant_dtype"},
                        {"m", "m"}, {"k", "k"}, kLatency};
const Columns kDeepEp{{"ver", "version"},   {"nodes", "node_num"},      {"hidden", "hidden_size"},
                      {"topk", "num_topk"}, {"experts", "num_experts"}, {"tokens", "num_token"}};

const Column kSeqLen{"seq_len", "isl"};
const Column kPastLen{"past_len", "step", past_tokens, "isl"};

Columns with(Columns columns, std::initializer_list<Column> more) {
  columns.insert(columns.end(), more);
  return columns;
}

Columns attention_columns(bool generation) {
  return {kSource,
          kVersion,
          {"attn_dtype", "attn_dtype", compute_format},
          {"kv_dtype", "kv_cache_dtype", cache_format},
          {"heads", "num_heads"},
          {"kv_heads", "num_key_value_heads"},
          {"head_dim", "head_dim"},
          {"window", "window_size", nullptr, nullptr, true},
          {"batch", "batch_size"},
          generation ? kPastLen : kSeqLen,
          kLatency};
}

Columns mla_columns(bool generation) {
  return {kSource,
          kVersion,
          {"kv_dtype", "kv_cache_dtype", cache_format},
          {"heads", "num_heads"},
          {"batch", "batch_size"},
          generation ? kPastLen : kSeqLen,
          kLatency};
}

/// What a table's columns and the op_name of its first row say it is.
std::optional<Columns> columns_of(const CsvTable& table) {
  const auto has = [&](const char* column) { return table.column(column).has_value(); };
  const std::string op =
      table.rows().empty() ? "" : table.rows()[0].cells[*table.column("op_name")].text;
  const bool generation = contains(op, "generation");
  if (has("gemm_type")) return std::nullopt;  // whole modules
  if (has("gemm_dtype")) return kGemm;
  if (has("moe_dtype")) return op == "moe_context" || op == "moe_generation" ? kDeepGemm : kMoe;
  if (has("nccl_dtype")) return kNccl;
  if (has("allreduce_dtype")) return kAllReduce;
  if (has("bmm_dtype")) return kProducts;
  if (has("quant_dtype")) return kQuantise;
  if (has("num_key_value_heads")) return attention_columns(generation);
  if (has("mla_dtype")) return mla_columns(generation);
  if (has("dispatch_avg_t_us"))
    return with(kDeepEp,
                {{"dispatch_us", "dispatch_avg_t_us"}, {"combine_us", "combine_avg_t_us"}});
  if (has("dispatch_transmit_us"))
    return with(kDeepEp, {{"sms", "dispatch_sms"},
                          {"dispatch_us", "dispatch_transmit_us"},
                          {"dispatch_notify_us", "dispatch_notify_us"},
                          {"combine_us", "combine_transmit_us"},
                          {"combine_notify_us", "combine_notify_us"}});
  return std::nullopt;
}

/// Notes columns that are not there; leaves optional ones of those out.
Columns present(const CsvTable& table, const Columns& wanted, Diagnostics& diagnostics) {
  Columns columns{{"system", "device", system_of}};
  const auto require = [&](const char* name) {
    if (name != nullptr && !table.column(name))
      diagnostics.add({{table.file_name(), 1, 1},
                       name,
                       "column is missing",
                       "the collectors of this operator write it"});
  };
  for (const Column& column : wanted) {
    if (column.optional && !table.column(column.theirs)) continue;
    require(column.theirs);
    require(column.also);
    columns.push_back(column);
  }
  return columns;
}

}  // namespace

bool is_aic_table(const CsvTable& table) {
  const char* const columns[] = {"framework", "version", "device", "op_name", "kernel_source"};
  return std::ranges::all_of(columns, [&](const char* c) { return table.column(c).has_value(); });
}

CsvTable in_our_columns(const CsvTable& table) {
  const std::optional<Columns> kind = columns_of(table);
  if (!kind)
    throw_input_error({{table.file_name(), 1, 1},
                       "",
                       "no operator that is fitted",
                       "calibrate/README.md lists the columns that are known"});
  Diagnostics diagnostics;
  const Columns columns = present(table, *kind, diagnostics);
  diagnostics.throw_if_any();
  std::vector<std::string> header;
  for (const Column& column : columns) header.emplace_back(column.ours);
  std::vector<CsvRow> rows(table.rows().size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Row row(table, i, diagnostics);
    for (const Column& column : columns) {
      CsvRow::Cell cell = row.cell(column.theirs);
      if (column.value != nullptr) cell.text = column.value(row);
      rows[i].cells.push_back(std::move(cell));
    }
  }
  diagnostics.throw_if_any();
  return {table.file_name(), std::move(header), std::move(rows)};
}

}  // namespace moesim
