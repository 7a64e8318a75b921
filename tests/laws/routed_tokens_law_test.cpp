// What an exact pricer of experts is told: the decodes of every step one by one, each at the
// position it computes, whatever the scheduler, the queue depth or who was preempted.
#include <algorithm>
#include <doctest/doctest.h>
#include <memory>
#include <string>
#include <vector>

#include "tests/laws/law_support.h"

using namespace moesim;
using namespace moesim::laws;

namespace {

/// Follows every request through the steps of an instance.
class Listener final : public StepPricer {
 public:
  Listener(const StepFormula& formula, int stages, const Workload& workload)
      : formula_(formula, stages), workload_(&workload), next_(workload.size(), kUnseen) {}

  void price(const StepWork& work, StepCost& cost) override {
    look(work);
    formula_.price(work, cost);
  }
  void price_ranks(std::span<const StepWork> ranks, StepCost& cost) override {
    for (const StepWork& work : ranks) look(work);
    const auto busiest = std::ranges::max_element(ranks, {}, &StepWork::decodes);
    formula_.price(*busiest, cost);
  }
  [[nodiscard]] int stages() const override { return formula_.stages(); }
  [[nodiscard]] bool wants_tokens(std::uint64_t /*step*/) const override { return true; }

  int unlisted = 0;  ///< steps whose list is not as long as their decodes
  int jumps = 0;     ///< decodes that do not follow the request's last one
  std::int64_t restarts = 0, decodes = 0;
  [[nodiscard]] std::int64_t next(std::size_t request) const { return next_[request]; }

 private:
  static constexpr std::int64_t kUnseen = -1;

  void look(const StepWork& work) {
    unlisted += static_cast<int>(work.tokens.size()) == work.decodes ? 0 : 1;
    for (const PromptChunk& chunk : work.chunks) {
      std::int64_t& next = next_[chunk.request];
      // Evicted requests start again, from whatever is cached by then.
      restarts += next != kUnseen && chunk.context != next ? 1 : 0;
      next = std::int64_t{chunk.context} + chunk.tokens;
    }
    for (const RoutedToken& token : work.tokens) {
      ++decodes;
      const std::int64_t prompt = workload_->prompt_tokens[token.request];
      const std::int64_t at = token.prompt ? token.index : prompt + token.index;
      std::int64_t& next = next_[token.request];
      const bool arrived = next == kUnseen && token.prompt && at == prompt - 1;
      jumps += at == next || arrived ? 0 : 1;
      next = at + 1;
    }
  }

  FormulaSteps formula_;
  const Workload* workload_;
  std::vector<std::int64_t> next_;  ///< position of the request's next token
};

/// Runs the load on one instance of `ranks` and checks the law.
void check_positions(const ClusterLoad& load, int ranks) {
  const SmallCluster& cluster = load.cluster;
  Simulation::Options options = cluster.options;
  options.max_model_len = cluster.limits.max_model_len;
  options.check = true;
  Simulation simulation(load.workload, made<RequestRouter>("round_robin"), options);
  Instance::Config config = cluster.config(0);
  config.ranks = ranks;
  config.rules.balance = RankBalance::kLeastTokens;
  std::vector<std::unique_ptr<Scheduler>> schedulers;
  for (int r = 0; r < ranks; ++r) schedulers.push_back(made<Scheduler>(cluster.scheduler));
  Listener listener(cluster.formula, cluster.limits.pipeline_stages, simulation.workload());
  simulation.add(std::make_unique<Instance>(config, simulation.workload(), simulation.table(),
                                            std::move(schedulers), listener));
  simulation.run(nullptr);
  CHECK(listener.unlisted == 0);
  if (cluster.scheduler == "static_batch") return;  // pads prompts: positions are not the request's
  CHECK(listener.jumps == 0);
  const RequestTable& table = std::as_const(simulation).table();
  std::int64_t preemptions = 0;
  for (std::size_t r = 0; r < table.size(); ++r) {
    preemptions += table.preemptions[r];
    if (table.status[r] != RequestStatus::kCompleted) continue;
    // The last output token is not computed, or thrown away.
    const std::int64_t last =
        std::int64_t{load.workload.prompt_tokens[r]} + table.output_tokens[r] - 1;
    const std::int64_t over = listener.next(r) - last;
    CHECK(over >= 0);
    CHECK(over <= (cluster.limits.late_end() ? 1 : 0));
  }
  CHECK(listener.restarts <= preemptions);
}

ClusterLoad load_of(const std::string& scheduler, std::uint64_t seed) {
  const bool vllm = scheduler == "vllm_v1";
  ClusterLoad load = random_load(seed, {.priority = vllm, .one_stage = !vllm});
  load.cluster.scheduler = scheduler;
  Limits& limits = load.cluster.limits;
  Dice dice(seed + 77);
  if (scheduler == "sglang" || scheduler == "trtllm") {
    limits.extra_step = limits.async;
    limits.sglang.enable_mixed_chunk = dice.percent(50);
    limits.sglang.schedule_conservativeness = 0.1;
    limits.trtllm.max_utilization = dice.percent(50);
    limits.max_num_batched_tokens = std::max(limits.max_num_batched_tokens, limits.max_num_seqs);
    const int block = load.cluster.block_size;
    limits.max_num_batched_tokens = (limits.max_num_batched_tokens + block - 1) / block * block;
  }
  if (scheduler == "static_batch") {
    limits.async = false;
    load.cluster.caching = false;
    load.workload.chain_begin.clear();
    load.workload.chain.clear();
  }
  return load;
}

}  // namespace

TEST_CASE("every decode is named once, at the position after the request's last token") {
  for (const std::string scheduler : {"vllm_v1", "sglang", "trtllm", "static_batch"}) {
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
      for (const int ranks : {1, 3}) {
        CAPTURE(scheduler);
        CAPTURE(seed);
        CAPTURE(ranks);
        check_positions(load_of(scheduler, seed), ranks);
      }
    }
  }
}

TEST_CASE("on the decode side of a split system the first token named is the prompt's last") {
  for (const std::string scheduler : {"vllm_v1", "sglang", "trtllm"}) {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
      ClusterLoad load = load_of(scheduler, seed);
      load.cluster.limits.kv_in_place = true;
      load.cluster.limits.sglang.enable_mixed_chunk = true;
      CAPTURE(scheduler);
      CAPTURE(seed);
      check_positions(load, 2);
    }
  }
}
