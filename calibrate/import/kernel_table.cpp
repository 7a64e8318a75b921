#include "calibrate/import/kernel_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <iterator>
#include <map>
#include <optional>

#include "calibrate/fit/sample_file.h"
#include "calibrate/import/aic_columns.h"
#include "calibrate/import/kernel_rows.h"
#include "sim/base/files.h"
#include "sim/base/sha256.h"
#include "sim/base/utf8.h"

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

std::optional<double> number_in(const std::string& text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc() && stop == end && std::isfinite(value)) return value;
  return std::nullopt;
}

constexpr double kShortestUs = kShortestCall * 1e6, kLongestUs = kLongestCall * 1e6;
constexpr const char* kCorrect = "correct the row or take it out";
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
  const std::string stem = lower_case(path.stem().string());
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
  if (const std::optional<double> value = number_in(found->text)) return *value;
  mistake_at(*found, *names.begin(), "'" + found->text + "' is not a number", kCorrect);
  return 0;
}

const CsvRow::Cell* KernelTable::required(std::size_t row,
                                          std::initializer_list<std::string_view> names) {
  const CsvRow::Cell* const found = cell(row, names);
  const std::string name(*names.begin());
  if (found == nullptr && missing_.insert(name).second)
    diagnostics_.add(
        {{table_.file_name(), 1, 1},
         name,
         "missing column",
         fmt::format("name it in the header, which has {}", fmt::join(table_.header(), ", "))});
  return found;
}

double KernelTable::size(std::size_t row, std::initializer_list<std::string_view> names,
                         SizeRange range, std::optional<double> otherwise) {
  const CsvRow::Cell* const found = otherwise ? cell(row, names) : required(row, names);
  if (found == nullptr) return otherwise.value_or(range.least);
  const std::optional<double> value = number_in(found->text);
  if (value && *value >= range.least && *value <= range.most && *value == std::floor(*value))
    return *value;
  mistake_at(*found, *names.begin(),
             fmt::format("'{}' is not a whole number from {:.0f} to {:.0f}", found->text,
                         range.least, range.most),
             kCorrect);
  return range.least;
}

double KernelTable::time_in(const CsvRow::Cell& cell, std::string_view column, double least_us) {
  const std::optional<double> us = number_in(cell.text);
  if (us && *us >= least_us && *us <= kLongestUs) return *us;
  mistake_at(
      cell, column,
      fmt::format("'{}' is not a time from {:g} to {:.0f} us", cell.text, least_us, kLongestUs),
      kCorrect);
  return kShortestUs;
}

double KernelTable::microseconds(std::size_t row, std::initializer_list<std::string_view> names) {
  const CsvRow::Cell* const found = required(row, names);
  return found == nullptr ? kShortestUs : time_in(*found, *names.begin(), kShortestUs);
}

double KernelTable::more_microseconds(std::size_t row,
                                      std::initializer_list<std::string_view> names,
                                      std::optional<double> otherwise) {
  const CsvRow::Cell* const found = otherwise ? cell(row, names) : required(row, names);
  return found == nullptr ? otherwise.value_or(0) : time_in(*found, *names.begin(), 0);
}

std::string KernelTable::format(std::size_t row, std::initializer_list<std::string_view> names) {
  const CsvRow::Cell* const found = required(row, names);
  if (found == nullptr) return "bfloat16";
  if (weight_bytes_of(found->text) > 0) return found->text;
  mistake_at(*found, *names.begin(), fmt::format("unknown number format '{}'", found->text),
             nearest_name_hint(found->text, number_formats()));
  return "bfloat16";
}

void KernelTable::mistake_at(const CsvRow::Cell& cell, std::string_view column,
                             const std::string& problem, const std::string& hint) {
  if (diagnostics_.size() < kMostTableMistakes)
    diagnostics_.add({table_.where(cell), std::string(column), problem, hint});
}

