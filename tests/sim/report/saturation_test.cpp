#include "sim/report/saturation.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <queue>
#include <vector>

#include "report_support.h"
#include "sim/base/random.h"

using namespace moesim;
using doctest::Approx;

namespace {

/// First come, first served by `servers` that take `service_ms` a request.
SaturationSection served(const std::vector<double>& arrivals_ms, int servers, double service_ms,
                         double cut_ms = 1e18) {
  HandMadeRun run;
  std::priority_queue<double, std::vector<double>, std::greater<>> free;
  for (int i = 0; i < servers; ++i) free.push(0);
  for (const double arrival : arrivals_ms) {
    const double start = std::max(arrival, free.top());
    if (arrival >= cut_ms) break;
    if (start >= cut_ms) {
      run.leave(arrival, RequestStatus::kIncomplete);
      continue;
    }
    free.pop();
    free.push(start + service_ms);
    run.complete({arrival, start, start + service_ms / 2, start + service_ms}, 10, 10);
  }
  run.end_time = std::min(run.end_time, ms(std::min(cut_ms, 9e12)));
  return saturation(run.view(), request_statistics(run.view()));
}

std::vector<double> poisson(int count, double gap_ms, std::uint64_t seed) {
  Rng rng(seed, "saturation_test");
  std::vector<double> arrivals;
  double now = 0;
  for (int i = 0; i < count; ++i) arrivals.push_back(now += gap_ms * rng.exponential());
  return arrivals;
}

/// `clients` who each send again when answered, served by `servers` that take about 100 ms.
SaturationSection looped(int clients, int servers, bool at_once) {
  HandMadeRun run;
  run.workload.closed_loop = !at_once;
  run.workload.max_concurrency = clients;
  Rng rng(1, "saturation_test");
  std::priority_queue<double, std::vector<double>, std::greater<>> free, answered;
  for (int i = 0; i < servers; ++i) free.push(0);
  for (int i = 0; i < clients; ++i) answered.push(0);
  for (int i = 0; i < 2000; ++i) {
    const double sent = answered.top();
    const double start = std::max(sent, free.top());
    const double end = start + 50 + 100 * rng.uniform();
    answered.pop();
    free.pop();
    free.push(end);
    answered.push(end);
    const std::size_t row = run.complete({sent, start, start + 10, end}, 10, 10);
    run.workload.arrival_ns[row] = 0;
  }
  return saturation(run.view(), request_statistics(run.view()));
}

}  // namespace

TEST_CASE("M/D/1 below its capacity is stable, above it overloaded") {
  struct Case {
    const char* why;
    double load;
    int requests;
    Verdict verdict;
  };
  const Case cases[] = {
      {"half load", 0.5, 2000, Verdict::kStable},
      {"a busy server", 0.8, 2000, Verdict::kStable},
      {"long queues that come and go", 0.9, 5000, Verdict::kStable},
      {"a fifth too much", 1.25, 1000, Verdict::kOverloaded},
      {"a fifth too much, longer", 1.25, 5000, Verdict::kOverloaded},
      {"twice too much", 2.0, 300, Verdict::kOverloaded},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      CAPTURE(seed);
      const SaturationSection s = served(poisson(c.requests, 100 / c.load, seed), 1, 100);
      CHECK(to_text(s.verdict) == doctest::String(to_text(c.verdict)));
    }
  }
}

TEST_CASE("under overload the waits grow with the excess of the load") {
  // Constant arrivals at 1.25 of capacity: the request of time t waits (1.25 - 1) t; 1 - 1/1.25 is
  // lost.
  std::vector<double> arrivals;
  for (int i = 0; i < 1000; ++i) arrivals.push_back(80.0 * i);
  const SaturationSection s = served(arrivals, 1, 100);
  CHECK(*s.latency_trend == Approx(0.25).epsilon(0.01));
  CHECK(*s.offered_rps == Approx(12.5));
  CHECK(*s.completed_rps == Approx(10).epsilon(0.01));
  CHECK(*s.rate_deficit == Approx(0.2).epsilon(0.02));
}

TEST_CASE("requests that came for less than a service time have no rate of completion") {
  std::vector<double> arrivals;
  for (int i = 0; i < 20; ++i) arrivals.push_back(10.0 * i);
  const SaturationSection brief = served(arrivals, 100, 1000);
  CHECK(to_text(brief.verdict) == doctest::String("stable"));
  CHECK(*brief.offered_rps == Approx(100));
  CHECK_FALSE(brief.completed_rps);
  CHECK_FALSE(brief.rate_deficit);
  CHECK(served(arrivals, 100, 100).completed_rps);
}

