// When prompts of data-parallel ranks wait for each other (TensorRT-LLM's attention_dp_config).
#include "sim/engine/prompt_balance.h"

#include <doctest/doctest.h>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/small_cluster.h"

using namespace moesim;

namespace {

using Ranks = std::vector<RankDemand>;

/// "h" for every step that holds prompts back, "." for every other.
std::string steps(PromptBalance balance, const Ranks& ranks, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += balance.hold(ranks) ? 'h' : '.';
  return text;
}

PromptBalance waits(int timeout, int batching) {
  return PromptBalance(
      {.timeout_iters = timeout, .batching_wait_iters = batching, .max_num_seqs = 4});
}

/// Ten milliseconds a step; notes what the ranks of each step run, as "prompts+decodes" each.
class Noting final : public StepPricer {
 public:
  void price(const StepWork&, StepCost& cost) override { cost.stage_ns.assign(1, 10e6); }
  void price_ranks(std::span<const StepWork> ranks, StepCost& cost) override {
    cost.stage_ns.assign(1, 10e6);
    std::string text;
    for (const StepWork& work : ranks)
      text += std::to_string(work.chunks.size()) + "+" + std::to_string(work.decodes) + " ";
    steps.push_back(text);
  }
  [[nodiscard]] int stages() const override { return 1; }

  std::vector<std::string> steps;
};

std::vector<std::string> run_two_ranks(const AttentionDpConfig& config,
                                       const std::vector<Ask>& asks, bool kv_in_place = false) {
  SmallCluster cluster;
  cluster.limits.kv_in_place = kv_in_place;
  cluster.limits.trtllm.attention_dp = config;
  cluster.limits.async = false;
  Simulation::Options options;
  options.max_model_len = cluster.limits.max_model_len;
  Simulation simulation(asked(asks), made<RequestRouter>("round_robin"), options);
  Noting pricer;
  Instance::Config instance = cluster.config(0);
  instance.ranks = 2;
  instance.rules.balance = RankBalance::kRoundRobin;
  std::vector<std::unique_ptr<Scheduler>> schedulers;
  for (int r = 0; r < 2; ++r) schedulers.push_back(made<Scheduler>("trtllm"));
  simulation.add(std::make_unique<Instance>(instance, simulation.workload(), simulation.table(),
                                            std::move(schedulers), pricer));
  simulation.run(nullptr);
  return pricer.steps;
}

}  // namespace

TEST_CASE("prompts wait for those of other ranks, then for company, and never for ever") {
  struct Case {
    const char* what;
    Ranks ranks;
    int timeout, batching;
    const char* expect;
  };
  const std::vector<Case> cases = {
      {"one rank has none", {{2, true}, {2, false}}, 3, 0, "hh.hh."},
      {"no waiting asked for", {{2, true}, {2, false}}, 0, 0, "..."},
      {"all have one", {{2, true}, {2, true}}, 3, 0, "..."},
      {"all have one, and wait for more", {{2, true}, {2, true}}, 3, 2, "hh.hh."},
      {"a rank without decodes would stand still", {{0, true}, {2, false}}, 9, 9, "..."},
      {"and so would all", {{0, true}, {0, true}}, 9, 9, "..."},
      {"an idle rank runs a dummy", {{2, true}, {0, false}}, 3, 0, "hh."},
      {"a full rank has no room for a prompt", {{2, true}, {4, true}}, 3, 0, "hh."},
      {"nobody has one: steps count all the same", {{2, false}, {2, false}}, 2, 0, "h.h."},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    CHECK(steps(waits(c.timeout, c.batching), c.ranks,
                static_cast<int>(std::string(c.expect).size())) == c.expect);
  }
}

TEST_CASE("what was waited is forgotten when all ranks have prompts") {
  PromptBalance balance = waits(3, 0);
  const Ranks one = {{2, true}, {2, false}}, all = {{2, true}, {2, true}};
  CHECK(balance.hold(one));
  CHECK(balance.hold(one));
  CHECK_FALSE(balance.hold(all));
  CHECK(balance.hold(one));  // from zero again
}

TEST_CASE("ranks of TensorRT-LLM run prompts together") {
  // Two requests start at once; a third comes to rank 0 in the second step, a fourth to rank 1 in
  // the fifth.
  constexpr SimTime kMs = 1'000'000;
  const std::vector<Ask> asks = {{0, 4, 12}, {0, 4, 12}, {12 * kMs, 4, 3}, {41 * kMs, 4, 3}};
  const auto alone = run_two_ranks({}, asks);
  const auto together =
      run_two_ranks({.enable_balance = true, .timeout_iters = 9, .batching_wait_iters = 0}, asks);
  const auto impatient =
      run_two_ranks({.enable_balance = true, .timeout_iters = 2, .batching_wait_iters = 0}, asks);
  CHECK(alone[0] == "1+0 1+0 ");
  CHECK(alone[2] == "1+1 0+1 ");
  CHECK(together[0] == "1+0 1+0 ");
  for (int step = 1; step < 5; ++step)
    CHECK(together[static_cast<std::size_t>(step)] == "0+1 0+1 ");
  CHECK(together[5] == "1+1 1+1 ");
  CHECK(together.size() == alone.size());
  CHECK(impatient[2] == "1+1 0+1 ");  // steps without prompts count: this is the second
}

TEST_CASE("requests that arrive with their KV have no prompt to wait with") {
  constexpr SimTime kMs = 1'000'000;
  const std::vector<Ask> asks = {{0, 4, 12}, {0, 4, 12}, {12 * kMs, 4, 3}, {41 * kMs, 4, 3}};
  CHECK(run_two_ranks({.enable_balance = true, .timeout_iters = 9, .batching_wait_iters = 0}, asks,
                      true) == run_two_ranks({}, asks, true));
}