void KernelTable::mistake(std::size_t row, const std::string& column, const std::string& problem,
                          const std::string& hint) {
  const CsvRow& cells = table_.rows()[row];
  mistake_at(cells.cells[table_.column(column).value_or(0)], column, problem, hint);
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

/// The kind that most of its columns speak for, if there is one.
const Kind* nearest_kind(const KernelTable& table) {
  const Kind* best = nullptr;
  double most = 0;
  bool alone = false;
  for (const Kind& kind : kinds()) {
    const auto there = std::ranges::count_if(
        kind.columns, [&](std::string_view column) { return table.has(column); });
    const double share = static_cast<double>(there) / static_cast<double>(kind.columns.size());
    if (share < most) continue;
    alone = share > most;
    best = &kind;
    most = share;
  }
  return alone ? best : nullptr;
}

[[noreturn]] void no_known_kind(const KernelTable& table) {
  const Where start{table.path().string(), 1, 1};
  const Kind* const nearest = nearest_kind(table);
  if (nearest == nullptr)
    throw_input_error({start, "", "no kernel measurements of a known kind",
                       "its columns tell the kind: see calibrate/README.md"});
  Diagnostics mistakes;
  for (const std::string_view column : nearest->columns) {
    if (!table.has(column))
      mistakes.add({start, std::string(column), "missing column",
                    fmt::format("tables of this kind have {}: see calibrate/README.md",
                                fmt::join(nearest->columns, ", "))});
  }
  mistakes.throw_if_any();
  throw_input_error(
      {start, "", "no kernel measurements of a known kind", "see calibrate/README.md"});
}

/// What rows say of whose kernels they are.
void note_versions(const KernelTable& table, KernelSamples& out) {
  if (!table.has("version")) return;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    const std::string framework = table.text(row, {"src", "framework"});
    const std::string version = table.text(row, {"version"});
    if (!framework.empty() && !version.empty()) out.versions[framework].insert(version);
  }
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
  for (const auto& [framework, version] : read.versions) out.versions[framework].insert(version);
  out.measured = read.measured > 0;
  out.imported = read.imported > 0;
  return out;
}

/// A table, or why it is none of `importer`'s.
struct TableOrNot {
  std::optional<KernelSamples> samples;
  std::optional<KernelTable> table;  ///< read, but of no known kind
  std::string importer;              ///< whose it is; "" nobody's
  std::size_t rows = 0;              ///< of one that is not
};

TableOrNot read_if_known(const fs::path& path, const std::string& importer) {
  const std::string text = read_file(path);
  if (is_sample_file(text) && importer.empty()) return {from_sample_file(text, path), {}, "", 0};
  if (is_sample_file(text))
    throw_input_error({{path.string(), 1, 1},
                       "",
                       "holds samples already, nothing to import",
                       "moesim fit and moesim check read it"});
  CsvTable csv = CsvTable::parse(text, path.string());
  if (is_aic_table(csv)) csv = in_our_columns(csv);
  KernelTable table(std::move(csv), path);
  const Kind* kind = kind_of(table);
  const std::size_t rows = table.rows();
  if (kind == nullptr) return {std::nullopt, std::move(table), "", rows};
  if (!importer.empty() && importer != kind->importer) {
    return {std::nullopt, {}, kind->importer, rows};
  }
  KernelSamples samples;
  samples.files = {{path, sha256(text)}};
  samples.imported = true;
  kind->read(table, samples);
  table.throw_if_any();
  note_versions(table, samples);
  return {std::move(samples), {}, kind->importer, 0};
}

void append(KernelSamples& all, KernelSamples&& one) {
  std::ranges::move(one.samples, std::back_inserter(all.samples));
  std::ranges::move(one.notes, std::back_inserter(all.notes));
  std::ranges::move(one.files, std::back_inserter(all.files));
  for (KernelProfile::Source& source : one.sources) {
    if (std::ranges::find(all.sources, source) == all.sources.end())
      all.sources.push_back(std::move(source));
  }
  for (const auto& [framework, versions] : one.versions)
    all.versions[framework].insert(versions.begin(), versions.end());
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
    const std::string name = lower_case(entry.path().filename().string());
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
  if (read.table) no_known_kind(*read.table);
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
