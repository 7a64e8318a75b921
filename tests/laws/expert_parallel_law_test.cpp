// What holds for experts spread over ranks, whatever the scheduler, the placement and the way they
// are priced. How near the ways to price them are to each other: expert_fidelity_law_test.cpp.
#include <algorithm>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "sim/moesim.h"
#include "tests/laws/expert_support.h"

using namespace moesim;
using namespace moesim::laws;

// Acceptance check 4 of routing-traces.md 6.
TEST_CASE("every scheduler and placement sends the same tokens to the same experts") {
  // Without padding, dummies and wasted steps the tokens computed are those of the requests.
  const std::string routing = "kind: zipf, exponent: 0.8, fidelity: exact";
  const std::string plain = "enforce_eager: true, enable_prefix_caching: false, ";
  struct Case {
    const char* why;
    std::string degrees, engine;
  };
  const Case cases[] = {
      {"vLLM", "tensor_parallel_size: 4", plain + "async_scheduling: false"},
      {"vLLM, asynchronous", "tensor_parallel_size: 4", plain + "async_scheduling: true"},
      {"vLLM, small steps", "tensor_parallel_size: 4",
       plain + "async_scheduling: false, max_num_seqs: 5, max_num_batched_tokens: 64"},
      {"whole experts", "tensor_parallel_size: 4",
       plain + "async_scheduling: false, enable_expert_parallel: true"},
      {"pipeline", "tensor_parallel_size: 2, pipeline_parallel_size: 2",
       plain + "enable_expert_parallel: true"},
      {"SGLang", "tensor_parallel_size: 4",
       "backend: sglang, disable_cuda_graph: true, disable_radix_cache: true, "
       "disable_overlap_schedule: true"},
  };
  std::vector<double> first;
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    const MoeStats stats = stats_of(scenario_of(kBurst, layout(c.degrees, c.engine, routing)));
    CHECK(stats.fidelity == "exact");
    if (first.empty()) first = stats.expert_load;
    CHECK(stats.expert_load == first);
    CHECK(std::accumulate(first.begin(), first.end(), 0.0) ==
          doctest::Approx(stats.layers[0].assignments * static_cast<double>(stats.layers.size())));
  }
}

TEST_CASE("placing experts otherwise changes who is slow, never what is chosen") {
  const std::string engine =
      "enable_expert_parallel: true, enforce_eager: true, async_scheduling: false";
  const std::string degrees = "tensor_parallel_size: 4";
  const std::string routing = "kind: zipf, exponent: 1.0, fidelity: exact";
  const MoeStats linear = stats_of(scenario_of(kBurst, layout(degrees, engine, routing)));
  const MoeStats eplb = stats_of(
      scenario_of(kBurst, layout(degrees, engine, routing,
                                 "placement: {eplb: {window_size: 20, step_interval: 20}}\n")));
  CHECK(linear.expert_load == eplb.expert_load);
  CHECK(!eplb.rebalances.empty());
  for (const MoeStats::Rebalance& r : eplb.rebalances)
    CHECK(r.imbalance_after <= r.imbalance_before + 1e-9);
}

TEST_CASE("a plan on the loads to come is in force from the first step") {
  const std::string engine = "enable_expert_parallel: true, max_model_len: 4096";
  const std::string routing = "kind: lognormal, sigma: 1.0, fidelity: exact";
  const auto run = [&](const std::string& eplb) {
    World world =
        build(scenario_of(kBurst,
                          layout("data_parallel_size: 4", engine, routing,
                                 "placement: {eplb: {num_redundant_experts: 4, " + eplb + "}}\n"),
                          {{"model", "Qwen/Qwen3-30B-A3B"}}));
    world.run(nullptr);
    const MoeOfInstances moe = world.view().moe.front();
    return std::pair(moe.stats, moe.placement.value());
  };
  const auto imbalance = [](const MoeStats& stats) {
    double sum = 0;
    for (const MoeLayerStats& layer : stats.layers)
      sum += layer.rank_imbalance / static_cast<double>(layer.steps);
    return sum / static_cast<double>(stats.layers.size());
  };
  const auto [linear, start] = run("init_expert_location: trivial, step_interval: 100000");
  const auto [planned, plan] = run("init_expert_location: routing, step_interval: 0");
  CHECK(start.logical[1] == 1);
  CHECK(plan.slots == 132);
  CHECK(plan.logical != start.logical);
  CHECK(planned.rebalances.empty());
  // Some 20 tokens a step: what is left is chance.
  CHECK(imbalance(planned) < 0.95 * imbalance(linear));
  // The same loads from a file make the same plan; shares of tokens are what counts.
  const std::filesystem::path file = std::filesystem::temp_directory_path() / "moesim_plan.csv";
  {
    std::ofstream out(file);
    out << "layer,expert,count\n";
    for (int l = 0; l < 48; ++l) {
      for (int e = 0; e < 128; ++e)
        out << l << ',' << e << ',' << (e == 7 * l % 128 ? 900 : 10) << '\n';
    }
  }
  const auto [hot, copies] = run("init_expert_location: " + file.string() + ", step_interval: 0");
  std::filesystem::remove(file);
  for (int l = 0; l < 48; ++l) {
    const auto slots = copies.layer(l);
    CHECK(std::ranges::count(slots, static_cast<std::uint16_t>(7 * l % 128)) == 5);
  }
}

