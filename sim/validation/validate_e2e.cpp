#include "sim/validation/validate_e2e.h"

#include <algorithm>
#include <fmt/format.h>
#include <string>
#include <system_error>

#include "models/memory.h"
#include "sim/base/files.h"
#include "sim/build.h"
#include "sim/validation/compare_serving.h"
#include "sim/validation/goals.h"
#include "sim/validation/measured_setup.h"
#include "sim/validation/memory_rows.h"
#include "sim/validation/rank_correlation.h"
#include "sim/validation/row_reader.h"
#include "sim/validation/serving_rows.h"

namespace moesim {
namespace {

namespace fs = std::filesystem;

double in_gib(Bytes bytes) {
  constexpr double kGib = 1073741824.0;
  return static_cast<double>(bytes.value()) / kGib;
}

/// With windows or states, tokens that fit are not a rate of storage: a request stores fewer than
/// it has.
bool stores_every_token(const KvLayout& kv) {
  return std::ranges::all_of(
      kv.groups, [](const KvGroup& group) { return group.kind == AttentionKind::kFull; });
}

/// Compares one start-up, quantity by quantity.
class RowComparison {
 public:
  RowComparison(const MemoryRow& row, const std::string& source, Validation& out)
      : row_(row), source_(source), setup_(set_up(row)), out_(out) {}

  void run() {
    if (!setup_.problem.empty()) return skip(setup_.problem);
    const Deployment deployment = lay_out(*setup_.scenario);
    const MemoryPlan& plan = deployment.instances.front().memory;
    if (plan.gpus.empty()) return skip(plan.reason);
    const GpuMemory& gpu = plan.gpus.front();  // rank 0 prints the log
    for (const std::string& reason : row_.unclear) skip(reason);
    if (row_.weights_gib) add("weights", *row_.weights_gib, in_gib(gpu.weights.total()));
    if (!setup_.card_problem.empty()) {
      if (row_.kv_gib || row_.kv_tokens) skip("KV room: " + setup_.card_problem);
    } else {
      compare_kv(plan, gpu);
    }
    if (!said_something_) skip("neither weights nor KV room are logged");
  }

 private:
  void compare_kv(const MemoryPlan& plan, const GpuMemory& gpu) {
    if (row_.failed_to_start()) return add("fits", 0, plan.feasible ? 1 : 0);
    if (row_.kv_tokens && stores_every_token(plan.kv)) {
      add("kv_tokens", *row_.kv_tokens, static_cast<double>(plan.num_kv_tokens));
    } else if (row_.kv_tokens && !row_.kv_gib) {
      skip("KV tokens of a model with sliding-window or hybrid layers are no storage rate");
    }
    if (row_.kv_gib) add("kv_gib", *row_.kv_gib, in_gib(gpu.kv_cache));
    // Whether one longest request fits is part of the start, so its length must be known.
    if ((row_.kv_tokens || row_.kv_gib) && row_.max_model_len)
      add("fits", 1, plan.feasible ? 1 : 0);
  }

  void add(const char* metric, double measured, double predicted) {
    ComparedValue value;
    value.id = row_.id;
    value.metric = metric;
    value.measured = measured;
    value.predicted = predicted;
    value.source = source_;
    value.gpu = setup_.system;
    value.engine = setup_.engine;
    value.moe = row_.moe;
    value.assumed = setup_.assumed;
    if (value.metric != "weights") {
      value.assumed.insert(value.assumed.end(), setup_.assumed_engine.begin(),
                           setup_.assumed_engine.end());
    }
    out_.rows.push_back(value);
    said_something_ = true;
  }

  void skip(const std::string& reason) {
    out_.unsupported.push_back({row_.id, reason});
    said_something_ = true;
  }

  const MemoryRow& row_;
  const std::string& source_;
  MeasuredSetup setup_;
  Validation& out_;
  bool said_something_ = false;
};

std::vector<fs::path> tables_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".csv") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  if (files.empty())
    throw_input_error({{folder.string(), 0, 0},
                       "",
                       "no CSV files in this folder",
                       "name a folder of measurement tables, or one file"});
  return files;
}

std::vector<fs::path> files_of(const std::vector<fs::path>& paths) {
  std::vector<fs::path> files;
  for (const fs::path& path : paths) {
    std::error_code error;
    const bool folder = fs::is_directory(path, error);
    for (const fs::path& file : folder ? tables_in(path) : std::vector<fs::path>{path})
      files.push_back(file);
  }
  return files;
}

/// A table of one of the two kinds, read.
struct MeasuredTable {
  std::string source;
  std::vector<MemoryRow> memory;
  std::vector<ServingRow> serving;
  std::vector<std::string> warnings;
};

MeasuredTable read_table(const CsvTable& table, const std::string& source) {
  MeasuredTable out{source, {}, {}, repeated_ids(table)};
  const auto warn = [&](const std::vector<std::string>& known) {
    for (std::string& warning : misspelt_columns(table, known))
      out.warnings.push_back(std::move(warning));
  };
  if (is_memory_table(table)) {
    out.memory = read_memory_rows(table);
    warn(memory_columns());
    return out;
  }
  if (is_serving_table(table)) {
    out.serving = read_serving_rows(table, source);
    warn(serving_columns());
    return out;
  }
  throw_input_error({{table.file_name(), 1, 1},
                     "",
                     "neither a table of start-up memory nor of serving measurements",
                     "one has a column weights_per_gpu or kv_tokens, the other one of what was "
                     "measured, such as output_tok_s or ttft_ms_mean"});
}

/// Every table, or the mistakes of all of them: before the first simulation.
std::vector<MeasuredTable> read_tables(const std::vector<fs::path>& paths) {
  std::vector<MeasuredTable> tables;
  Diagnostics diagnostics;
  for (const fs::path& file : files_of(paths)) {
    try {
      const CsvTable table = CsvTable::parse(read_file(file), file.string());
      tables.push_back(read_table(table, file.stem().string()));
    } catch (const InputError& mistakes) {
      for (const Diagnostic& mistake : mistakes.diagnostics()) diagnostics.add(mistake);
    }
  }
  diagnostics.throw_if_any();
  return tables;
}

void compare(const MeasuredTable& table, int jobs, Validation& out, const std::atomic<bool>* stop) {
  for (const MemoryRow& row : table.memory) RowComparison(row, table.source, out).run();
  if (!table.serving.empty()) compare_serving(table.serving, jobs, out, stop);
  out.warnings.insert(out.warnings.end(), table.warnings.begin(), table.warnings.end());
}

}  // namespace

void compare_table(const CsvTable& table, const std::string& source, int jobs, Validation& out,
                   const std::atomic<bool>* stop) {
  compare(read_table(table, source), jobs, out, stop);
}

Validation validate_e2e(const std::vector<fs::path>& paths, int jobs,
                        const std::atomic<bool>* stop) {
  Validation validation;
  for (const MeasuredTable& table : read_tables(paths)) compare(table, jobs, validation, stop);
  validation.groups = group_errors(validation.rows);
  validation.ranks = rank_correlations(validation.rows);
  validation.coverage = interval_coverage(validation.rows);
  validation.goals = serving_goals(validation);
  return validation;
}

}  // namespace moesim
