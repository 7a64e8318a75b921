// Over whole clusters - routers, sessions, a client's semaphore, a horizon: no request, token or
// block is lost or made, and nothing comes before its cause. Instances alone: engine laws.
#include <algorithm>
#include <doctest/doctest.h>
#include <map>
#include <vector>

#include "tests/laws/law_support.h"

using namespace moesim;
using namespace moesim::laws;

namespace {

constexpr std::uint64_t kLoads = 300;

SmallRun run_of(const ClusterLoad& load) {
  return {load.cluster, load.workload};
}

/// Blocks a request of the load holds at its end in groups of full attention; the last token is
/// never computed.
std::int64_t blocks_at_end(const SmallCluster& cluster, std::int64_t prompt, std::int64_t output) {
  return (prompt + output - 1 + cluster.block_size - 1) / cluster.block_size;
}

/// A horizon somewhere in the middle of the run.
SimTime middle(const SmallRun& run, Dice& dice) {
  return run.simulation().end_time() * dice.between(1, 99) / 100;
}

}  // namespace

TEST_CASE("every request is completed, or refused for its length, if there is time") {
  for (std::uint64_t seed = 1; seed <= kLoads; ++seed) {
    CAPTURE(seed);
    const ClusterLoad load = random_load(seed);
    const SmallRun run = run_of(load);
    const auto limit = static_cast<std::uint32_t>(load.cluster.limits.max_model_len);
    for (std::size_t r = 0; r < run.table().size(); ++r) {
      const bool refused = load.workload.prompt_tokens[r] >= limit;
      CHECK(run.table().status[r] ==
            (refused ? RequestStatus::kDropped : RequestStatus::kCompleted));
    }
    CHECK(run.recorder().finishes.size() == run.count(RequestStatus::kCompleted));
  }
}

TEST_CASE("cut off, every request is completed, refused or incomplete") {
  for (std::uint64_t seed = 1; seed <= kLoads; ++seed) {
    CAPTURE(seed);
    ClusterLoad load = random_load(seed);
    Dice dice(seed + 1'000'000);
    load.cluster.options.horizon = middle(run_of(load), dice);
    const SmallRun run = run_of(load);
    const std::size_t completed = run.count(RequestStatus::kCompleted);
    CHECK(completed + run.count(RequestStatus::kDropped) + run.count(RequestStatus::kIncomplete) ==
          run.table().size());
    CHECK(run.recorder().finishes.size() == completed);
    for (std::size_t r = 0; r < run.table().size(); ++r) {
      const bool done = run.table().status[r] == RequestStatus::kCompleted;
      CHECK((run.table().finish[r] != kNever) == done);
      if (done) CHECK(run.table().finish[r] < load.cluster.options.horizon);
    }
  }
}

TEST_CASE("tokens out of the steps are the tokens requests got: first tokens and gaps") {
  for (std::uint64_t seed = 1; seed <= kLoads; ++seed) {
    CAPTURE(seed);
    const SmallRun run = run_of(random_load(seed));
    std::int64_t wanted = 0, firsts = 0;
    for (std::size_t r = 0; r < run.table().size(); ++r) {
      if (run.table().status[r] != RequestStatus::kCompleted) continue;
      CHECK(run.table().generated[r] == run.table().output_tokens[r]);
      wanted += run.table().output_tokens[r];
      ++firsts;
    }
    std::int64_t out = 0;
    for (const StepRecord& step : run.recorder().steps) out += step.tokens_out;
    CHECK(out == wanted);
    CHECK(run.recorder().gap_count() + firsts == wanted);
    // The gaps of a request lie between its first and its last token.
    double gap_sum = 0, between = 0;
    for (const auto& [gap, count] : run.recorder().gaps) {
      CHECK(gap > 0);
      gap_sum += static_cast<double>(gap) * static_cast<double>(count);
    }
    for (std::size_t r = 0; r < run.table().size(); ++r) {
      if (run.table().status[r] != RequestStatus::kCompleted) continue;
      between += static_cast<double>(run.table().finish[r] - run.table().first_token[r]);
    }
    CHECK(gap_sum == between);
  }
}

