#pragma once

#include <filesystem>
#include <vector>

#include "sim/base/csv.h"
#include "sim/validation/accuracy.h"

namespace moesim {

/// Predicts what published measurements say (`moesim validate e2e`). Each path is a CSV or a folder
/// of them. Tables of start-up memory are compared: `weights`, `kv_tokens` (or `kv_gib`), and
/// whether the engine starts (`fits`). Tables of throughput and latency are listed as unsupported.
/// Throws InputError for a file that is neither, and for every mistake in one.
[[nodiscard]] Validation validate_e2e(const std::vector<std::filesystem::path>& paths);

/// The same for one table; `source` names its group where the rows have no column `source_id`.
/// Adds to `rows` and `unsupported` only.
void compare_table(const CsvTable& table, const std::string& source, Validation& out);

}  // namespace moesim
