// Every choice of every token is computed once, or the report says that it was dropped: whatever
// routes, carries, limits or prices experts, and whatever the scheduler does to requests.
#include <doctest/doctest.h>
#include <numeric>
#include <string>
#include <vector>

#include "hardware/dispatch.h"
#include "reference/effort.h"
#include "sim/moesim.h"
#include "tests/laws/law_support.h"

using namespace moesim;
using namespace moesim::laws;

namespace {

/// Tokens that went through the steps, as the engine tells them.
struct Counter final : Observer {
  void step(const StepRecord& record) override {
    real += record.decodes + record.prefill_tokens;
    padded += record.padded_tokens;
    ++steps;
    // A chunk ends before its prompt does: more prefill steps than prompts.
    prefills += record.prefill_tokens > 0 ? 1 : 0;
  }
  void inter_token(InstanceId, SimTime, std::int64_t) override {}
  void preempted(InstanceId, RequestId, SimTime) override { ++preemptions; }
  void finished(InstanceId, RequestId, SimTime) override {}
  double real = 0, padded = 0;
  int steps = 0, preemptions = 0, prefills = 0;
};

struct Counted {
  Counter counter;
  MoeStats stats;
  std::int64_t hits = 0;
};

Counted counted(const Scenario& scenario) {
  Counted out;
  World world = build(scenario, {.check = true});
  world.run(&out.counter);
  const RunView view = world.view();
  REQUIRE(view.moe.size() == 1);
  out.stats = view.moe.front().stats;
  for (const InstanceTotals& totals : view.totals) out.hits += totals.prefix_hit_tokens;
  return out;
}

const std::string kWorkload =
    "arrival: {kind: closed_loop, max_concurrency: 20}, synthetic: {num_prompts: 40, "
    "input_tokens: {uniform: [20, 300]}, output_tokens: {uniform: [5, 40]}, "
    "shared_prefix_tokens: 64}";

std::string layout(const std::string& degrees, const std::string& engine,
                   const std::string& routing) {
  return "deployment: {instances: [{" + degrees + "}]}\nengine: {enable_expert_parallel: true" +
         engine + "}\nuncertainty: {replicas: 1}\nrouting: {" + routing + "}\n";
}

double load_of(const MoeStats& stats, std::size_t layer) {
  const auto experts = static_cast<std::ptrdiff_t>(stats.experts);
  const auto first = stats.expert_load.begin() + static_cast<std::ptrdiff_t>(layer) * experts;
  return std::accumulate(first, first + experts, 0.0);
}

/// Without capacities all tokens of all requests are computed; padding and dummies are not counted.
void check_all_computed(const Counted& run, int top_k) {
  REQUIRE(run.counter.steps > 0);
  CHECK(run.counter.padded >= run.counter.real);
  REQUIRE(!run.stats.layers.empty());
  for (std::size_t l = 0; l < run.stats.layers.size(); ++l) {
    const MoeLayerStats& layer = run.stats.layers[l];
    CHECK(layer.steps == static_cast<std::uint64_t>(run.counter.steps));
    CHECK(layer.tokens == run.counter.real);
    CHECK(layer.tokens + layer.padded == run.counter.padded);
    CHECK(layer.assignments == run.counter.real * top_k);
    CHECK(load_of(run.stats, l) == doctest::Approx(layer.assignments).epsilon(1e-9));
    CHECK(layer.dropped + layer.moved + layer.left_with_none + layer.padding == 0);
  }
}

const char* const kTiers[] = {"exact", "rank_exact", "sampled"};

}  // namespace

TEST_CASE("every kind of routing computes every choice once, in every tier") {
  Turns turns;
  for (const std::string kind : kEveryKind) {
    for (const std::string tier : kTiers) {
      if (turns.skip()) continue;
      CAPTURE(kind);
      CAPTURE(tier);
      check_all_computed(counted(scenario_of(kWorkload, layout("data_parallel_size: 4", "",
                                                               kind + ", fidelity: " + tier))),
                         2);
    }
  }
}

