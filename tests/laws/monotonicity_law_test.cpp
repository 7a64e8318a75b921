// More work never takes less time, and a better machine never does less.
#include <doctest/doctest.h>
#include <numeric>
#include <string>
#include <vector>

#include "hardware/topology.h"
#include "sim/moesim.h"
#include "sim/steptime/roofline.h"
#include "tests/laws/law_support.h"

using namespace moesim;
using namespace moesim::laws;

namespace {

/// Step times of a real model and system, as build() makes them.
struct RealSteps {
  Scenario scenario;
  Deployment deployment = lay_out(scenario);
  Topology topology{scenario.cluster};
  Collectives collectives{topology, scenario.cluster.nodes[0].system.gpu.sm_version};
  StepTime steps = make();

  RealSteps(const std::string& model, int tp, int pp)
      : scenario(scenario_of(
            "arrival: {kind: all_at_once}, synthetic: {num_prompts: 1, input_tokens: 1, "
            "output_tokens: 1}",
            "engine: {max_num_seqs: 256, max_num_batched_tokens: 2048, max_model_len: 8192}\n"
            "deployment: {instances: [{tensor_parallel_size: " +
                std::to_string(tp) + ", pipeline_parallel_size: " + std::to_string(pp) + "}]}\n",
            {{"model", model}})) {}

  [[nodiscard]] const InstanceInfo& info() const { return deployment.instances.front(); }
  [[nodiscard]] StepCost cost(const StepWork& work) {
    StepCost result;
    steps.price(work, result);
    return result;
  }
  /// All stages, nanoseconds.
  [[nodiscard]] double ns(const StepWork& work) {
    const StepCost priced = cost(work);
    return std::accumulate(priced.stage_ns.begin(), priced.stage_ns.end(), 0.0);
  }

 private:
  [[nodiscard]] StepTime make() const {
    std::vector<StepTime::Stage> stages;
    const Parallel& parallel = info().parallel;
    for (int stage = 0; stage < parallel.pp; ++stage) {
      const auto first = info().gpus.begin() + stage * parallel.tp;
      const bool last = stage + 1 == parallel.pp;
      stages.push_back(
          {make_shard(scenario.model, parallel, stage).shard,
           std::make_unique<Roofline>(
               scenario.cluster.nodes[0].system, collectives,
               std::vector<int>(first, first + parallel.tp),
               last ? -1 : info().gpus[static_cast<std::size_t>((stage + 1) * parallel.tp)]),
           nullptr, 132});
    }
    StepTime::Experts experts;
    experts.routing = made<ExpertRouting>("uniform");
    return {scenario.model, std::move(stages),  info().memory.kv,
            info().engine,  std::move(experts), scenario.seed};
  }
};

struct Layout {
  std::string model;
  int tp, pp;
};
const Layout kLayouts[] = {{"mistralai/Mixtral-8x7B-v0.1", 2, 1},
                           {"mistralai/Mixtral-8x7B-v0.1", 2, 2},
                           {"Qwen/Qwen3-30B-A3B", 1, 1},
                           {"openai/gpt-oss-120b", 2, 1},
                           {"deepseek-ai/DeepSeek-V2-Lite", 1, 1}};

/// A decode step with `context` visible tokens in every group.
StepWork decodes_of(int decodes, std::int64_t context) {
  StepWork work{
      .step = 3, .decodes = decodes, .decode_context = {}, .chunks = {}, .sampled_rows = decodes};
  work.decode_context.fill(context);
  return work;
}

double closed_loop_throughput(const std::string& users, const std::string& lengths, double scale,
                              void (*change)(GpuSpec&, double)) {
  Scenario scenario = scenario_of("arrival: {kind: closed_loop, max_concurrency: " + users +
                                  "}, synthetic: {num_prompts: 200, " + lengths + "}");
  for (NodeGroup& node : scenario.cluster.nodes) change(node.system.gpu, scale);
  World world = build(scenario);
  const RunResult result = simulate(world);
  REQUIRE(result.utilization.preemptions == 0);
  REQUIRE(result.summary.completed == 200);
  return *result.summary.output_throughput;
}

}  // namespace

TEST_CASE("a faster memory or GPU never lowers the throughput of a closed loop") {
  struct Case {
    std::string why;
    std::string lengths;
  };
  const Case cases[] = {
      {"requests alike", "input_tokens: 300, output_tokens: 40"},
      {"requests that differ",
       "input_tokens: {lognormal: {mean: 300, p99: 2500}}, output_tokens: {uniform: [1, 120]}"},
  };
  const auto memory = [](GpuSpec& gpu, double scale) { gpu.mem_bw = gpu.mem_bw * scale; };
  const auto compute = [](GpuSpec& gpu, double scale) { gpu.bf16_peak = gpu.bf16_peak * scale; };
  for (const Case& c : cases) {
    for (const std::string users : {"1", "12", "60"}) {
      CAPTURE(c.why);
      CAPTURE(users);
      for (const auto change : {+memory, +compute}) {
        double before = 0, slowest = 0;
        for (const double scale : {0.25, 0.5, 1.0, 1.3, 2.0, 8.0}) {
          CAPTURE(scale);
          const double now = closed_loop_throughput(users, c.lengths, scale, change);
          CHECK(now >= before);
          before = now;
          if (scale == 0.25) slowest = now;
        }
        CHECK(before > slowest);
      }
    }
  }
}

