#pragma once

#include <cstdint>
#include <vector>

#include "sim/report/result.h"
#include "sim/report/run_view.h"

namespace moesim {

/// What a comparison needs of a run's requests, by row; NaN where a request has no such latency or
/// does not count.
struct RequestSamples {
  std::vector<double> ttft_ms, tpot_ms, e2el_ms;
  std::vector<double> slo_met;  ///< 1 or 0; empty without targets
};
[[nodiscard]] RequestSamples request_samples(const RunView& view);

/// One side of a comparison.
struct ComparedRun {
  const RunResult& result;
  const RequestSamples& samples;
};

/// What the variant changes, metric by metric.
///
/// Both runs have the same random numbers, so request i of one is request i of the other and their
/// differences carry less noise than the runs. Neighbouring requests are not independent (they
/// share queues and batches), so requests are resampled in 20 contiguous blocks of arrival order,
/// the same blocks on both sides (block bootstrap: H. Kuensch, Annals of Statistics 17(3), 1989),
/// 200 times. P10 and P90 are quantiles of the resampled difference; `significant` means that its
/// central 95 % does not hold 0. Metrics of a run as a whole (throughput, cost) and runs with
/// different numbers of requests have no interval.
[[nodiscard]] std::vector<MetricDelta> compare(const ComparedRun& base, const ComparedRun& variant,
                                               std::uint64_t seed);

/// The changes a variant makes to the base document.
[[nodiscard]] std::vector<Change> variant_changes(const Scenario& base, const VariantSpec& variant);

}  // namespace moesim