TEST_CASE("every backend and layout computes every choice once, in every tier") {
  Turns turns;
  for (const std::string& backend : dispatch_names()) {
    if (backend == "nccl_all_to_all") continue;  // no engine offers it
    for (const std::string degrees :
         {"data_parallel_size: 8", "tensor_parallel_size: 2, data_parallel_size: 2",
          "data_parallel_size: 2, pipeline_parallel_size: 2"}) {
      for (const std::string tier : kTiers) {
        if (turns.skip()) continue;
        CAPTURE(backend);
        CAPTURE(degrees);
        CAPTURE(tier);
        const Counted run =
            counted(scenario_of(kWorkload, layout(degrees, ", all2all_backend: " + backend,
                                                  "kind: zipf, exponent: 0.8, fidelity: " + tier)));
        check_all_computed(run, 2);
        double sent = 0;
        for (const MoeLayerStats& layer : run.stats.layers) sent += layer.bytes_intra;
        CHECK(sent > 0);
      }
    }
  }
}

TEST_CASE("draws of steps send what the steps themselves send") {
  const std::string prompts =
      "arrival: {kind: closed_loop, max_concurrency: 90}, synthetic: {num_prompts: 150, "
      "input_tokens: {uniform: [50, 900]}, output_tokens: {uniform: [5, 40]}}";
  const auto sent = [&](const std::string& backend, const std::string& tier) {
    const Counted run = counted(
        scenario_of(prompts, layout("data_parallel_size: 8", ", all2all_backend: " + backend,
                                    "kind: zipf, exponent: 0.7, fidelity: " + tier)));
    double bytes = 0, tokens = 0;
    for (const MoeLayerStats& layer : run.stats.layers) {
      bytes += layer.bytes_intra + layer.bytes_inter;
      tokens += layer.tokens + layer.padded;
      CHECK(layer.step_tokens == doctest::Approx(layer.tokens + layer.padded).epsilon(1e-6));
    }
    return bytes / tokens;
  };
  struct Case {
    const char* backend;
    double error;  // where tokens go is chance, or arithmetic and rounding
  };
  for (const Case& c : {Case{"allgather_reducescatter", 1e-6}, Case{"naive", 1e-6},
                        Case{"deepep_low_latency", 0.01}, Case{"deepep_high_throughput", 0.01}}) {
    CAPTURE(std::string(c.backend));
    CHECK(sent(c.backend, "sampled") == doctest::Approx(sent(c.backend, "exact")).epsilon(c.error));
  }
}

TEST_CASE("preemption, chunks and prefix caches: what is computed again is routed again") {
  struct Case {
    const char* why;
    std::string engine;
    bool preempts, hits;
  };
  const Case cases[] = {
      {"little memory", ", num_gpu_blocks_override: 45, max_model_len: 420", true, true},
      {"little memory, no cache",
       ", num_gpu_blocks_override: 45, max_model_len: 420, enable_prefix_caching: false", true,
       false},
      {"chunks", ", max_num_batched_tokens: 48, max_num_seqs: 8", false, true},
      {"synchronous, eager", ", async_scheduling: false, enforce_eager: true", false, true},
      {"half batches",
       ", all2all_backend: deepep_low_latency, enable_dbo: true, dbo_decode_token_threshold: 2, "
       "dbo_prefill_token_threshold: 4",
       false, true},
      {"SGLang", ", backend: sglang", false, true},
      {"TensorRT-LLM", ", backend: trtllm", false, true},
  };
  for (const Case& c : cases) {
    for (const std::string tier : kTiers) {
      CAPTURE(std::string(c.why));
      CAPTURE(tier);
      const Counted run =
          counted(scenario_of(kWorkload, layout("data_parallel_size: 4", c.engine,
                                                "kind: zipf, exponent: 0.8, fidelity: " + tier)));
      CHECK((run.counter.preemptions > 0) == c.preempts);
      CHECK((run.hits > 0) == c.hits);
      if (std::string(c.why) == "chunks") CHECK(run.counter.prefills > 40);
      if (std::string(c.why) != "half batches") {
        check_all_computed(run, 2);
        continue;
      }
      // A step of two halves is two steps of experts.
      CHECK(run.stats.layers[0].steps > static_cast<std::uint64_t>(run.counter.steps));
      for (std::size_t l = 0; l < run.stats.layers.size(); ++l) {
        CHECK(run.stats.layers[l].tokens == run.counter.real);
        CHECK(load_of(run.stats, l) == doctest::Approx(2 * run.counter.real).epsilon(1e-9));
      }
    }
  }
}

