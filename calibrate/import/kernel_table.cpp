#include "calibrate/import/kernel_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "calibrate/import/aic_columns.h"
#include "calibrate/import/kernel_rows.h"
#include "sim/base/files.h"

namespace moesim {

namespace fs = std::filesystem;

namespace {

// Systems as file names end: "_a100_sxm", "_b200_sxm", "_gb200".
std::string system_in(const std::string& stem) {
  static const char* const kSystems[] = {"a100_sxm", "a100_pcie", "h100_sxm",    "h100_pcie",
                                         "h200_sxm", "b200_sxm",  "gb200",       "l40s",
                                         "l4",       "rtx_4090",  "rtx_pro_6000"};
  for (const std::string system : kSystems) {
    if (stem.size() > system.size() + 1 && stem.ends_with("_" + system)) return system;
  }
  return "";
}

struct Kind {
  std::vector<std::string_view> columns;  ///< all must be there
  void (*read)(KernelTable&, KernelSamples&);
};

// The first that fits; more telling columns first.
const std::vector<Kind>& kinds() {
  static const std::vector<Kind> kKinds{
      {{"dispatch_us"}, read_message_rows},
      {{"nccl", "bytes"}, read_message_rows},
      {{"mode", "gpus", "bytes"}, read_message_rows},
      {{"network", "bytes"}, read_message_rows},
      {{"topk", "tokens", "inter"}, read_moe_rows},
      {{"activated_experts"}, read_moe_rows},
      {{"kv_heads", "seq_len"}, read_attention_rows},
      {{"kv_heads", "past_len"}, read_attention_rows},
      {{"n_decode", "kv_decode"}, read_attention_rows},
      {{"t_skew_us"}, read_attention_rows},
      {{"heads", "seq_len"}, read_mla_rows},
      {{"heads", "past_len"}, read_mla_rows},
      {{"op", "heads", "tokens"}, read_mla_rows},
      {{"m", "n", "k"}, read_gemm_rows},
      {{"op", "m", "k"}, read_stream_rows},
      {{"input_layernorm_us"}, read_stream_rows},
      {{"layer", "tokens"}, read_stream_rows},
      {{"layer", "sequences"}, read_stream_rows},
  };
  return kKinds;
}

}  // namespace

KernelTable::KernelTable(CsvTable table, const fs::path& path)
    : table_(std::move(table)), path_(path) {
  const std::string stem = path.stem().string();
  system_ = system_in(stem);
  family_ = system_.empty() ? stem : stem.substr(0, stem.size() - system_.size() - 1);
  if (has("system") && rows() > 0) system_ = text(0, {"system"});
  for (std::size_t row = 0; row < rows() && has("system"); ++row) {
    if (text(row, {"system"}) != system_)
      mistake(row, "system", "a table is of one system; the first row's is '" + system_ + "'");
  }
}

bool KernelTable::has(std::string_view column) const {
  return table_.column(column).has_value();
}

const CsvRow::Cell* KernelTable::cell(std::size_t row,
                                      std::initializer_list<std::string_view> names) const {
  for (const std::string_view name : names) {
    if (const auto column = table_.column(name)) return &table_.rows()[row].cells[*column];
  }
  return nullptr;
}

std::string KernelTable::text(std::size_t row,
                              std::initializer_list<std::string_view> names) const {
  const CsvRow::Cell* found = cell(row, names);
  return found == nullptr ? "" : found->text;
}

double KernelTable::number(std::size_t row, std::initializer_list<std::string_view> names,
                           double otherwise) {
  const CsvRow::Cell* found = cell(row, names);
  if (found == nullptr) return otherwise;
  double value = 0;
  const char* const end = found->text.data() + found->text.size();
  const auto [stop, error] = std::from_chars(found->text.data(), end, value);
  if (error == std::errc() && stop == end && std::isfinite(value)) return value;
  mistake(row, std::string(*names.begin()), "'" + found->text + "' is not a number");
  return 0;
}

double KernelTable::positive(std::size_t row, std::initializer_list<std::string_view> names) {
  const std::size_t mistakes = diagnostics_.size();
  const double value = number(row, names);
  if (value > 0) return value;
  if (diagnostics_.size() == mistakes) mistake(row, std::string(*names.begin()), "must be above 0");
  return 1;
}

void KernelTable::mistake(std::size_t row, const std::string& column, const std::string& problem) {
  if (diagnostics_.size() >= kMostTableMistakes) return;
  const CsvRow& cells = table_.rows()[row];
  const auto place = table_.column(column);
  diagnostics_.add({table_.where(cells.cells[place.value_or(0)]), column, problem,
                    "correct the row or take it out"});
}

void KernelTable::throw_if_any() {
  diagnostics_.throw_if_any();
}

namespace {

/// Nothing if the table is of no known kind.
std::optional<KernelSamples> read_if_known(const fs::path& path) {
  CsvTable csv = CsvTable::parse(read_file(path), path.string());
  if (is_aic_table(csv)) csv = in_our_columns(csv);
  KernelTable table(std::move(csv), path);
  for (const Kind& kind : kinds()) {
    if (!std::ranges::all_of(kind.columns, [&](std::string_view c) { return table.has(c); }))
      continue;
    KernelSamples samples;
    kind.read(table, samples);
    table.throw_if_any();
    return samples;
  }
  return std::nullopt;
}

}  // namespace

KernelSamples read_kernel_table(const fs::path& path) {
  std::optional<KernelSamples> samples = read_if_known(path);
  if (samples) return *std::move(samples);
  throw_input_error({{path.string(), 1, 1},
                     "",
                     "no kernel measurements of a known kind",
                     "its columns tell the kind: see calibrate/README.md"});
}

KernelSamples read_kernel_tables(const std::vector<fs::path>& paths) {
  KernelSamples all;
  for (const fs::path& path : paths) {
    std::vector<fs::path> files{path};
    std::error_code error;
    if (fs::is_directory(path, error)) {
      files.clear();
      for (const fs::directory_entry& entry : fs::recursive_directory_iterator(path)) {
        // AIConfigurator's collectors write gemm_perf.txt and so on.
        const std::string name = entry.path().filename().string();
        if (name.ends_with(".csv") || name.ends_with("_perf.txt")) files.push_back(entry.path());
      }
      std::ranges::sort(files);
    }
    for (const fs::path& file : files) {
      // A folder may hold other things; a file that was named may not be one.
      std::optional<KernelSamples> known = read_if_known(file);
      if (!known && files.size() > 1) {
        all.notes.push_back(file.filename().string() + ": not a table of kernels, skipped");
        continue;
      }
      KernelSamples one = known ? *std::move(known) : read_kernel_table(file);
      std::ranges::move(one.samples, std::back_inserter(all.samples));
      std::ranges::move(one.notes, std::back_inserter(all.notes));
    }
  }
  return all;
}

}  // namespace moesim
