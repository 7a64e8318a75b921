#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sim/base/stats.h"
#include "sim/report/result.h"
#include "sim/report/run_view.h"

namespace moesim {

/// Latencies of one request, nanoseconds, by the definitions of glossary 1; absent where undefined.
/// `ttst`, the time to the second token, runs from the first one (AIPerf).
struct RequestLatencies {
  std::optional<double> ttft, ttst, tpot, e2el, queue;
};
[[nodiscard]] RequestLatencies request_latencies(const RequestTable& table, std::size_t row);

/// Whether a request meets every per-request target (ttft, tpot, e2el). One that did not complete
/// does not; the TPOT of a one-token output counts as 0 (as vLLM bench). An ITL target is about
/// gaps and not looked at here.
[[nodiscard]] bool meets_slo(const RequestTable& table, std::size_t row, const SloSpec& slo);

/// A sample of one quantity: exact up to 10^6 expected values, beyond that a histogram of 0.1 %
/// width of the values rounded to whole numbers (glossary 7).
class Sample {
 public:
  explicit Sample(std::size_t expected);
  void add(std::span<const double> values);
  /// Summary of the values times `scale`; nothing if there are none. Empties the sample.
  [[nodiscard]] std::optional<Summary> take_summary(double scale);

 private:
  std::vector<double> exact_;
  std::optional<LogHistogram> histogram_;
};

[[nodiscard]] Summary scaled(const Summary& summary, double factor);

/// What the request table says about a run.
struct RequestStatistics {
  std::int64_t completed = 0, failed = 0;  ///< of all requests
  std::int64_t before_warmup = 0;          ///< left out of everything below
  std::int64_t counted = 0, counted_completed = 0, good = 0;
  std::int64_t dropped = 0, still_queued = 0, still_running = 0;
  std::int64_t input_tokens = 0, output_tokens = 0;  ///< of counted completed requests
  SimTime first_arrival = kNever, last_arrival = 0, last_finish = 0;
  std::optional<Summary> ttft_ms, ttst_ms, tpot_ms, e2el_ms, queue_ms, input_length, output_length;
  std::optional<double> tokens_per_s_per_user;  ///< mean over requests of 1 / TPOT
  std::int64_t max_concurrent = 0;
  std::vector<std::int64_t> completed_by_instance, output_tokens_by_instance;
  std::vector<std::int64_t> counted_by_class, good_by_class;  ///< by Workload::slo_class_names

  /// Seconds from the first counted arrival to the last finish, or to `end_time` if a counted
  /// request had not finished by then.
  [[nodiscard]] double duration_s(SimTime end_time) const;
};
[[nodiscard]] RequestStatistics request_statistics(const RunView& view);

/// Whether a request counts: it was issued, and not during the warm-up.
[[nodiscard]] inline bool is_counted(const RequestTable& table, std::size_t row, SimTime warmup) {
  return table.arrival[row] != kNever && table.status[row] != RequestStatus::kPending &&
         table.arrival[row] >= warmup;
}

}  // namespace moesim
