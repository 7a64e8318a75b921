#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/base/csv.h"

namespace moesim {

/// One operating point of a real serving system, one row of a table of throughput and latency: its
/// configuration in the table's own words, and what was measured. An empty cell is nothing.
struct ServingRow {
  std::string id, source;
  std::string date;  ///< "2025-10-31", "2024-07" or "2026"
  std::string gpu, model, engine, version, weight_dtype, kv_dtype;
  std::string len_dist, load_mode, spec_decode, prefix_cache, notes;
  std::string trust;                    ///< "A", "B" or "C", as the table weighs its source
  std::string interconnect;             ///< in words
  std::string prefill_cfg, decode_cfg;  ///< layouts of the sides of a split system, in words
  bool moe = false;
  bool disagg = false;  ///< prefill and decode on GPUs of their own
  std::optional<int> gpus, tp, pp, dp, ep, attention_dp;
  std::optional<double> isl, osl;  ///< tokens
  std::optional<int> concurrency, num_requests;
  std::optional<double> request_rate;  ///< per second
  bool all_at_once = false;            ///< the rate is "inf"
  std::optional<int> max_batch, max_batched_tokens;
  bool limits_per_gpu = false;             ///< both are of one GPU ("256 per device")
  std::optional<double> memory_fraction;   ///< utilisation, static or free fraction, by engine
  std::optional<double> smaller_fraction;  ///< taken where that one does not fit
  std::optional<double> qc_little;
  std::vector<std::string> unclear;  ///< cells that cannot be read: where they stand, and why

  struct Measured {
    std::string metric;  ///< "output_tok_s", "input_tok_s", "ttft_p50", "tpot_mean", ...
    double value = 0;    ///< tokens a second of the whole system, or milliseconds
  };
  std::vector<Measured> measured;
};

/// Whether a row has drafts of a speculating model in it: a method is named.
[[nodiscard]] bool has_drafts(const ServingRow& row);

/// Whether goals are stated for a row: trust A, on one node, without speculation.
[[nodiscard]] bool is_trusted(const ServingRow& row);

/// Whether a row's engine is a plain one: no speculation, no separate prefill, no data-parallel
/// attention, no expert parallelism.
[[nodiscard]] bool is_plain(const ServingRow& row);

/// Whether a table is one of serving measurements: it has a column of something measured, such as
/// `output_tok_s`, `out_tok_s_per_gpu` or `tpot_ms_p50`.
[[nodiscard]] bool is_serving_table(const CsvTable& table);

/// The columns such tables have, those not needed here included.
[[nodiscard]] std::vector<std::string> serving_columns();

/// The rows of such a table; `source` names the group of rows without a `source_id`. Per-GPU rates
/// become system rates where only those are published. Throws InputError for a table without rows
/// or without `id`, `model`, `gpu` or `engine`, and for rows without an id; a cell that cannot be
/// read makes its row `unclear`.
[[nodiscard]] std::vector<ServingRow> read_serving_rows(const CsvTable& table,
                                                        const std::string& source);

}  // namespace moesim
