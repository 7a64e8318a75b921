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
  bool trusted = false;  ///< of the rows that goals are stated for: `is_trusted` of serving_rows.h
  std::vector<std::string> assumed;  ///< what the row does not state and we filled in, in words
  /// (predicted - measured) / measured; the plain difference where 0 was measured (`fits`).
  [[nodiscard]] double error() const;
};

/// A row, or a part of it, that was not compared, and why.
struct NotCompared {
  std::string id, reason;
  std::size_t rows = 1;  ///< of the table; 0 if the reason is a reservation about rows that were
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

/// Errors of one curve of a profile on shapes it was not fitted to, as the fit left them there.
struct LeftOutCurve {
  std::string profile, op, kernel, dtype;  ///< "h100_sxm/vllm-0.24", "moe", "triton", "bfloat16"
  int points = 0, shapes = 0;
  double median_ape = 0, p90_ape = 0;
  double in_median_ape = 0, in_p90_ape = 0;  ///< the same in sample, from the same fit
};

/// What was reached of a goal; goals.h has the goals.
struct GoalCheck {
  std::string name, metric;  ///< a group, and one of its metrics
  std::string what;          ///< "median |e|", "inside P10-P90", ...
  std::size_t n = 0;
  double reached = 0;
  double low = 0, high = 0;  ///< infinite where there is no such bound
  [[nodiscard]] bool met() const { return low <= reached && reached <= high; }
};

/// Rows of serving tables without speculation, separate prefill, data-parallel attention or expert
/// parallelism, and how many of them could be predicted.
struct PlainEngines {
  std::size_t rows = 0, expressed = 0;
};

/// Groups of the rows goals are stated for.
inline constexpr const char* kTrustedMoe = "trust A/moe";
inline constexpr const char* kTrustedDense = "trust A/dense";

/// What `moesim validate` found.
struct Validation {
  std::vector<ComparedValue> rows;
  std::vector<ErrorGroup> groups;
  std::vector<RankCorrelation> ranks;
  std::vector<IntervalCoverage> coverage;
  std::vector<NotCompared> unsupported;
  std::vector<LeftOutCurve> left_out_curves;
  PlainEngines plain_engines;
  std::vector<GoalCheck> goals;
  /// Rows or runs that were not reached because the user stopped: what is here is a part.
  std::size_t unreached = 0;
  /// What looks wrong in the tables and was not needed, a sentence each: misspelt columns.
  std::vector<std::string> warnings;
};

/// Per metric, in order of first appearance: a group for each source, source and class ("s/moe"),
/// GPU ("gpu/h100_sxm"), engine ("engine/vllm 0.15") and layout ("layout/experts cut"); then
/// "all/moe" and "all/dense", the medians over the sources' groups, so that a long sweep does not
/// outvote a single log; the same of the trusted rows, "trust A/moe" and "trust A/dense"; then
/// "pooled", over the rows. Rows that are left out are in none.
[[nodiscard]] std::vector<ErrorGroup> group_errors(const std::vector<ComparedValue>& rows);

/// Per metric: "moe", "dense" and "pooled", where rows have intervals.
[[nodiscard]] std::vector<IntervalCoverage> interval_coverage(
    const std::vector<ComparedValue>& rows);

}  // namespace moesim
