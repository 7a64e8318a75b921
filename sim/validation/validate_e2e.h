#pragma once

#include <atomic>
#include <filesystem>
#include <vector>

#include "sim/base/csv.h"
#include "sim/validation/accuracy.h"

namespace moesim {

/// Predicts what published measurements say (`moesim validate e2e`). Each path is a CSV or a folder
/// of them. Tables of start-up memory: `weights`, `kv_tokens` (or `kv_gib`), and whether the engine
/// starts (`fits`). Tables of throughput and latency: every metric a row has of `output_tok_s`,
/// `total_tok_s` and mean, p50, p90, p99 of `ttft`, `tpot`, `itl`, `e2e`. `jobs` simulations at a
/// time change no result. Once `stop` is set, no simulation begins, and what is finished is
/// returned. Throws InputError for a file that is neither, and for the mistakes in all of them,
/// before anything is simulated.
[[nodiscard]] Validation validate_e2e(const std::vector<std::filesystem::path>& paths, int jobs = 1,
                                      const std::atomic<bool>* stop = nullptr);

/// The same for one table; `source` names its group where the rows have no column `source_id`.
/// Adds to `rows`, `unsupported` and `warnings` only.
void compare_table(const CsvTable& table, const std::string& source, int jobs, Validation& out,
                   const std::atomic<bool>* stop = nullptr);

}  // namespace moesim