TEST_CASE("dummy steps behind a wave are in no statistic, however many a request meets") {
  for (const std::string fidelity : {"exact", "rank_exact", "sampled"}) {
    CAPTURE(fidelity);
    // The second request comes while the ranks still run dummies, or long after.
    const auto run = [&](const char* rate) {
      World world = build(
          scenario_of(std::string("arrival: {kind: constant, request_rate: ") + rate +
                          "}, synthetic: {num_prompts: 2, input_tokens: 40, output_tokens: 20}",
                      layout("tensor_parallel_size: 2, data_parallel_size: 2",
                             "enable_expert_parallel: true, async_scheduling: false",
                             "kind: zipf, exponent: 0.8, fidelity: " + fidelity)));
      const RunView view = finish(world);
      return std::pair(view.moe.front().stats, view.totals.front().dummy_steps);
    };
    const auto [soon, few] = run("4");
    const auto [late, many] = run("0.2");
    CHECK(few < many);
    for (std::size_t l = 0; l < soon.layers.size(); ++l) {
      CAPTURE(l);
      CHECK(soon.layers[l].steps == late.layers[l].steps);
      CHECK(soon.layers[l].tokens == late.layers[l].tokens);
      CHECK(soon.layers[l].padded == late.layers[l].padded);
    }
  }
}

TEST_CASE("experts are rebalanced at most once a step, dummy steps between requests or not") {
  const MoeStats stats = stats_of(scenario_of(
      "arrival: {kind: constant, request_rate: 1}, synthetic: {num_prompts: 6, input_tokens: 40, "
      "output_tokens: 20}",
      layout("tensor_parallel_size: 2, data_parallel_size: 2", "enable_expert_parallel: true",
             "kind: lognormal, sigma: 1, fidelity: exact",
             "placement: {eplb: {num_redundant_experts: 4, window_size: 4, step_interval: 7}}")));
  REQUIRE(stats.rebalances.size() > 5);
  for (std::size_t i = 1; i < stats.rebalances.size(); ++i)
    CHECK(stats.rebalances[i].step >= stats.rebalances[i - 1].step + 7);
}

TEST_CASE("a balancer whose turn never comes is told of, and one that had it is judged") {
  const auto scenario = [](const std::string& eplb) {
    return scenario_of(kBurst,
                       layout("data_parallel_size: 4", "enable_expert_parallel: true",
                              "kind: zipf, exponent: 0.8", "placement: {eplb: {" + eplb + "}}\n"));
  };
  const auto told = [](const RunView& view) {
    return std::ranges::count_if(view.warnings, [](const std::string& text) {
      return text.starts_with("placement: eplb never moved experts: its interval is 3000 steps");
    });
  };
  World idle = build(scenario("num_redundant_experts: 0"));
  CHECK(told(finish(idle)) == 1);
  World world = build(scenario("window_size: 20, step_interval: 20"));
  const RunView view = finish(world);
  CHECK(told(view) == 0);
  const auto& rebalances = view.moe.front().stats.rebalances;
  REQUIRE(!rebalances.empty());
  for (const MoeStats::Rebalance& r : rebalances) {
    REQUIRE(r.imbalance_next.has_value());
    CHECK(*r.imbalance_next >= 1);
    CHECK(*r.imbalance_next < 4);
  }
}