TEST_CASE("cut off, requests have the tokens that were out and at most those in flight") {
  for (std::uint64_t seed = 1; seed <= kLoads; ++seed) {
    CAPTURE(seed);
    ClusterLoad load = random_load(seed);
    Dice dice(seed + 2'000'000);
    load.cluster.options.horizon = middle(run_of(load), dice);
    const SmallRun run = run_of(load);
    std::int64_t out = 0, generated = 0;
    for (const StepRecord& step : run.recorder().steps) out += step.tokens_out;
    for (const std::uint32_t tokens : run.table().generated) generated += tokens;
    const int in_flight = load.cluster.instances * load.cluster.limits.max_num_seqs *
                          std::max(2, load.cluster.limits.pipeline_stages);
    CHECK(out <= generated);
    CHECK(generated <= out + in_flight);
  }
}

TEST_CASE("all blocks are free at the end, and as many were taken as tokens need") {
  int compared = 0;
  for (std::uint64_t seed = 1; seed <= kLoads; ++seed) {
    CAPTURE(seed);
    const ClusterLoad load = random_load(seed);
    const SmallRun run = run_of(load);
    const bool full_attention = load.cluster.groups.size() == 1;
    std::vector<std::int64_t> need(run.simulation().instances().size());
    for (std::size_t r = 0; r < run.table().size(); ++r) {
      if (run.table().status[r] != RequestStatus::kCompleted) continue;
      need[run.table().instance[r]] +=
          blocks_at_end(load.cluster, load.workload.prompt_tokens[r],
                        run.table().output_tokens[r]) -
          run.table().cached_tokens[r] / static_cast<std::uint32_t>(load.cluster.block_size);
    }
    for (std::size_t i = 0; i < need.size(); ++i) {
      const InstanceTotals totals = run.instance(i).totals();
      const KvCache& kv = run.instance(i).state().kv;
      CHECK(kv.free_blocks() == kv.usable_blocks());
      CHECK(kv.consistent());
      CHECK(totals.kv_blocks_peak <= kv.usable_blocks());
      CHECK(totals.blocks_evicted <= totals.blocks_taken);
      CHECK(totals.blocks_taken >= need[i]);
      // Without second attempts and tokens thrown away it is exactly that.
      const bool exact =
          totals.preemptions == 0 && full_attention && !load.cluster.limits.finish_eos;
      if (!exact) continue;
      CHECK(totals.blocks_taken == need[i]);
      ++compared;
    }
  }
  CHECK(compared > 100);
}

TEST_CASE("in a cluster nothing happens before its cause") {
  for (std::uint64_t seed = 1; seed <= kLoads; ++seed) {
    CAPTURE(seed);
    const ClusterLoad load = random_load(seed);
    const SmallRun run = run_of(load);
    const RequestTable& table = run.table();
    for (std::size_t r = 0; r < table.size(); ++r) {
      CAPTURE(r);
      const bool follows =
          !load.workload.predecessor.empty() && load.workload.predecessor[r] != kNoRequest;
      const SimTime ready = load.workload.arrival_ns[r];
      if (follows) {  // think time after the end of the turn before
        const std::uint32_t before = load.workload.predecessor[r];
        const bool refused = table.status[before] == RequestStatus::kDropped;
        const SimTime end = refused ? table.arrival[before] : table.finish[before];
        CHECK(table.arrival[r] >= end + ready);
        if (load.workload.max_concurrency == 0) CHECK(table.arrival[r] == end + ready);
      } else {
        CHECK(table.arrival[r] >= ready);
        if (load.workload.max_concurrency == 0) CHECK(table.arrival[r] == ready);
      }
      if (table.status[r] != RequestStatus::kCompleted) continue;
      CHECK(table.arrival[r] <= table.first_scheduled[r]);
      CHECK(table.first_scheduled[r] < table.first_token[r]);
      CHECK(table.first_token[r] <= table.finish[r]);
    }
  }
}