TEST_CASE("the rate of nine requests is none") {
  std::vector<double> arrivals;
  for (int i = 0; i < 9; ++i) arrivals.push_back(1000.0 * i);
  const SaturationSection tiny = served(arrivals, 1, 10);
  CHECK(*tiny.offered_rps == Approx(1));
  CHECK_FALSE(tiny.completed_rps);
  CHECK_FALSE(tiny.rate_deficit);
  arrivals.push_back(9000.0);
  CHECK(served(arrivals, 1, 10).completed_rps);
}

TEST_CASE("a run that ends before its first request is not backlogged") {
  HandMadeRun run;
  run.requests.arrival[run.leave(5, RequestStatus::kPending)] = kNever;
  run.end_time = ms(1);
  CHECK(to_text(saturation(run.view(), request_statistics(run.view())).verdict) ==
        doctest::String("stable"));
}

TEST_CASE("requests due at once are not a queue when all of them are served at once") {
  std::vector<double> pairs;
  for (const double at : poisson(210, 1250, 1)) pairs.insert(pairs.end(), {at, at});
  CHECK(to_text(served(pairs, 2, 700).verdict) == doctest::String("stable"));
}

TEST_CASE("a load that changes is judged by what it leaves to do") {
  // 10 requests/s can be served. {seconds, requests/s} one after the other.
  struct Stretch {
    double s, rate;
  };
  struct Case {
    const char* why;
    std::vector<Stretch> stretches;
    Verdict verdict;
  };
  const Case cases[] = {
      {"a rush in the middle that is worked off",
       {{300, 5}, {100, 20}, {600, 5}},
       Verdict::kBacklogged},
      {"a rush that most of the run is spent on, worked off in the end",
       {{50, 5}, {400, 14}, {800, 7}},
       Verdict::kBacklogged},
      {"a day of more than is served, less at its end",
       {{150, 8}, {400, 10}, {500, 15}, {350, 9}},
       Verdict::kOverloaded},
      {"a rush too large for the rest of the run, whose waits have no trend",
       {{200, 10}, {200, 20}, {700, 9}},
       Verdict::kOverloaded},
      {"growing to twice too much",
       {{100, 2}, {100, 4}, {100, 6}, {100, 8}, {100, 10}, {100, 12}, {100, 16}, {100, 20}},
       Verdict::kOverloaded},
      {"falling from twice too much, not worked off",
       {{100, 20}, {100, 16}, {100, 14}, {100, 12}, {100, 10}, {100, 8}},
       Verdict::kOverloaded},
      {"falling from too much, worked off",
       {{100, 14}, {100, 12}, {100, 8}, {100, 6}, {100, 4}, {100, 2}},
       Verdict::kBacklogged},
      {"a swing within the capacity", {{200, 2}, {200, 8}, {200, 2}, {200, 8}}, Verdict::kStable},
      {"a burst at the very end", {{500, 5}, {1, 200}}, Verdict::kBacklogged},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
      CAPTURE(seed);
      std::vector<double> arrivals;
      double begin_ms = 0;
      for (const Stretch& stretch : c.stretches) {
        const int count = static_cast<int>(stretch.s * stretch.rate);
        for (const double at : poisson(count, 1000 / stretch.rate, seed))
          arrivals.push_back(begin_ms + at);
        begin_ms = std::max(begin_ms + stretch.s * 1000, arrivals.back());
      }
      CHECK(to_text(served(arrivals, 1, 100).verdict) == doctest::String(to_text(c.verdict)));
    }
  }
}

