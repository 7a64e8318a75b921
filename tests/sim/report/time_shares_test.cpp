#include "sim/report/time_shares.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "report_support.h"
#include "sim/base/random.h"
#include "sim/report/request_stats.h"

using namespace moesim;
using doctest::Approx;

TEST_CASE("requests share the time they are served") {
  struct Case {
    const char* why;
    std::vector<std::vector<double>> stays;  // start and finish, ms
    std::vector<double> shares;              // ms
  };
  const Case cases[] = {
      {"alone", {{0, 10}}, {10}},
      {"all at once: evenly", {{0, 12}, {0, 12}, {0, 12}}, {4, 4, 4}},
      {"0-4 alone, 4-10 together, 10-12 alone", {{0, 10}, {4, 12}}, {4 + 3, 3 + 2}},
      {"one inside the other", {{0, 10}, {4, 6}}, {4 + 1 + 4, 1}},
      {"an idle gap is the next one's", {{0, 10}, {25, 30}}, {10, 15 + 5}},
      {"handing over without a gap", {{0, 10}, {10, 15}}, {10, 5}},
      {"waiting is nobody's service", {{3, 10}, {10, 15}}, {10, 5}},
      {"out of the order of arrival", {{5, 10}, {0, 5}}, {5, 5}},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    HandMadeRun run;
    for (const auto& stay : c.stays) run.complete({0, stay[0], stay[1], stay[1]}, 1, 1);
    const std::vector<double> shares = time_shares(run.view()).seconds;
    for (std::size_t i = 0; i < c.shares.size(); ++i) CHECK(shares[i] * 1e3 == Approx(c.shares[i]));
  }
}

TEST_CASE("shares add up to the duration of the run, whatever happened in it") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    CAPTURE(seed);
    Rng rng(seed, "time_shares_test");
    HandMadeRun run;
    run.scenario.workload.warmup_s = seed % 2 == 0 ? 0.5 : 0;
    double now = 0;
    for (int i = 0; i < 60; ++i) {
      now += 50 * rng.exponential();
      const auto fate = rng.below(10);
      if (fate == 0) run.leave(now, RequestStatus::kDropped);
      if (fate == 1 && seed % 3 == 0)
        run.requests.first_scheduled[run.leave(now, RequestStatus::kIncomplete)] = ms(now + 1);
      if (fate > 1) run.complete({now, now + 1, now + 2, now + 2 + 100 * rng.exponential()}, 1, 1);
    }
    run.end_time = std::max(run.end_time, ms(now + 1));
    const RunView view = run.view();
    double sum = 0;
    for (const double share : time_shares(view).seconds) sum += std::isnan(share) ? 0 : share;
    CHECK(sum == Approx(request_statistics(view).duration_s(view.end_time)).epsilon(1e-9));
  }
}

TEST_CASE("requests of the warm-up and those refused stand for no time") {
  HandMadeRun run;
  run.scenario.workload.warmup_s = 1;
  run.complete({500, 500, 1500, 1600}, 1, 1);
  run.leave(1000, RequestStatus::kDropped);
  run.complete({1200, 1200, 1300, 1400}, 1, 1);
  const std::vector<double> shares = time_shares(run.view()).seconds;
  CHECK(std::isnan(shares[0]));
  CHECK(shares[1] == 0);
  CHECK(shares[2] == Approx(0.4));  // counting starts with the refused one
}

TEST_CASE("requests in service are counted over time") {
  HandMadeRun run;
  run.complete({0, 0, 5, 10}, 1, 1);
  run.complete({0, 5, 6, 15}, 1, 1);
  run.complete({0, 15, 16, 20}, 1, 1);
  CHECK(time_shares(run.view()).in_service == Approx(25.0 / 20));
}