TEST_CASE("steps of an instance are in order, and a GPU does one thing at a time") {
  for (std::uint64_t seed = 1; seed <= kLoads; ++seed) {
    CAPTURE(seed);
    const ClusterLoad load = random_load(seed);
    const SmallRun run = run_of(load);
    const int stages = load.cluster.limits.pipeline_stages;
    for (std::size_t i = 0; i < run.simulation().instances().size(); ++i) {
      const std::vector<StepRecord> steps = run.recorder().steps_of(i);
      REQUIRE(steps.size() == run.instance(i).totals().steps);
      for (std::size_t k = 0; k < steps.size(); ++k) {
        const StepRecord& step = steps[k];
        const SimTime stage_ns = run.seen(i)[k].stage_ns;
        CHECK(step.step == k);
        CHECK(step.scheduled <= step.launched);
        CHECK(step.launched <= step.gpu_start);
        CHECK(step.gpu_end >= step.gpu_start + stages * stage_ns);  // it may wait between stages
        CHECK(step.gpu_end <= step.out_done);
        if (k == 0) continue;
        const StepRecord& before = steps[k - 1];
        CHECK(step.scheduled >= before.launched);
        CHECK(step.gpu_start >= before.gpu_start + run.seen(i)[k - 1].stage_ns);
        CHECK(step.gpu_end >= before.gpu_end + stage_ns);
        CHECK(step.out_done >= before.out_done);
        if (stages == 1) CHECK(step.gpu_start >= before.gpu_end);
      }
    }
  }
}

TEST_CASE("pipeline stages serve steps one by one, in order") {
  int waits = 0;
  for (std::uint64_t seed = 1; seed <= kLoads; ++seed) {
    CAPTURE(seed);
    const ClusterLoad load = random_load(seed);
    const SmallRun run = run_of(load);
    for (std::size_t i = 0; i < run.simulation().instances().size(); ++i) {
      const std::vector<StepRecord> steps = run.recorder().steps_of(i);
      const std::vector<std::vector<StageSpan>> stages = run.recorder().stages_of(i);
      for (std::size_t k = 0; k < steps.size(); ++k) {
        REQUIRE(static_cast<int>(stages[k].size()) == load.cluster.limits.pipeline_stages);
        CHECK(stages[k].front().start == steps[k].gpu_start);
        CHECK(stages[k].back().end == steps[k].gpu_end);
        for (std::size_t s = 0; s < stages[k].size(); ++s) {
          CHECK(stages[k][s].end - stages[k][s].start == run.seen(i)[k].stage_ns);
          if (k > 0) CHECK(stages[k][s].start >= stages[k - 1][s].end);
          if (s == 0) continue;
          CHECK(stages[k][s].start >= stages[k][s - 1].end);
          waits += stages[k][s].start > stages[k][s - 1].end ? 1 : 0;
        }
      }
    }
  }
  CHECK(waits > 0);
}

TEST_CASE("no more requests are in the system than the client's semaphore lets in") {
  int bound = 0;
  for (std::uint64_t seed = 1; seed <= kLoads; ++seed) {
    CAPTURE(seed);
    const ClusterLoad load = random_load(seed);
    const int cap = load.workload.max_concurrency;
    if (cap == 0) continue;
    const SmallRun run = run_of(load);
    std::map<SimTime, int> change;  // at equal times the ends come first: they let others in
    for (std::size_t r = 0; r < run.table().size(); ++r) {
      if (run.table().status[r] != RequestStatus::kCompleted) continue;
      ++change[run.table().arrival[r]];
      --change[run.table().finish[r]];
    }
    int now = 0, most = 0;
    for (const auto& [time, by] : change) most = std::max(most, now += by);
    CHECK(most <= cap);
    bound += most == cap ? 1 : 0;
  }
  CHECK(bound > 30);  // the loads do reach it
}