TEST_CASE("an engine of many places is judged like one of few") {
  // 256 places of 45 s serve 5.7 requests/s: a wait of one service is 256 requests in line.
  const SaturationSection s = served(poisson(6000, 1000 / 6.6, 1), 256, 45'000);
  CHECK(to_text(s.verdict) == doctest::String("overloaded"));
  CHECK(to_text(served(poisson(6000, 1000 / 5.0, 1), 256, 45'000).verdict) ==
        doctest::String("stable"));
}

TEST_CASE("a short run of a busy server is no overload") {
  for (const int requests : {10, 20, 50, 100}) {
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
      CAPTURE(requests);
      CAPTURE(seed);
      const SaturationSection s = served(poisson(requests, 125, seed), 1, 100);
      CHECK(to_text(s.verdict) != doctest::String("overloaded"));
    }
  }
}

TEST_CASE("a run in which nothing completed is not called stable") {
  HandMadeRun run;
  for (int i = 0; i < 4; ++i) {
    const std::size_t row = run.leave(100.0 * i, RequestStatus::kIncomplete);
    run.requests.first_scheduled[row] = ms(100.0 * i + 1);
  }
  CHECK(to_text(saturation(run.view(), request_statistics(run.view())).verdict) ==
        doctest::String("backlogged"));
}

TEST_CASE("an overload that was cut off is still one, and counts what is left") {
  const SaturationSection s = served(poisson(2000, 50, 3), 1, 100, 60'000);
  CHECK(to_text(s.verdict) == doctest::String("overloaded"));
  CHECK(s.still_queued > 400);
}

TEST_CASE("requests that take longer than the run are no overload while nobody waits") {
  const SaturationSection s = served(poisson(200, 100, 1), 1000, 60'000);
  CHECK(to_text(s.verdict) == doctest::String("stable"));
  CHECK(*s.rate_deficit < 0.15);
}

TEST_CASE("everything at once is a backlog if it has to wait for others to end") {
  const std::vector<double> at_once(400, 0.0);
  CHECK(to_text(served(at_once, 16, 1000).verdict) == doctest::String("backlogged"));
  CHECK(to_text(served(at_once, 400, 1000).verdict) == doctest::String("stable"));
}

TEST_CASE("a burst that drains again is a backlog, not an overload") {
  std::vector<double> arrivals = poisson(1000, 200, 5);
  const double middle = arrivals[500];
  for (int i = 0; i < 200; ++i) arrivals.push_back(middle + i);
  std::sort(arrivals.begin(), arrivals.end());
  CHECK(to_text(served(arrivals, 1, 100).verdict) == doctest::String("backlogged"));
}

TEST_CASE("a run cut off before most requests start is a backlog") {
  const SaturationSection s = served(std::vector<double>(100, 0.0), 2, 1000, 3500);
  CHECK(to_text(s.verdict) == doctest::String("backlogged"));
  CHECK(s.still_queued == 92);
}

TEST_CASE("a closed loop is backlogged when its clients wait for one another") {
  struct Case {
    const char* why;
    int clients, servers;
    Verdict verdict;
  };
  const Case cases[] = {
      {"room for everybody", 16, 16, Verdict::kStable},
      {"more room than clients", 16, 64, Verdict::kStable},
      {"one in 17 waits", 17, 16, Verdict::kStable},
      {"one in five waits", 20, 16, Verdict::kBacklogged},
      {"most wait", 64, 16, Verdict::kBacklogged},
  };
  for (const Case& c : cases) {
    for (const bool at_once : {false, true}) {  // the same loop, written as a cap on everything
      CAPTURE(std::string(c.why));
      CAPTURE(at_once);
      const SaturationSection s = looped(c.clients, c.servers, at_once);
      CHECK(to_text(s.verdict) == doctest::String(to_text(c.verdict)));
      CHECK_FALSE(s.latency_trend);
    }
  }
}

TEST_CASE("a cap at the client does not hide an overload") {
  // 12.5 requests/s are due, 10 are served; with at most 2 sent nobody waits at the engine for
  // long.
  HandMadeRun run;
  run.workload.max_concurrency = 2;
  double free_at = 0;
  std::vector<double> ends(2, 0.0);
  for (int i = 0; i < 500; ++i) {
    const double due = 80.0 * i;
    const double sent = std::max(due, ends[static_cast<std::size_t>(i % 2)]);
    const double start = std::max(sent, free_at);
    free_at = ends[static_cast<std::size_t>(i % 2)] = start + 100;
    const std::size_t row = run.complete({sent, start, start + 50, start + 100}, 10, 10);
    run.workload.arrival_ns[row] = ms(due);
  }
  const SaturationSection s = saturation(run.view(), request_statistics(run.view()));
  CHECK(to_text(s.verdict) == doctest::String("overloaded"));
  CHECK(*s.offered_rps == Approx(12.5));
  CHECK(*s.completed_rps == Approx(10).epsilon(0.02));
  CHECK(*s.latency_trend == Approx(0.25).epsilon(0.02));
}

TEST_CASE("a deployment that refuses most of its requests does not keep up") {
  struct Case {
    const char* why;
    int served, refused;
    Verdict verdict;
  };
  const Case cases[] = {
      {"all", 0, 40, Verdict::kOverloaded},
      {"all but a few", 2, 400, Verdict::kOverloaded},
      {"three of five", 40, 60, Verdict::kOverloaded},
      {"nearly half", 160, 140, Verdict::kOverloaded},
      {"a few", 40, 4, Verdict::kStable},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    HandMadeRun run;
    for (int i = 0; i < c.served; ++i)
      run.complete({100.0 * i, 100.0 * i, 100.0 * i + 10, 100.0 * i + 20}, 1, 2);
    for (int i = 0; i < c.refused; ++i) run.leave(10.0 * i, RequestStatus::kDropped);
    const SaturationSection s = saturation(run.view(), request_statistics(run.view()));
    CHECK(to_text(s.verdict) == doctest::String(to_text(c.verdict)));
    CHECK(s.dropped_unservable == c.refused);
  }
}

TEST_CASE("a handful of requests has no trend") {
  const SaturationSection s = served(poisson(5, 1, 1), 1, 100);
  CHECK_FALSE(s.latency_trend);
  CHECK(to_text(s.verdict) == doctest::String("stable"));
  const HandMadeRun empty;
  CHECK_FALSE(saturation(empty.view(), request_statistics(empty.view())).offered_rps);
}
