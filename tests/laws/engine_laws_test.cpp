// What holds in every run: nothing is lost, nothing comes before its cause, nobody idles without
// need.
#include <algorithm>
#include <doctest/doctest.h>
#include <map>
#include <string>
#include <vector>

#include "sim/base/registry.h"
#include "sim/engine/instance.h"
#include "tests/reference/engine_run.h"
#include "tests/reference/random_scenario.h"

using namespace moesim;
using namespace moesim::reference;

namespace {

constexpr std::uint64_t kScenarios = 600;
constexpr std::uint64_t kMaxActions = 4000;

/// Sums over a run, and what a single step must not do.
class Ledger final : public Observer {
 public:
  explicit Ledger(const Limits& limits) : limits_(limits) {}

  void step(const StepRecord& s) override {
    ++steps;
    ordered = ordered && s.step + 1 == steps && s.scheduled <= s.launched &&
              s.launched <= s.gpu_start && s.gpu_start <= s.gpu_end && s.gpu_end <= s.out_done &&
              s.scheduled >= last_scheduled_ && s.gpu_start >= last_start_ &&
              s.gpu_end >= last_end_ && s.out_done >= last_out_;
    if (limits_.pipeline_stages == 1) ordered = ordered && s.gpu_start >= last_end_;
    last_scheduled_ = s.scheduled;
    last_start_ = s.gpu_start;
    last_end_ = s.gpu_end;
    last_out_ = s.out_done;
    bounded = bounded && s.decodes + s.prefill_tokens <= limits_.max_num_batched_tokens &&
              s.sequences <= limits_.max_num_seqs && s.sequences > 0;
    tokens += s.tokens_out;
    prompt_tokens += s.prefill_tokens;
    gpu_ns += s.gpu_end - s.gpu_start;
    gap_ns += s.gap;
  }
  void inter_token(InstanceId, SimTime gap, std::int64_t count) override {
    gaps += count;
    positive = positive && gap > 0 && count > 0;
  }
  void preempted(InstanceId, RequestId, SimTime) override { ++preemptions; }
  void finished(InstanceId, RequestId request, SimTime when) override {
    finished_at[request.value] = when;
  }

  std::uint64_t steps = 0;
  std::int64_t tokens = 0, prompt_tokens = 0, gaps = 0, gpu_ns = 0, gap_ns = 0, preemptions = 0;
  bool ordered = true, bounded = true, positive = true;
  std::map<std::uint32_t, SimTime> finished_at;

 private:
  Limits limits_;
  SimTime last_scheduled_ = 0, last_start_ = 0, last_end_ = 0, last_out_ = 0;
};

struct Run {
  explicit Run(const RandomScenario& scenario, const std::string& scheduler = "vllm_v1",
               std::uint64_t max_actions = kMaxActions)
      : workload(scenario.workload),
        table(make_table(workload, scenario.config.limits)),
        pricer(scenario.price, scenario.config.limits.pipeline_stages),
        instance(instance_config(scenario.config), workload, table, make_scheduler(scheduler),
                 pricer),
        ledger(scenario.config.limits) {
    run_to_end(
        instance, workload, &ledger, [&](SimTime) { instance.check(); }, max_actions);
    cut = instance.next_time() != kNever;
    complete = std::all_of(table.status.begin(), table.status.end(),
                           [](RequestStatus s) { return s == RequestStatus::kCompleted; });
  }
  Workload workload;
  RequestTable table;
  FormulaPricer pricer;
  Instance instance;
  Ledger ledger;
  bool cut = false, complete = false;
};

}  // namespace

TEST_CASE("tokens are conserved") {
  for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
    CAPTURE(seed);
    Run run(random_scenario(seed));
    if (!run.complete) continue;
    std::int64_t output = 0;
    std::int64_t prompts = 0;
    for (std::size_t r = 0; r < run.table.size(); ++r) {
      output += run.table.output_tokens[r];
      prompts += run.workload.prompt_tokens[r];
      CHECK(run.table.generated[r] == run.table.output_tokens[r]);
    }
    const auto requests = static_cast<std::int64_t>(run.table.size());
    const InstanceTotals totals = run.instance.totals();
    CHECK(run.ledger.tokens == output);
    CHECK(run.ledger.gaps == output - requests);
    CHECK(totals.prefix_query_tokens == prompts);
    // Preempted requests compute or hit a second time; otherwise a prompt token is computed or a
    // hit.
    if (totals.preemptions == 0) {
      CHECK(run.ledger.prompt_tokens + totals.prefix_hit_tokens == prompts);
    }
    CHECK(run.instance.token_load() == 0);
  }
}

TEST_CASE("blocks are conserved") {
  for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
    CAPTURE(seed);
    const RandomScenario scenario = random_scenario(seed);
    Run run(scenario);
    const KvCache& kv = run.instance.state().kv;
    if (run.complete) CHECK(kv.free_blocks() == scenario.config.usable_blocks);
    CHECK(kv.blocks_evicted() <= kv.blocks_taken());
    CHECK(run.instance.totals().kv_blocks_peak <= scenario.config.usable_blocks);
  }
}

