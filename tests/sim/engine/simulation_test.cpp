#include "sim/engine/simulation.h"

#include <atomic>
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "tests/sim/small_cluster.h"

using namespace moesim;

namespace {

// All prompts fit into one step of 1000 ns, so a request of n output tokens takes n * 1000 ns.
constexpr SimTime kStep = 1000;

/// Sends request r to `choices[r]` and remembers the loads it was shown.
class Scripted final : public RequestRouter {
 public:
  struct Asked {
    std::uint32_t request;
    std::vector<InstanceLoad> loads;
  };
  Scripted(std::vector<std::size_t> choices, bool live, std::vector<Asked>& asked)
      : choices_(std::move(choices)), live_(live), asked_(&asked) {}
  bool needs_load() const override { return live_; }
  void start(std::uint64_t, std::size_t, const Workload&) override {}
  std::size_t pick(std::uint32_t request, std::span<const InstanceLoad> loads) override {
    asked_->push_back({request, {loads.begin(), loads.end()}});
    return choices_[request];
  }

 private:
  std::vector<std::size_t> choices_;
  bool live_;
  std::vector<Asked>* asked_;
};

struct TwoInstances {
  FormulaSteps pricer{{}, 1};
  Simulation simulation;

  TwoInstances(const Workload& workload, std::unique_ptr<RequestRouter> router)
      : simulation(workload, std::move(router), {.max_model_len = 256}) {
    const SmallCluster cluster;
    for (const std::size_t i : {0U, 1U}) {
      simulation.add(std::make_unique<Instance>(cluster.config(i), simulation.workload(),
                                                simulation.table(), made<Scheduler>("vllm_v1"),
                                                pricer));
    }
    simulation.run(nullptr);
  }
};

}  // namespace

TEST_CASE("a request goes through the table's columns as it is served") {
  SmallCluster cluster;
  cluster.limits.max_model_len = 16;
  const SmallRun run(
      cluster, asked({{100, 4, 3}, {5000, 15, 9}, {9000, 16, 1}, {9000, 99, 1}, {9500, 4, 1}}));
  struct Case {
    std::string why;
    RequestStatus status;
    SimTime scheduled, first, second, finish;
    std::uint32_t output;
  };
  const Case cases[] = {
      {"the prompt's step samples the first of three tokens", RequestStatus::kCompleted, 100,
       100 + kStep, 100 + 2 * kStep, 100 + 3 * kStep, 3},
      {"an output is cut where prompt and output reach max_model_len", RequestStatus::kCompleted,
       5000, 5000 + kStep, kNever, 5000 + kStep, 1},
      {"a prompt as long as max_model_len leaves no room for a token", RequestStatus::kDropped,
       kNever, kNever, kNever, kNever, 0},
      {"and so does a longer one", RequestStatus::kDropped, kNever, kNever, kNever, kNever, 0},
      {"which holds nobody up", RequestStatus::kCompleted, 9500, 9500 + kStep, kNever, 9500 + kStep,
       1},
  };
  for (std::size_t r = 0; const Case& c : cases) {
    CAPTURE(c.why);
    const RequestTable& table = run.table();
    CHECK(table.status[r] == c.status);
    CHECK(table.arrival[r] == run.workload().arrival_ns[r]);
    CHECK(table.first_scheduled[r] == c.scheduled);
    CHECK(table.first_token[r] == c.first);
    CHECK(table.second_token[r] == c.second);
    CHECK(table.finish[r] == c.finish);
    CHECK(table.output_tokens[r] == c.output);
    CHECK(table.generated[r] == c.output);
    ++r;
  }
  CHECK(run.simulation().end_time() == 9500 + kStep);
}

TEST_CASE("at equal times a request is sent before an instance acts") {
  for (const int cap : {0, 100}) {  // each instance on its own clock, and all on one
    CAPTURE(cap);
    Workload workload = asked({{0, 4, 2}, {kStep, 4, 1}});
    workload.max_concurrency = cap;
    const SmallRun run(SmallCluster(), workload);
    CHECK(run.table().first_scheduled[1] == kStep);
    CHECK(run.recorder().steps.size() == 2);
  }
}

