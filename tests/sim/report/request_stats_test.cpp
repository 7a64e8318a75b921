#include "sim/report/request_stats.h"

#include <cmath>
#include <doctest/doctest.h>
#include <vector>

#include "report_support.h"

using namespace moesim;
using doctest::Approx;

TEST_CASE("latencies of a request follow vLLM bench's definitions") {
  HandMadeRun run;
  struct Case {
    const char* why;
    HandMadeRun::Times times;
    std::uint32_t output;
    double ttft_ms, e2el_ms, queue_ms, tpot_ms, ttst_ms;  // -1: undefined
  };
  const Case cases[] = {
      {"queueing counts towards the first token", {100, 130, 200, 500}, 4, 100, 400, 30, 100, 100},
      {"the second token's time runs from the first token, and is no mean",
       {100, 130, 200, 500, 450},
       4,
       100,
       400,
       30,
       100,
       250},
      {"one token has no gaps: TPOT is undefined, not zero", {0, 0, 50, 50}, 1, 50, 50, 0, -1, -1},
      {"two tokens: the one gap", {0, 5, 50, 57}, 2, 50, 57, 5, 7, 7},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const std::size_t row = run.complete(c.times, 10, c.output);
    const RequestLatencies latency = request_latencies(run.requests, row);
    CHECK(*latency.ttft * 1e-6 == Approx(c.ttft_ms));
    CHECK(*latency.e2el * 1e-6 == Approx(c.e2el_ms));
    CHECK(*latency.queue * 1e-6 == Approx(c.queue_ms));
    CHECK(latency.tpot.has_value() == (c.tpot_ms >= 0));
    if (latency.tpot) CHECK(*latency.tpot * 1e-6 == Approx(c.tpot_ms));
    CHECK(latency.ttst.has_value() == (c.ttst_ms >= 0));
    if (latency.ttst) CHECK(*latency.ttst * 1e-6 == Approx(c.ttst_ms));
  }
}

TEST_CASE("percentiles interpolate linearly between sorted samples, as NumPy does") {
  HandMadeRun run;
  // TTFT 10, 20, 30, 40 ms: p50 = 25, p90 = 37, p99 = 39.7; mean 25; population std sqrt(125).
  for (const double ttft : {40.0, 10.0, 30.0, 20.0}) run.complete({0, 0, ttft, 100}, 1, 2);
  const RequestStatistics stats = request_statistics(run.view());
  REQUIRE(stats.ttft_ms);
  CHECK(stats.ttft_ms->p50 == Approx(25));
  CHECK(stats.ttft_ms->p90 == Approx(37));
  CHECK(stats.ttft_ms->p99 == Approx(39.7));
  CHECK(stats.ttft_ms->mean == Approx(25));
  CHECK(stats.ttft_ms->std == Approx(std::sqrt(125.0)));
}

TEST_CASE("completed and failed are all requests of the workload") {
  HandMadeRun run;
  run.complete({0, 0, 10, 20}, 5, 3);
  run.leave(1, RequestStatus::kDropped);
  run.leave(2, RequestStatus::kIncomplete);
  const std::size_t running = run.leave(3, RequestStatus::kIncomplete);
  run.requests.first_scheduled[running] = ms(4);
  const std::size_t unsent = run.leave(5, RequestStatus::kIncomplete);
  run.requests.arrival[unsent] = kNever;
  const RequestStatistics stats = request_statistics(run.view());
  CHECK(stats.completed == 1);
  CHECK(stats.failed == 4);
  CHECK(stats.dropped == 1);
  CHECK(stats.still_queued == 1);
  CHECK(stats.still_running == 1);
  CHECK(stats.input_tokens == 5);
  CHECK(stats.output_tokens == 3);
}

TEST_CASE("requests that arrive during the warm-up are left out of the statistics") {
  HandMadeRun run;
  run.scenario.workload.warmup_s = 1;
  run.complete({0, 0, 900, 950}, 7, 2);
  run.complete({1000, 1000, 1010, 1500}, 5, 3);
  const RequestStatistics stats = request_statistics(run.view());
  CHECK(stats.completed == 2);
  CHECK(stats.before_warmup == 1);
  CHECK(stats.counted == 1);
  CHECK(stats.ttft_ms->max == Approx(10));
  CHECK(stats.output_tokens == 3);
  CHECK(stats.duration_s(run.end_time) == Approx(0.5));
}

TEST_CASE("a run that was cut off lasts until the cut") {
  HandMadeRun run;
  run.complete({0, 0, 10, 100}, 1, 2);
  CHECK(request_statistics(run.view()).duration_s(ms(300)) == Approx(0.1));
  run.leave(50, RequestStatus::kIncomplete);
  CHECK(request_statistics(run.view()).duration_s(ms(300)) == Approx(0.3));
}

TEST_CASE("an SLO is met at its bound, and never by a request that failed") {
  HandMadeRun run;
  const std::size_t one_token = run.complete({0, 0, 50, 50}, 1, 1);
  const std::size_t slow = run.complete({0, 0, 50, 150}, 1, 2);
  const std::size_t failed = run.leave(0, RequestStatus::kIncomplete);
  SloSpec slo;
  slo.ttft_ms = 50;
  slo.tpot_ms = 99;
  CHECK(meets_slo(run.requests, one_token, slo));  // its TPOT counts as 0
  CHECK_FALSE(meets_slo(run.requests, slow, slo));
  CHECK_FALSE(meets_slo(run.requests, failed, slo));
  slo.tpot_ms = 100;
  CHECK(meets_slo(run.requests, slow, slo));
  slo.e2el_ms = 149;
  CHECK_FALSE(meets_slo(run.requests, slow, slo));
}

TEST_CASE("concurrency counts requests that share a second, as vLLM bench does") {
  HandMadeRun run;
  run.complete({0, 0, 10, 400}, 1, 2);       // second 0
  run.complete({500, 500, 510, 900}, 1, 2);  // second 0, though not at the same time
  run.complete({2100, 2100, 2110, 2200}, 1, 2);
  CHECK(request_statistics(run.view()).max_concurrent == 2);
}

TEST_CASE("a sample of more than a million values is a histogram within 0.1 %") {
  Sample exact(10);
  Sample rough(2'000'000);
  std::vector<double> values;
  for (int i = 1; i <= 10'000; ++i) values.push_back(i * 1000.0);
  exact.add(values);
  rough.add(values);
  const Summary a = *exact.take_summary(1e-6);
  const Summary b = *rough.take_summary(1e-6);
  CHECK(b.count == a.count);
  CHECK(b.mean == Approx(a.mean));
  CHECK(b.p50 == Approx(a.p50).epsilon(1.5e-3));
  CHECK(b.p99 == Approx(a.p99).epsilon(1.5e-3));
  CHECK_FALSE(Sample(0).take_summary(1));
}

TEST_CASE("summaries hold every request once, however many there are") {
  // More than any buffer on the way, and one that has no second token.
  HandMadeRun run;
  for (int i = 1; i <= 700; ++i) run.complete({0, 0, 1.0 * i, 10'000}, 5, i == 300 ? 1 : 2);
  const RequestStatistics stats = request_statistics(run.view());
  REQUIRE(stats.ttft_ms);
  CHECK(stats.ttft_ms->count == 700);
  CHECK(stats.ttft_ms->mean == Approx(350.5));
  CHECK(stats.ttft_ms->max == Approx(700));
  CHECK(stats.tpot_ms->count == 699);
  CHECK(stats.tpot_ms->max == Approx(9999));
  CHECK(stats.output_length->mean == Approx(1399.0 / 700));
}
