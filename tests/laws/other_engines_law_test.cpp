// Laws of the sglang and trtllm schedulers over random loads: whatever the mode, every request is
// served once, memory comes back, and no-evict evicts nobody.
#include <doctest/doctest.h>
#include <numeric>
#include <string>

#include "tests/laws/law_support.h"

using namespace moesim;
using namespace moesim::laws;

namespace {

constexpr std::uint64_t kSeeds = 1500;

/// A random cluster of one-stage engines in any mode of `scheduler`.
ClusterLoad load_for(const std::string& scheduler, std::uint64_t seed) {
  ClusterLoad load = random_load(seed, {.priority = false, .one_stage = true});
  Dice dice(seed + 1'000'000);
  SmallCluster& cluster = load.cluster;
  Limits& limits = cluster.limits;
  cluster.scheduler = scheduler;
  limits.extra_step = limits.async;
  limits.chunked_prefill = dice.percent(60);
  limits.sglang = {.max_prefill_tokens = dice.between(8, 80),
                   .enable_mixed_chunk = dice.percent(30),
                   .longest_prefix_first = dice.percent(30),
                   .schedule_conservativeness = dice.one_of({0.01, 0.3, 1.0}),
                   .retract_decode_steps = dice.one_of({0, 0, 20})};
  limits.trtllm.max_utilization = dice.percent(50);
  if (scheduler == "trtllm") {
    limits.max_num_batched_tokens = std::max(limits.max_num_batched_tokens, limits.max_num_seqs);
    if (!limits.chunked_prefill) cluster.options.max_prompt = limits.max_num_batched_tokens;
    if (!limits.chunked_prefill && limits.trtllm.max_utilization) {
      // A paused request recomputes its output too, in one step.
      limits.max_num_batched_tokens = limits.max_model_len;
    }
  }
  // Both want chunks of whole pages.
  const int pages = (limits.max_num_batched_tokens + cluster.block_size - 1) / cluster.block_size;
  limits.max_num_batched_tokens = pages * cluster.block_size;
  cluster.options.check = true;
  return load;
}

std::int64_t sum(const std::vector<std::uint32_t>& values) {
  return std::accumulate(values.begin(), values.end(), std::int64_t{0});
}

void check_served(const SmallRun& run, const SmallCluster& cluster) {
  const RequestTable& table = run.table();
  CHECK(run.count(RequestStatus::kCompleted) + run.count(RequestStatus::kDropped) == table.size());
  std::int64_t out = 0;
  for (const StepRecord& step : run.recorder().steps) out += step.tokens_out;
  CHECK(out == sum(table.output_tokens));
  CHECK(sum(table.generated) == sum(table.output_tokens));
  const auto completed = static_cast<std::int64_t>(run.count(RequestStatus::kCompleted));
  CHECK(run.recorder().gap_count() == out - completed);  // one gap less than tokens each
  for (int i = 0; i < cluster.instances; ++i) {
    const SchedulerState& state = run.instance(static_cast<std::size_t>(i)).state();
    CHECK(state.kv.free_blocks() == cluster.blocks);
    CHECK(state.running.size() == 0);
    CHECK(state.kv.consistent());
  }
  for (std::size_t r = 0; r < table.size(); ++r) {
    if (table.status[r] != RequestStatus::kCompleted) continue;
    CHECK(table.arrival[r] <= table.first_scheduled[r]);
    CHECK(table.first_scheduled[r] < table.first_token[r]);
    CHECK(table.first_token[r] <= table.finish[r]);
  }
}

}  // namespace

TEST_CASE("sglang and trtllm serve every request once and give all memory back") {
  for (const std::string scheduler : {"sglang", "trtllm"}) {
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
      CAPTURE(scheduler);
      CAPTURE(seed);
      const ClusterLoad load = load_for(scheduler, seed);
      const SmallRun run(load.cluster, load.workload);
      check_served(run, load.cluster);
    }
  }
}

TEST_CASE("guaranteed_no_evict evicts nobody, however tight the memory") {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    CAPTURE(seed);
    ClusterLoad load = load_for("trtllm", seed);
    load.cluster.limits.trtllm.max_utilization = false;
    const SmallRun run(load.cluster, load.workload);
    CHECK(run.recorder().preemptions.empty());
    CHECK(run.count(RequestStatus::kCompleted) + run.count(RequestStatus::kDropped) ==
          run.table().size());
  }
}

TEST_CASE("sglang's steps are prompts or decodes, unless chunks are mixed") {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    CAPTURE(seed);
    ClusterLoad load = load_for("sglang", seed);
    load.cluster.limits.sglang.enable_mixed_chunk = false;
    const SmallRun run(load.cluster, load.workload);
    for (const StepRecord& step : run.recorder().steps) CHECK(step.phase != Phase::kMixed);
  }
}

TEST_CASE("the extra step of the overlap scheduler wastes at most one decode a request") {
  for (const std::string scheduler : {"sglang", "trtllm"}) {
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
      CAPTURE(scheduler);
      CAPTURE(seed);
      ClusterLoad load = load_for(scheduler, seed);
      load.cluster.limits.async = load.cluster.limits.extra_step = true;
      const SmallRun run(load.cluster, load.workload);
      std::int64_t decodes = 0;
      std::int64_t prompts_done = 0;
      for (std::size_t i = 0; i < static_cast<std::size_t>(load.cluster.instances); ++i) {
        for (const FormulaSteps::Seen& seen : run.seen(i)) {
          decodes += seen.decodes;
          for (const PromptChunk& chunk : seen.chunks) prompts_done += chunk.completes ? 1 : 0;
        }
      }
      const std::int64_t wasted = decodes + prompts_done - sum(run.table().output_tokens);
      CHECK(wasted >= 0);
      CHECK(wasted <= static_cast<std::int64_t>(run.count(RequestStatus::kCompleted)));
    }
  }
}
