#include "calibrate/import/kernel_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <map>
#include <optional>

#include "calibrate/fit/sample_file.h"
#include "calibrate/import/aic_columns.h"
#include "calibrate/import/kernel_rows.h"
#include "sim/base/files.h"
#include "sim/base/sha256.h"

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

constexpr const char* kAic = "aic_ops";
constexpr const char* kVidur = "vidur_ops";
constexpr const char* kVllm = "vllm_layer_profile";

struct Kind {
  const char* importer;
  std::vector<std::string_view> columns;  ///< all must be there
  void (*read)(KernelTable&, KernelSamples&);
};

// The first that fits; more telling columns first.
const std::vector<Kind>& kinds() {
  static const std::vector<Kind> kKinds{
      {kAic, {"dispatch_us"}, read_message_rows},
      {kAic, {"nccl", "bytes"}, read_message_rows},
      {kAic, {"mode", "gpus", "bytes"}, read_message_rows},
      {kVidur, {"network", "bytes"}, read_message_rows},
      {kAic, {"topk", "tokens", "inter"}, read_moe_rows},
      {kVllm, {"activated_experts"}, read_moe_rows},
      {kAic, {"kv_heads", "seq_len"}, read_attention_rows},
      {kAic, {"kv_heads", "past_len"}, read_attention_rows},
      {kVllm, {"n_decode", "kv_decode"}, read_attention_rows},
      {kVllm, {"t_skew_us"}, read_attention_rows},
      {kAic, {"heads", "seq_len"}, read_mla_rows},
      {kAic, {"heads", "past_len"}, read_mla_rows},
      {kAic, {"op", "heads", "tokens"}, read_mla_rows},
      {kAic, {"m", "n", "k"}, read_gemm_rows},
      {kAic, {"op", "m", "k"}, read_stream_rows},
      {kVidur, {"input_layernorm_us"}, read_stream_rows},
      {kVllm, {"layer", "tokens"}, read_stream_rows},
      {kVllm, {"layer", "sequences"}, read_stream_rows},
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

const std::vector<KernelImporter>& kernel_importers() {
  static const std::vector<KernelImporter> kImporters{
      {kAic, "tables of AIConfigurator's collectors, in its columns or ours"},
      {kVidur, "Vidur's profiles of MLP kernels and networks"},
      {kVllm, "layer profiles of vLLM: CARD-MODEL/tpN/*.csv beside meta.yaml"}};
  return kImporters;
}

namespace {

const Kind* kind_of(const KernelTable& table) {
  for (const Kind& kind : kinds()) {
    if (std::ranges::all_of(kind.columns, [&](std::string_view c) { return table.has(c); }))
      return &kind;
  }
  return nullptr;
}

[[noreturn]] void no_known_kind(const fs::path& path) {
  throw_input_error({{path.string(), 1, 1},
                     "",
                     "no kernel measurements of a known kind",
                     "its columns tell the kind: see calibrate/README.md"});
}

KernelSamples from_sample_file(const std::string& text, const fs::path& path) {
  SampleFile read = read_samples(text, path.string());
  KernelSamples out;
  out.files = {{path, sha256(text)}};
  out.samples = std::move(read.samples);
  for (const std::string& warning : read.warnings)
    out.notes.push_back({path.string() + ": " + warning, 0});
  out.date = read.date;
  out.sources = std::move(read.sources);
  out.measured = read.measured > 0;
  out.imported = read.imported > 0;
  return out;
}

/// A table, or why it is none of `importer`'s.
struct TableOrNot {
  std::optional<KernelSamples> samples;
  std::string importer;  ///< whose it is; "" nobody's
  std::size_t rows = 0;  ///< of one that is not
};

TableOrNot read_if_known(const fs::path& path, const std::string& importer) {
  const std::string text = read_file(path);
  if (is_sample_file(text) && importer.empty()) return {from_sample_file(text, path), "", 0};
  if (is_sample_file(text))
    throw_input_error({{path.string(), 1, 1},
                       "",
                       "holds samples already, nothing to import",
                       "moesim fit and moesim check read it"});
  CsvTable csv = CsvTable::parse(text, path.string());
  if (is_aic_table(csv)) csv = in_our_columns(csv);
  KernelTable table(std::move(csv), path);
  const Kind* kind = kind_of(table);
  if (kind == nullptr) return {std::nullopt, "", table.rows()};
  if (!importer.empty() && importer != kind->importer) {
    return {std::nullopt, kind->importer, table.rows()};
  }
  KernelSamples samples;
  samples.files = {{path, sha256(text)}};
  samples.imported = true;
  kind->read(table, samples);
  table.throw_if_any();
  return {std::move(samples), kind->importer, 0};
}

void append(KernelSamples& all, KernelSamples&& one) {
  std::ranges::move(one.samples, std::back_inserter(all.samples));
  std::ranges::move(one.notes, std::back_inserter(all.notes));
  std::ranges::move(one.files, std::back_inserter(all.files));
  for (KernelProfile::Source& source : one.sources) {
    if (std::ranges::find(all.sources, source) == all.sources.end())
      all.sources.push_back(std::move(source));
  }
  all.date = std::max(all.date, one.date);  // YYYY-MM-DD
  all.measured |= one.measured;
  all.imported |= one.imported;
}

std::vector<fs::path> tables_of(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return {path};
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(path)) {
    // AIConfigurator's collectors write gemm_perf.txt and so on.
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".csv") || name.ends_with("_perf.txt")) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  if (files.empty())
    throw_input_error({{path.string(), 0, 0},
                       "",
                       "no tables in this folder",
                       "kernel measurements are files .csv, or _perf.txt of AIConfigurator"});
  return files;
}

}  // namespace

KernelSamples read_kernel_table(const fs::path& path, const std::string& importer) {
  TableOrNot read = read_if_known(path, importer);
  if (read.samples) return *std::move(read.samples);
  if (read.importer.empty()) no_known_kind(path);
  throw_input_error({{path.string(), 1, 1},
                     "",
                     "a table of " + read.importer + ", not of " + importer,
                     "moesim import " + read.importer + " reads it"});
}

KernelSamples read_kernel_tables(const std::vector<fs::path>& paths, const std::string& importer) {
  KernelSamples all;
  struct Others {
    std::size_t tables = 0, rows = 0;
  };
  std::map<std::string, Others> of_others;
  for (const fs::path& path : paths) {
    const std::vector<fs::path> files = tables_of(path);
    for (const fs::path& file : files) {
      // A folder may hold other things; a file that was named may not be one.
      if (files.size() == 1) {
        append(all, read_kernel_table(file, importer));
        continue;
      }
      TableOrNot read = read_if_known(file, importer);
      if (read.samples) {
        append(all, *std::move(read.samples));
      } else if (read.importer.empty()) {
        all.notes.push_back(
            {file.filename().string() + ": not a table of kernels, skipped", read.rows});
      } else {
        Others& others = of_others[read.importer];
        ++others.tables;
        others.rows += read.rows;
      }
    }
  }
  for (const auto& [name, others] : of_others)
    all.notes.push_back(
        {std::to_string(others.tables) + " tables of " + name + " skipped", others.rows});
  return all;
}

}  // namespace moesim
