#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace moesim {

/// One quantity of one measured row, and what we predict for it. Units by metric: `weights` and
/// `kv_gib` in GiB per GPU, `kv_tokens` in tokens per engine, `fits` 1 if the engine starts, else
/// 0; `kv_blocks` in blocks per engine; `*_tok_s` in tokens a second of the whole system; `ttft_*`,
/// `tpot_*`, `itl_*`, `e2e_*` in milliseconds.
struct ComparedValue {
  std::string id, metric;
  double measured = 0;
  double predicted = 0;
  std::optional<double> p10, p90;    ///< interval of the prediction, if it has one
  std::optional<double> peer_error;  ///< another simulator's error on the same value
  std::string source, gpu, engine;   ///< groups it belongs to; an empty name is no group
  std::string model;                 ///< shipped id; empty for memory tables
  std::string layout;                ///< of several GPUs' experts, another group; may be empty
  std::string left_out;              ///< why no group counts it, in a sentence; mostly empty
  bool moe = false;
  std::vector<std::string> assumed;  ///< what the row does not state and we filled in, in words
  /// (predicted - measured) / measured; the plain difference where 0 was measured (`fits`).
  [[nodiscard]] double error() const;
};

/// A row, or a part of it, that was not compared, and why.
struct NotCompared {
  std::string id, reason;
};

/// Errors of one metric over some rows, as fractions: size (ape) and sign (pe).
struct ErrorGroup {
  std::string name, metric;
  std::size_t n = 0;
  double median_ape = 0, p90_ape = 0, median_pe = 0;
};

/// How well a prediction orders what was measured, over some rows.
struct RankCorrelation {
  std::string name, metric;
  std::size_t n = 0;
  double spearman = 0;
};

/// How many measurements lie inside the P10-P90 interval of their prediction, of those that have
/// one: 0.8 if the intervals are right.
struct IntervalCoverage {
  std::string name, metric;
  std::size_t n = 0;
  double share = 0;
};

/// What `moesim validate` found.
struct Validation {
  std::vector<ComparedValue> rows;
  std::vector<ErrorGroup> groups;
  std::vector<RankCorrelation> ranks;
  std::vector<IntervalCoverage> coverage;
  std::vector<NotCompared> unsupported;
};

/// Per metric, in order of first appearance: a group for each source, source and class ("s/moe"),
/// GPU ("gpu/h100_sxm"), engine ("engine/vllm 0.15") and layout ("layout/experts cut"); then
/// "all/moe" and "all/dense", the medians over the sources' groups, so that a long sweep does not
/// outvote a single log; then "pooled", over the rows. Rows that are left out are in none.
[[nodiscard]] std::vector<ErrorGroup> group_errors(const std::vector<ComparedValue>& rows);

/// Per metric: "moe", "dense" and "pooled", where rows have intervals.
[[nodiscard]] std::vector<IntervalCoverage> interval_coverage(
    const std::vector<ComparedValue>& rows);

}  // namespace moesim