namespace {

/// First token of a lone request with a prompt of `tokens`.
SimTime lone_ttft(Scenario& scenario, int tokens) {
  scenario.workload.synthetic.input_tokens.a = tokens;
  World world = build(scenario);
  world.run(nullptr);
  return world.view().requests.first_token[0];
}

const std::string kAlone =
    "arrival: {kind: all_at_once}, synthetic: {num_prompts: 1, input_tokens: 1, output_tokens: 2}";

}  // namespace

TEST_CASE("a longer prompt, alone, never has an earlier first token") {
  for (const std::string model : {"mistralai/Mixtral-8x7B-v0.1", "Qwen/Qwen3-30B-A3B"}) {
    CAPTURE(model);
    Scenario scenario = scenario_of(kAlone, "", {{"model", model}});
    SimTime before = 0;
    for (int tokens = 1; tokens < 20'000; tokens += 1 + tokens / 12) {
      CAPTURE(tokens);
      const SimTime now = lone_ttft(scenario, tokens);
      CHECK(now >= before);
      before = now;
    }
  }
}

TEST_CASE("token by token the first token is never earlier but for the draw of experts") {
  // The pools of neighbouring token counts are drawn apart: 0.1 % was the most seen.
  Scenario scenario = scenario_of(kAlone, "", {{"model", "openai/gpt-oss-120b"}});
  SimTime before = 0;
  for (int tokens = 1; tokens <= 600; ++tokens) {
    CAPTURE(tokens);
    const SimTime now = lone_ttft(scenario, tokens);
    CHECK(static_cast<double>(now) >= 0.998 * static_cast<double>(before));
    before = now;
  }
}

TEST_CASE("a step never gets cheaper with more decodes, context or prompt, at one graph size") {
  for (const Layout& layout : kLayouts) {
    CAPTURE(layout.model);
    CAPTURE(layout.pp);
    RealSteps real(layout.model, layout.tp, layout.pp);
    double before = 0;
    for (int decodes = 113; decodes <= 120; ++decodes) {  // all run as 120
      const double now = real.ns(decodes_of(decodes, decodes * 500));
      CHECK(now >= before);
      before = now;
    }
    before = 0;
    for (std::int64_t context = 32; context <= 32 * 8192; context += 1 + context / 3) {
      const double now = real.ns(decodes_of(32, context));
      CHECK(now >= before);
      before = now;
    }
    CHECK(before > real.ns(decodes_of(32, 32)));
    for (const int beside : {0, 40}) {
      before = 0;
      for (int tokens = 497 - beside; tokens <= 512 - beside; ++tokens) {  // all run as 512
        const std::vector<PromptChunk> chunk = {{0, tokens, 1000, true}};
        StepWork work = decodes_of(beside, beside * 200);
        work.chunks = chunk;
        work.sampled_rows += 1;
        CHECK(real.cost(work).padded_tokens == 512);
        CHECK(real.ns(work) >= before);
        before = real.ns(work);
      }
      before = 0;
      for (int cached = 0; cached <= 7000; cached += 250) {
        const std::vector<PromptChunk> chunk = {{0, 300, cached, true}};
        StepWork work = decodes_of(beside, beside * 200);
        work.chunks = chunk;
        CHECK(real.ns(work) >= before);
        before = real.ns(work);
      }
    }
  }
}

TEST_CASE("from one graph size to a much larger one a step never gets cheaper") {
  for (const Layout& layout : kLayouts) {
    CAPTURE(layout.model);
    RealSteps real(layout.model, layout.tp, layout.pp);
    double before = 0;
    for (const int decodes : {1, 2, 4, 8, 16, 32, 64, 128, 256}) {
      CAPTURE(decodes);
      const double now = real.ns(decodes_of(decodes, decodes * 300));
      CHECK(now >= before);
      before = now;
    }
    before = 0;
    for (const int tokens : {1, 8, 64, 256, 512, 1024, 2048}) {
      CAPTURE(tokens);
      const std::vector<PromptChunk> chunk = {{0, tokens, 0, true}};
      StepWork work = decodes_of(0, 0);
      work.chunks = chunk;
      const double now = real.ns(work);
      CHECK(now >= before);
      before = now;
    }
  }
}

TEST_CASE("terms and provenance sum to the time of the stages, for real models") {
  for (const Layout& layout : kLayouts) {
    CAPTURE(layout.model);
    RealSteps real(layout.model, layout.tp, layout.pp);
    for (const int decodes : {0, 1, 30, 256}) {
      for (const int prompt : {0, 1, 100, 1700}) {
        if (decodes + prompt == 0) continue;
        const std::vector<PromptChunk> chunk = {{0, prompt, 64, true}};
        StepWork work = decodes_of(decodes, decodes * 100);
        if (prompt > 0) work.chunks = chunk;
        const StepCost cost = real.cost(work);
        const double total = std::accumulate(cost.stage_ns.begin(), cost.stage_ns.end(), 0.0);
        const auto close = doctest::Approx(total).epsilon(1e-9);
        CHECK(std::accumulate(cost.terms.begin(), cost.terms.end(), 0.0) == close);
        CHECK(std::accumulate(cost.provenance_ns.begin(), cost.provenance_ns.end(), 0.0) == close);
        for (int term = 0; term < kTermCount; ++term) {
          const double ns = cost.terms[static_cast<std::size_t>(term)];
          CHECK((static_cast<Term>(term) == Term::kOverlapped ? ns <= 0 : ns >= 0));
        }
      }
    }
  }
}
