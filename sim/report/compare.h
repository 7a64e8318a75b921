#pragma once

#include <cstdint>
#include <vector>

#include "sim/report/metric_values.h"
#include "sim/report/result.h"
#include "sim/report/run_view.h"

namespace moesim {

/// What a comparison needs of a run's requests, by row; NaN where a request has no such latency or
/// does not count.
struct RequestSamples {
  std::vector<double> ttft_ms, tpot_ms, e2el_ms;
  std::vector<double> slo_met;                      ///< 1 or 0; empty without targets
  std::vector<double> share_s;                      ///< its share of the duration: time_shares.h
  double in_service = 0;                            ///< mean requests in service
  std::vector<double> completed;                    ///< 1 or 0
  std::vector<double> output_tokens, total_tokens;  ///< 0 unless completed
};
[[nodiscard]] RequestSamples request_samples(const RunView& view);

/// One side of a comparison.
struct ComparedRun {
  const RunResult& result;
  const RequestSamples& samples;
  const std::vector<MetricValues>& replicas;  ///< headlines of each; empty without replicas
};

/// What the variant changes, metric by metric, with the interval of two kinds of chance together
/// (difference_interval.h): which requests came, and how far step times are off. P10 and P90 are
/// quantiles of the difference; `significant` means that its central 95 % does not hold 0.
///
/// Requests: both runs have the same random numbers, so request i of one is request i of the other
/// and their differences carry less noise than the runs. Neighbouring requests are not independent
/// (they share queues and batches), so requests are resampled in 20 contiguous blocks of arrival
/// order, the same blocks on both sides (block bootstrap: H. Kuensch, Annals of Statistics 17(3),
/// 1989), 200 times. Rates of a run as a whole (throughput, goodput, cost per token) are resampled
/// the same way, as ratios: what the drawn requests completed over the time they stand for
/// (time_shares.h). All requests once give the rate as reported. Requests in service together share
/// their time, so blocks must be longer than what is in service: with more than a twentieth of all
/// requests in service on average (everything sent at once, say) a rate cannot be resampled.
/// Neither can ITL (gaps of a batch belong to no request), nor runs with different numbers of
/// requests or fewer than 40.
///
/// Step times: replica r of both runs has the same factors of the operator families (common random
/// numbers: steptime.md 4), so what both runs are wrong about alike cancels in its difference. Runs
/// of identical scenarios differ by exactly 0 in each.
///
/// Replicas alone make the interval of what cannot be resampled. No interval: neither of the two,
/// runs with different numbers of replicas, and what has no chance in it (memory; `exact`).
[[nodiscard]] std::vector<MetricDelta> compare(const ComparedRun& base, const ComparedRun& variant,
                                               std::uint64_t seed);

/// The changes a variant makes to the base document.
[[nodiscard]] std::vector<Change> variant_changes(const Scenario& base, const VariantSpec& variant);

}  // namespace moesim