TEST_CASE("nothing happens before its cause") {
  for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
    CAPTURE(seed);
    Run run(random_scenario(seed));
    CHECK(run.ledger.ordered);
    CHECK(run.ledger.positive);
    const RequestTable& t = run.table;
    for (std::size_t r = 0; r < t.size(); ++r) {
      if (t.status[r] != RequestStatus::kCompleted) {
        CHECK(t.finish[r] == kNever);
        continue;
      }
      CHECK(t.arrival[r] == run.workload.arrival_ns[r]);
      CHECK(t.arrival[r] <= t.first_scheduled[r]);
      CHECK(t.first_scheduled[r] < t.first_token[r]);
      CHECK(t.first_token[r] <= t.finish[r]);
      CHECK((t.first_token[r] == t.finish[r]) == (t.output_tokens[r] == 1));
      CHECK((t.second_token[r] == kNever) == (t.output_tokens[r] == 1));
      if (t.output_tokens[r] > 1) CHECK(t.first_token[r] < t.second_token[r]);
      if (t.output_tokens[r] > 1) CHECK(t.second_token[r] <= t.finish[r]);
      CHECK((t.second_token[r] == t.finish[r]) == (t.output_tokens[r] == 2));
      CHECK(t.cached_tokens[r] < run.workload.prompt_tokens[r]);
      CHECK(run.ledger.finished_at.at(static_cast<std::uint32_t>(r)) == t.finish[r]);
    }
  }
}

TEST_CASE("a step stays within the token budget and max_num_seqs") {
  for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
    CAPTURE(seed);
    Run run(random_scenario(seed));
    CHECK(run.ledger.bounded);
    CHECK(run.ledger.preemptions == run.instance.totals().preemptions);
    if (!run.cut) CHECK(run.ledger.steps == run.instance.totals().steps);
    if (!run.cut) CHECK(run.ledger.gpu_ns == run.instance.totals().step_ns);
    if (!run.cut) CHECK(run.ledger.gap_ns == run.instance.totals().gap_ns);
  }
}

TEST_CASE("an engine that stops has nothing to do, or a head of the queue that can never run") {
  int stopped_with_work = 0;
  for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
    CAPTURE(seed);
    const RandomScenario scenario = random_scenario(seed);
    Run run(scenario);
    if (run.cut || run.complete) continue;
    ++stopped_with_work;
    const SchedulerState& state = run.instance.state();
    CHECK(state.running.size() == 0);
    REQUIRE_FALSE(state.running.none_waiting());
    const std::uint32_t head = state.running.head();
    const Limits& limits = scenario.config.limits;
    const std::int64_t tokens =
        std::int64_t{run.workload.prompt_tokens[head]} + run.table.generated[head];
    std::int64_t blocks = 0;
    for (std::size_t g = 0; g < state.kv.group_count(); ++g) {
      blocks += state.kv.blocks_for(g, tokens);
    }
    const bool too_big = blocks > scenario.config.usable_blocks;
    const bool too_long = !limits.chunked_prefill && tokens > limits.max_num_batched_tokens;
    CHECK((too_big || too_long));
  }
  CHECK(stopped_with_work > 0);  // the scenarios do reach this
}

// What one request of max_model_len holds at most (serving-semantics 2.4). With less nothing is
// promised. By priority and without scheduler_reserve_full_isl, requests of equal priority can
// evict each other for ever, as in vLLM.
TEST_CASE("a pool that holds one longest request is enough for everybody") {
  for (std::uint64_t seed = 1; seed <= 5 * kScenarios; ++seed) {
    CAPTURE(seed);
    RandomScenario scenario = random_scenario(seed);
    PlainConfig& config = scenario.config;
    Limits& limits = config.limits;
    limits.chunked_prefill = true;
    if (limits.priority) limits.reserve_full_isl = true;
    const auto blocks = [&](int tokens) {
      return (tokens + config.block_size - 1) / config.block_size;
    };
    config.usable_blocks = 0;
    for (const KvGroup& group : config.groups) {
      int most = blocks(limits.max_model_len);
      const int before = group.kind == AttentionKind::kChunked ? group.window : group.window - 1;
      const int reach = std::min(before + limits.max_num_batched_tokens, limits.max_model_len);
      if (group.kind == AttentionKind::kLinear) most = 1;
      if (group.window > 0) most = std::min(most, blocks(reach) + 1);
      config.usable_blocks += most;
    }
    Run run(scenario, "vllm_v1", 100 * kMaxActions);
    CHECK(run.complete);
  }
}

TEST_CASE("every scheduler serves everybody when a longest request fits") {
  for (const std::string& name : Registry<Scheduler>::names()) {
    for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
      CAPTURE(name);
      CAPTURE(seed);
      RandomScenario scenario = random_scenario(seed);
      PlainConfig& config = scenario.config;
      config.limits.chunked_prefill = true;
      const std::int64_t longest =
          (config.limits.max_model_len + config.block_size - 1) / config.block_size;
      config.usable_blocks =
          std::max(config.usable_blocks, longest * static_cast<std::int64_t>(config.groups.size()));
      Run run(scenario, name);
      if (run.cut) continue;
      CHECK(run.complete);
      CHECK(run.ledger.ordered);
    }
  }
}