TEST_CASE("full experts: computed and dropped are all choices of all tokens, and no padding's") {
  Turns turns;
  for (const std::string factor : {"0.5", "1.0", "1.5"}) {
    for (const std::string overflow : {"drop", "next_choice", "pad"}) {
      for (const std::string scope : {"batch", "rank"}) {
        for (const std::string backend : {"allgather_reducescatter", "deepep_high_throughput"}) {
          if (turns.skip()) continue;
          CAPTURE(factor);
          CAPTURE(overflow);
          CAPTURE(scope);
          CAPTURE(backend);
          const Counted run = counted(scenario_of(
              kWorkload,
              layout(
                  "data_parallel_size: 4",
                  ", num_gpu_blocks_override: 45, max_model_len: 420, all2all_backend: " + backend,
                  "kind: zipf, exponent: 0.8, capacity_factor: " + factor +
                      ", overflow: " + overflow + ", capacity_scope: " + scope)));
          CHECK(run.counter.preemptions > 0);
          double dropped = 0, moved = 0, padding = 0;
          for (std::size_t l = 0; l < run.stats.layers.size(); ++l) {
            const MoeLayerStats& layer = run.stats.layers[l];
            CHECK(layer.tokens == run.counter.real);
            CHECK(layer.assignments == 2 * run.counter.real);
            CHECK(load_of(run.stats, l) + layer.dropped - layer.padding ==
                  doctest::Approx(layer.assignments).epsilon(1e-9));
            CHECK(2 * layer.left_with_none <= layer.dropped);
            dropped += layer.dropped;
            moved += layer.moved;
            padding += layer.padding;
          }
          CHECK((moved > 0) == (overflow == "next_choice"));
          CHECK((padding > 0) == (overflow == "pad"));
          if (overflow != "next_choice") CHECK(dropped > 0);
        }
      }
    }
  }
}

TEST_CASE("choice among groups of experts, two nodes, copies: every choice once") {
  const std::string text =
      "schema_version: 1\nname: groups\nmodel: deepseek-ai/DeepSeek-V3\n"
      "system: {nodes: [{profile: h200_sxm, count: 2, gpus: 8}], "
      "network: {preset: rail_optimized, link: ndr_400g}}\n"
      "engine: {enable_expert_parallel: true, all2all_backend: deepep_high_throughput}\n"
      "deployment: {instances: [{data_parallel_size: 16}]}\nuncertainty: {replicas: 1}\n"
      "placement: {eplb: {num_redundant_experts: 16, window_size: 10, step_interval: 20}}\n"
      "workload: {arrival: {kind: all_at_once}, synthetic: {num_prompts: 20, input_tokens: 40, "
      "output_tokens: 30}}\n";
  for (const std::string tier : kTiers) {
    CAPTURE(tier);
    const Counted run = counted(
        load_scenario_text(text + "routing: {kind: zipf, exponent: 0.6, fidelity: " + tier + "}\n",
                           "groups.yaml", ".", {}));
    CHECK(!run.stats.rebalances.empty());
    check_all_computed(run, 8);
  }
}