TEST_CASE("the client's semaphore holds requests back, in order") {
  struct Case {
    std::string why;
    int cap;
    std::vector<Ask> requests;
    std::vector<SimTime> sent;
  };
  const Case cases[] = {
      {"one at a time: each is sent when the one before is done",
       1,
       {{0, 4, 1}, {0, 4, 2}, {0, 4, 1}},
       {0, 1000, 3000}},
      {"two at a time: the end of either lets the next one in",
       2,
       {{0, 4, 1}, {0, 4, 3}, {0, 4, 1}, {0, 4, 1}},
       {0, 0, 1000, 2000}},
      {"a cap that never binds", 9, {{0, 4, 1}, {0, 4, 1}, {10, 4, 1}}, {0, 0, 10}},
      {"after a pause requests are sent as they come",
       1,
       {{0, 4, 1}, {500, 4, 1}, {7000, 4, 1}},
       {0, 1000, 7000}},
      {"one that the engine refuses makes room for the next at once",
       1,
       {{0, 4, 1}, {0, 999, 1}, {0, 999, 1}, {0, 4, 1}},
       {0, 1000, 1000, 1000}},
      {"a refused first one, too", 1, {{0, 999, 1}, {0, 4, 1}, {0, 4, 1}}, {0, 0, 1000}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    Workload workload = asked(c.requests);
    workload.max_concurrency = c.cap;
    const SmallRun run(SmallCluster(), workload);
    CHECK(run.table().arrival == c.sent);
    CHECK(run.count(RequestStatus::kIncomplete) == 0);
  }
}

TEST_CASE("the end of a request releases its follow-ups after their think time") {
  struct Case {
    std::string why;
    int cap;
    std::vector<Ask> requests;
    std::vector<std::uint32_t> predecessor;
    std::vector<SimTime> sent;
  };
  constexpr std::uint32_t kFirst = kNoRequest;
  const Case cases[] = {
      {"three turns in a row",
       0,
       {{100, 4, 2}, {50, 4, 1}, {0, 4, 1}},
       {kFirst, 0, 1},
       {100, 2150, 3150}},
      {"two follow-ups of the same request",
       0,
       {{0, 4, 1}, {5, 4, 1}, {3, 4, 1}},
       {kFirst, 0, 0},
       {0, 1005, 1003}},
      {"a refused request releases its follow-up at once",
       0,
       {{10, 999, 1}, {7, 4, 1}},
       {kFirst, 0},
       {10, 17}},
      {"a follow-up that is ready in the same instant as a fresh request: the lower number first",
       1,
       {{0, 4, 1}, {500, 4, 1}, {1500, 4, 1}},
       {kFirst, 0, kFirst},
       {0, 1500, 2500}},
      {"held back: the follow-up waits its turn behind the requests that were ready before",
       1,
       {{0, 4, 1}, {0, 4, 1}, {0, 4, 1}},
       {kFirst, 0, kFirst},
       {0, 2000, 1000}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    Workload workload = asked(c.requests);
    workload.predecessor = c.predecessor;
    workload.max_concurrency = c.cap;
    const SmallRun run(SmallCluster(), workload);
    CHECK(run.table().arrival == c.sent);
    CHECK(run.count(RequestStatus::kIncomplete) == 0);
  }
}

TEST_CASE("the horizon stops the clock, and what is unfinished is incomplete") {
  struct Case {
    std::string why;
    SimTime horizon;
    std::vector<RequestStatus> status;
    std::vector<SimTime> arrival;
  };
  using enum RequestStatus;
  const Case cases[] = {
      {"far away", 99'000, {kCompleted, kCompleted, kCompleted}, {0, 100, 2500}},
      {"what happens at the horizon does not happen",
       5000,
       {kIncomplete, kCompleted, kCompleted},
       {0, 100, 2500}},
      {"one nanosecond later it does", 5001, {kCompleted, kCompleted, kCompleted}, {0, 100, 2500}},
      {"a request that comes later was never sent",
       2500,
       {kIncomplete, kCompleted, kIncomplete},
       {0, 100, kNever}},
      {"no time at all", 0, {kIncomplete, kIncomplete, kIncomplete}, {kNever, kNever, kNever}},
  };
  for (const int cap : {0, 100}) {
    for (const Case& c : cases) {
      CAPTURE(cap);
      CAPTURE(c.why);
      SmallCluster cluster;
      cluster.options.horizon = c.horizon;
      // Steps end at 1000, 2000 ... 5000; the second request joins the step at 1000.
      Workload workload = asked({{0, 4, 5}, {100, 4, 1}, {2500, 4, 1}});
      workload.max_concurrency = cap;
      const SmallRun run(cluster, workload);
      CHECK(run.table().status == c.status);
      CHECK(run.table().arrival == c.arrival);
      CHECK(run.simulation().end_time() == c.horizon);
    }
  }
}

TEST_CASE("a router that needs no load is asked once per request, with zeros") {
  std::vector<Scripted::Asked> log;
  const TwoInstances world(
      asked({{0, 4, 9}, {0, 4, 9}, {0, 4, 9}}),
      std::make_unique<Scripted>(std::vector<std::size_t>{1, 0, 1}, false, log));
  CHECK(world.simulation.table().instance == std::vector<std::uint16_t>{1, 0, 1});
  REQUIRE(log.size() == 3);
  for (const Scripted::Asked& asked : log) {
    REQUIRE(asked.loads.size() == 2);
    for (const InstanceLoad& load : asked.loads) {
      CHECK(load.waiting + load.running + load.tokens == 0);
    }
  }
}

TEST_CASE("a router that needs load sees it as it is when the request arrives") {
  std::vector<Scripted::Asked> log;
  const TwoInstances world(
      asked({{0, 4, 9}, {0, 5, 2}, {10, 6, 3}, {2010, 7, 1}, {50'000, 1, 1}}),
      std::make_unique<Scripted>(std::vector<std::size_t>{1, 0, 1, 0, 0}, true, log));
  struct Case {
    std::string why;
    InstanceLoad first, second;
  };
  const Case cases[] = {
      {"nobody is there", {0, 0, 0}, {0, 0, 0}},
      {"sent at the same time: it waits, since no instance has acted yet",
       {0, 0, 0},
       {1, 0, 4 + 9}},
      {"ten ns later both run; tokens are of prompt and output", {0, 1, 5 + 2}, {0, 1, 4 + 9}},
      {"the first instance is done at 2000, the second runs two", {0, 0, 0}, {0, 2, 4 + 9 + 6 + 3}},
      {"long after, nothing is left", {0, 0, 0}, {0, 0, 0}},
  };
  REQUIRE(log.size() == 5);
  for (std::size_t r = 0; const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(log[r].request == r);
    for (const std::size_t i : {0U, 1U}) {
      const InstanceLoad& expect = i == 0 ? c.first : c.second;
      CHECK(log[r].loads[i].waiting == expect.waiting);
      CHECK(log[r].loads[i].running == expect.running);
      CHECK(log[r].loads[i].tokens == expect.tokens);
    }
    ++r;
  }
}

TEST_CASE("the digest tells runs apart and ignores how instances were interleaved") {
  const std::vector<Ask> base = {{0, 4, 3}, {100, 9, 5}, {2000, 4, 2}};
  SmallCluster two;
  two.instances = 2;
  const std::uint64_t digest = SmallRun(two, asked(base)).simulation().digest();
  Workload coupled = asked(base);
  coupled.max_concurrency = 100;
  CHECK(SmallRun(two, coupled).simulation().digest() == digest);
  CHECK(SmallRun(two, asked(base), false).simulation().digest() == digest);

  struct Case {
    std::string why;
    std::vector<Ask> requests;
  };
  const Case cases[] = {
      {"one nanosecond later", {{0, 4, 3}, {100, 9, 5}, {2001, 4, 2}}},
      {"one token more", {{0, 4, 3}, {100, 9, 5}, {2000, 4, 3}}},
      {"one block more", {{0, 4, 3}, {100, 13, 5}, {2000, 4, 2}}},
      {"one request less", {{0, 4, 3}, {100, 9, 5}}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    CHECK(SmallRun(two, asked(c.requests)).simulation().digest() != digest);
  }
}

TEST_CASE("a run can be watched and stopped from outside") {
  std::atomic<std::int64_t> completed = 0;
  std::atomic<bool> stop = false;
  SmallCluster cluster;
  cluster.options.completed = &completed;
  cluster.options.stop = &stop;
  const SmallRun all(cluster, asked({{0, 4, 1}, {0, 4, 2}, {0, 999, 1}}));
  CHECK(completed == 2);
  CHECK_FALSE(all.simulation().stopped_early());

  stop = true;  // looked at every few thousand actions
  for (const int cap : {0, 100}) {
    CAPTURE(cap);
    Workload workload = asked(std::vector<Ask>(20'000));
    workload.max_concurrency = cap;
    const SmallRun cut(cluster, workload);
    CHECK(cut.simulation().stopped_early());
    CHECK(cut.count(RequestStatus::kCompleted) < 10'000);
    CHECK(cut.count(RequestStatus::kCompleted) + cut.count(RequestStatus::kIncomplete) == 20'000);
  }
}
