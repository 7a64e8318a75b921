// Which data-parallel rank of an instance a request goes to (serving-semantics 1.10, 8): what the
// API server knows of the ranks' queues, and when.
#include <doctest/doctest.h>
#include <memory>
#include <vector>

#include "tests/sim/small_cluster.h"

using namespace moesim;

namespace {

constexpr SimTime kMs = 1'000'000;

/// Ten milliseconds, whatever the ranks do.
class TenMs final : public StepPricer {
 public:
  void price(const StepWork&, StepCost& cost) override { cost.stage_ns.assign(1, 10e6); }
  void price_ranks(std::span<const StepWork>, StepCost& cost) override {
    cost.stage_ns.assign(1, 10e6);
  }
  [[nodiscard]] int stages() const override { return 1; }
};

/// [request] the rank it was sent to.
std::vector<int> ranks_of(const SmallCluster& cluster, int ranks, RankBalance balance,
                          const std::vector<Ask>& asks) {
  Simulation::Options options;
  options.max_model_len = cluster.limits.max_model_len;
  Simulation simulation(asked(asks), made<RequestRouter>("round_robin"), options);
  TenMs pricer;
  Instance::Config config = cluster.config(0);
  config.ranks = ranks;
  config.rules = {balance, 1};
  std::vector<std::unique_ptr<Scheduler>> schedulers;
  for (int r = 0; r < ranks; ++r) schedulers.push_back(made<Scheduler>("vllm_v1"));
  simulation.add(std::make_unique<Instance>(config, simulation.workload(), simulation.table(),
                                            std::move(schedulers), pricer));
  simulation.run(nullptr);
  const auto& sent = std::as_const(simulation).table().dp_rank;
  return {sent.begin(), sent.end()};
}

}  // namespace

TEST_CASE("before anything is published a server counts what it has sent itself") {
  const std::vector<Ask> seven(7, Ask{0, 4, 50});
  CHECK(ranks_of({}, 3, RankBalance::kPublished, seven) == std::vector<int>{0, 1, 2, 0, 1, 2, 0});
}

TEST_CASE("counts are as old as their publication: a free rank is not seen before 100 ms") {
  // The second request is done after one step, at 10 ms.
  const std::vector<Ask> asks = {
      {0, 4, 100},         // rank 0
      {0, 4, 1},           // rank 1
      {50 * kMs, 4, 100},  // 4 and 4 as sent: the first rank, though rank 1 is free
      {60 * kMs, 4, 1},    // 8 and 4
      {95 * kMs, 4, 1},    // 8 and 8
      // The step that ends at 100 ms publishes 2 running and 1 waiting, 6, and nothing on rank 1.
      {105 * kMs, 4, 100},  // 6 and 0
      {106 * kMs, 4, 100},  // 6 and 4
      {107 * kMs, 4, 100},  // 6 and 8
      // At 200 ms: 3 running on rank 0, 2 on rank 1.
      {205 * kMs, 4, 100},  // 3 and 2
      {206 * kMs, 4, 100},  // 3 and 6
  };
  CHECK(ranks_of({}, 2, RankBalance::kPublished, asks) ==
        std::vector<int>{0, 1, 0, 1, 0, 1, 1, 0, 1, 0});
}

TEST_CASE("a queued request weighs four running ones") {
  // 20 blocks of 4 tokens: of two prompts of 60 on rank 0 one waits, and the next behind it.
  SmallCluster cluster;
  cluster.blocks = 20;
  const std::vector<Ask> asks = {
      {0, 60, 18},
      {0, 4, 30},
      {0, 60, 18},  // 0 1 0, by what was sent
      {0, 4, 30},
      {0, 4, 30},
      {0, 4, 30},  // 1 0 1
      // Published at 100 ms: rank 0 has 1 running and 2 waiting, 9; rank 1 has 3 running.
      {150 * kMs, 4, 2},  // 9 and 3: by number of requests it would be a tie
      {150 * kMs, 4, 2},  // 9 and 7
      {150 * kMs, 4, 2},  // 9 and 11
  };
  CHECK(ranks_of(cluster, 2, RankBalance::kPublished, asks) ==
        std::vector<int>{0, 1, 0, 1, 0, 1, 1, 1, 0});
}

