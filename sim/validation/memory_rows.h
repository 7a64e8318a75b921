#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/base/csv.h"

namespace moesim {

/// A start-up of a real engine, one row of a memory table: its configuration, and what it printed.
/// An empty cell, or one that says "not stated", is nothing.
struct MemoryRow {
  std::string id;
  std::string date;  ///< "2025-10-31", "2024-07" or "2026"
  std::string gpu, model, engine, version, weight_dtype, kv_dtype;
  bool moe = false;
  std::optional<int> tp, pp, ep, attention_dp;
  std::optional<double> utilization;
  std::optional<int> max_model_len, max_num_seqs, max_num_batched_tokens, block_size;
  std::optional<double> weights_gib;  ///< per GPU
  std::optional<double> kv_gib;       ///< per GPU; negative if the engine refused to start
  std::optional<double> kv_tokens;    ///< per engine
  std::vector<std::string> unclear;   ///< values that cannot be used, and why
  [[nodiscard]] bool failed_to_start() const { return kv_gib && *kv_gib < 0; }
};

/// Whether a table is one of start-up memory (it has a column `weights_per_gpu` or `kv_tokens`).
[[nodiscard]] bool is_memory_table(const CsvTable& table);

/// The columns such tables have, those not needed here included.
[[nodiscard]] std::vector<std::string> memory_columns();

/// The rows of a memory table. Numbers may have words around them ("~0.10.1", "145 (approximate)",
/// "model default 40960"), as people wrote them down. Throws InputError with every mistake.
[[nodiscard]] std::vector<MemoryRow> read_memory_rows(const CsvTable& table);

}  // namespace moesim