TEST_CASE("more room for full experts drops less, and every choice is kept or dropped") {
  const std::string engine = "enable_expert_parallel: true";
  double before = 2;
  for (const std::string factor : {"1.0", "1.25", "2.0"}) {
    const MoeStats stats = stats_of(
        scenario_of(kBurst, layout("data_parallel_size: 4", engine,
                                   "kind: zipf, exponent: 0.8, capacity_factor: " + factor)));
    CAPTURE(factor);
    double assigned = 0, dropped = 0, kept = 0;
    for (const MoeLayerStats& layer : stats.layers) {
      assigned += layer.assignments;
      dropped += layer.dropped;
      CHECK(layer.moved == 0);
      CHECK(layer.padding == 0);
    }
    kept = std::accumulate(stats.expert_load.begin(), stats.expert_load.end(), 0.0);
    CHECK(kept + dropped == doctest::Approx(assigned));
    CHECK(dropped / assigned < before);
    before = dropped / assigned;
  }
}

TEST_CASE("a run with data and expert parallelism repeats to the bit") {
  for (const std::string fidelity : {"exact", "rank_exact", "sampled"}) {
    const Scenario scenario = scenario_of(
        kBurst, layout("data_parallel_size: 4",
                       "enable_expert_parallel: true, all2all_backend: deepep_low_latency",
                       "kind: zipf, exponent: 0.8, fidelity: " + fidelity));
    World first = build(scenario), second = build(scenario, {.check = true});
    CHECK(finish(first).digest == finish(second).digest);
  }
}

TEST_CASE("ranks of one instance end with all requests served, in every engine and role") {
  for (const std::string engine : {"backend: vllm, enable_expert_parallel: true",
                                   "backend: sglang, enable_expert_parallel: true",
                                   "backend: trtllm, enable_expert_parallel: true"}) {
    for (const std::string role : {"mixed", "prefill", "decode"}) {
      for (const std::string fidelity : {"exact", "rank_exact", "sampled"}) {
        CAPTURE(engine);
        CAPTURE(role);
        CAPTURE(fidelity);
        World world =
            build(scenario_of(kBurst, layout("data_parallel_size: 4, role: " + role, engine,
                                             "kind: zipf, exponent: 0.8, fidelity: " + fidelity)),
                  {.check = true});
        const RunView view = finish(world);
        CHECK(std::ranges::all_of(view.requests.status,
                                  [](RequestStatus s) { return s == RequestStatus::kCompleted; }));
        if (role == "prefill") {
          CHECK(std::ranges::all_of(view.requests.generated, [](auto n) { return n == 1; }));
        }
      }
    }
  }
}

TEST_CASE("chance shrinks with the tokens of a step: large uniform steps are nearly even") {
  // 32 ranks of 16384 prompt tokens with 8 experts each: 131,072 a rank, standard deviation 0.3 %,
  // so the fullest of 32 ranks has some 0.6 % more than the mean.
  const Scenario scenario = load_scenario_text(
      "schema_version: 1\nname: even\nmodel: deepseek-ai/DeepSeek-V3\n"
      "system: {nodes: [{profile: h200_sxm, count: 4, gpus: 8}], "
      "network: {preset: rail_optimized, link: ndr_400g}}\n"
      "engine: {enable_expert_parallel: true, all2all_backend: deepep_high_throughput, "
      "max_num_batched_tokens: 16384, max_model_len: 4096}\n"
      "deployment: {instances: [{data_parallel_size: 32, role: prefill}]}\n"
      "workload: {arrival: {kind: all_at_once}, synthetic: {num_prompts: 512, input_tokens: 2048, "
      "output_tokens: 1}}\nuncertainty: {replicas: 1}\n",
      "even.yaml", ".", {});
  const MoeStats stats = stats_of(scenario);
  CHECK(stats.fidelity == "sampled");
  // The first steps are small, while requests arrive; the most even one is full.
  constexpr double kThousandths = 1e-3;
  double imbalance = 0;
  for (const MoeLayerStats& layer : stats.layers)
    imbalance += layer.rank_imbalances.summary().min * kThousandths;
  imbalance /= static_cast<double>(stats.layers.size());
  CHECK(imbalance > 1.002);
  CHECK(imbalance < 1.02);
}