TEST_CASE("an engine that slept publishes before it takes the next request") {
  const std::vector<Ask> asks = {
      {0, 4, 1},           // rank 0, done at 10 ms; nothing is published
      {500 * kMs, 4, 1},   // empty queues are known: rank 0 again
      {1000 * kMs, 4, 1},  // and again
      {1001 * kMs, 4, 1},  // rank 0 has one
  };
  CHECK(ranks_of({}, 2, RankBalance::kPublished, asks) == std::vector<int>{0, 0, 0, 1});
}

TEST_CASE("SGLang hands requests round, TensorRT-LLM to the least unfinished work") {
  const std::vector<Ask> asks = {
      {0, 100, 100},      // 200 tokens of work
      {0, 10, 1},         // 11, done at 20 ms
      {0, 10, 50},        // 60
      {30 * kMs, 4, 10},  // 200 against 60
      {31 * kMs, 4, 10},  // 200 against 74
  };
  CHECK(ranks_of({}, 2, RankBalance::kRoundRobin, asks) == std::vector<int>{0, 1, 0, 1, 0});
  CHECK(ranks_of({}, 2, RankBalance::kLeastTokens, asks) == std::vector<int>{0, 1, 1, 1, 1});
}

TEST_CASE("a request that meets the dummy steps behind a wave waits for the one that runs") {
  // Steps of 10 ms, two ranks. The first request takes three, to 30 ms; with vLLM's rule dummies
  // follow up to the 32nd.
  struct Case {
    const char* why;
    std::string engine;
    std::vector<Ask> asks;
    std::vector<SimTime> finished;
    std::uint64_t dummies;
    double request_us = 0;  // at the API server
  };
  const Case cases[] = {
      {"15 ms at the server: the wave ends at 45, dummies run to 65 beside a request ready at 59",
       "vllm",
       {{0, 4, 3}, {44 * kMs, 4, 1}},
       {45 * kMs, 75 * kMs},
       2,
       15000},
      {"dummies from 30 and 40 ms: scheduled at 50",
       "vllm",
       {{0, 4, 3}, {44 * kMs, 4, 1}},
       {30 * kMs, 60 * kMs},
       2},
      {"the last of 29 dummies begins at 310",
       "vllm",
       {{0, 4, 3}, {315 * kMs, 4, 1}},
       {30 * kMs, 330 * kMs},
       29},
      {"at 320 the ranks know that nobody has work, and sleep",
       "vllm",
       {{0, 4, 3}, {321 * kMs, 4, 1}},
       {30 * kMs, 331 * kMs},
       29},
      {"the wave goes on: 3 + 2 + 1 steps, then 26 dummies to 320",
       "vllm",
       {{0, 4, 3}, {44 * kMs, 4, 1}, {500 * kMs, 4, 1}},
       {30 * kMs, 60 * kMs, 510 * kMs},
       28},
      {"32 steps to the last token: nobody is left at the ranks' look",
       "vllm",
       {{0, 4, 32}, {324 * kMs, 4, 1}},
       {320 * kMs, 334 * kMs},
       0},
      {"SGLang's ranks look in every step",
       "sglang",
       {{0, 4, 3}, {44 * kMs, 4, 1}},
       {30 * kMs, 54 * kMs},
       0},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const SmallCluster cluster;
    Simulation::Options options;
    options.max_model_len = cluster.limits.max_model_len;
    Simulation simulation(asked(c.asks), made<RequestRouter>("round_robin"), options);
    TenMs pricer;
    Instance::Config config = cluster.config(0);
    config.ranks = 2;
    config.rules = rank_rules(c.engine);
    config.api.request_us = c.request_us;
    std::vector<std::unique_ptr<Scheduler>> schedulers;
    for (int r = 0; r < 2; ++r) schedulers.push_back(made<Scheduler>("vllm_v1"));
    simulation.add(std::make_unique<Instance>(config, simulation.workload(), simulation.table(),
                                              std::move(schedulers), pricer));
    Recorder recorder;
    simulation.run(&recorder);
    std::vector<SimTime> finished;
    for (const auto& [request, when] : recorder.finishes) finished.push_back(when);
    CHECK(finished == c.finished);
    CHECK(simulation.instances().front()->totals().dummy_steps == c.dummies);
  }
}
