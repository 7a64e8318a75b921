// Experts outside the GPU: the fewer there are, the faster; none is as if there were no section.
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "sim/moesim.h"
#include "tests/laws/law_support.h"

using namespace moesim;
using namespace moesim::laws;

namespace {

std::string section(const std::string& fraction, const std::string& policy,
                    const std::string& prefetch = "none", const std::string& tier = "host") {
  return "{experts: {tier: " + tier + ", resident_fraction: " + fraction + ", policy: " + policy +
         ", prefetch: " + prefetch + "}}";
}

RunResult run(const std::string& workload, const std::string& more,
              const std::vector<Override>& overrides) {
  World world = build(scenario_of(workload, more, overrides));
  return simulate(world);
}

const std::string kChat =
    "arrival: {kind: closed_loop, max_concurrency: 3}, synthetic: {num_prompts: 12, "
    "input_tokens: {uniform: [5, 40]}, output_tokens: {uniform: [2, 20]}}";
const std::string kMarkov = "{kind: markov, persistence: 0.5, base: {kind: zipf, exponent: 1}}";

std::string layout(const std::string& instance) {
  return "engine: {max_model_len: 4096}\ndeployment: {instances: [{" + instance + "}]}\n";
}

TEST_CASE("all experts resident: to the bit what no section gives") {
  for (const char* instance : {"tensor_parallel_size: 2",
                               "tensor_parallel_size: 2, engine: {enable_expert_parallel: true}"}) {
    const std::vector<Override> routing{{"routing", kMarkov}};
    const RunResult without = run(kChat, layout(instance), routing);
    auto all = routing;
    all.push_back({"offload", section("1", "pinned_hot")});
    const RunResult with = run(kChat, layout(instance), all);
    CHECK(with.digest == without.digest);
    CHECK(!with.moe->offload);
  }
}

TEST_CASE("more residents are never slower and never hit less") {
  struct Case {
    const char* policy;
    const char* prefetch;
    const char* instance;
  };
  for (const Case& c :
       {Case{"pinned_hot", "none", "tensor_parallel_size: 2"},
        Case{"lru", "none", "tensor_parallel_size: 2"},
        Case{"lfu", "none", "tensor_parallel_size: 2"},
        Case{"lru", "none", "tensor_parallel_size: 2, engine: {enable_expert_parallel: true}"}}) {
    CAPTURE(std::string(c.policy));
    double duration = 1e300, hits = -1;
    for (const char* fraction : {"0", "0.25", "0.5", "0.75"}) {
      CAPTURE(std::string(fraction));
      const RunResult result =
          run(kChat, layout(c.instance),
              {{"routing", kMarkov}, {"offload", section(fraction, c.policy, c.prefetch)}});
      CHECK(result.summary.duration <= duration);
      CHECK(result.moe->offload->hit_ratio >= hits);
      duration = result.summary.duration;
      hits = result.moe->offload->hit_ratio;
    }
  }
}

TEST_CASE("copying ahead is never slower where what follows is certain to be known") {
  // With all experts of a layer in use every guess is right.
  const std::string prompts =
      "arrival: {kind: closed_loop, max_concurrency: 1}, synthetic: {num_prompts: 3, "
      "input_tokens: 900, output_tokens: 1}";
  const RunResult late =
      run(prompts, layout("tensor_parallel_size: 2"), {{"offload", section("0.5", "lru")}});
  const RunResult ahead = run(prompts, layout("tensor_parallel_size: 2"),
                              {{"offload", section("0.5", "lru", "next_layer")}});
  CHECK(ahead.summary.duration < late.summary.duration);
  // All layers but the first.
  CHECK(*ahead.moe->offload->ahead_ratio == doctest::Approx(31.0 / 32));
  CHECK(ahead.moe->offload->bytes_copied == late.moe->offload->bytes_copied);
}

// One user, no expert on the GPU: a token of Mixtral copies 2 experts in each of 32 layers, of
// 3 x 4096 x 14336 weights, 2 bytes each. Over the PCIe 5.0 of an H100 (64 GB/s, 0.76 of it for
// large messages) that is 22.55 GB / 48.64 GB/s = 463.57 ms and 32 latencies of 1.5 us.
TEST_CASE("a single stream runs at bytes per token over PCIe bandwidth") {
  const std::string one =
      "arrival: {kind: closed_loop, max_concurrency: 1}, synthetic: {num_prompts: 1, "
      "input_tokens: 1, output_tokens: 20}";
  const RunResult result = run(one, layout("tensor_parallel_size: 1"),
                               {{"offload", section("0", "pinned_hot")},
                                {"system.nodes.0.gpus", "1"},
                                {"engine.max_num_seqs", "1"},
                                {"engine.max_num_batched_tokens", "1024"}});
  const double bytes = 32 * 2 * 3.0 * 4096 * 14336 * 2;
  const double copy_ms = bytes / (64e9 * 0.76) * 1e3 + 32 * 1.5e-3;
  CHECK(copy_ms == doctest::Approx(463.61).epsilon(1e-4));
  CHECK(result.moe->offload->hit_ratio == 0);
  CHECK(result.moe->offload->copy_ms_per_step == doctest::Approx(copy_ms).epsilon(1e-6));
  // The rest of a token reads 5.6 GB at 3.35 TB/s: about 2 to 15 ms.
  const double token_ms = result.latency.time_per_output_token->mean;
  CHECK(token_ms > copy_ms + 1);
  CHECK(token_ms < copy_ms + 15);
}

TEST_CASE("a peer's link is shared by the GPUs that read from it") {
  const std::string one =
      "arrival: {kind: closed_loop, max_concurrency: 1}, synthetic: {num_prompts: 1, "
      "input_tokens: 1, output_tokens: 5}";
  const auto copy_ms = [&](const char* gpus) {
    return run(one, layout("tensor_parallel_size: 4"),
               {{"offload", section("0.5", "pinned_hot", "none", "peer")},
                {"system.nodes.0.gpus", gpus},
                {"routing", "{kind: zipf, exponent: 1}"}})
        .moe->offload->copy_ms_per_step;
  };
  // Four readers of one peer, and of four. What does not halve twice is latency: 32 x 8 us at most.
  const double shared = copy_ms("5"), own = copy_ms("8");
  CHECK(shared > 4 * own - 3 * 32 * 8e-3);
  CHECK(shared < 4 * own);
}

TEST_CASE("sampled steps find about as many experts as exact ones, where tokens are unrelated") {
  for (const char* policy : {"pinned_hot", "lru", "lfu"}) {
    CAPTURE(std::string(policy));
    double hits[2];
    for (const bool exact : {false, true}) {
      hits[exact ? 1 : 0] =
          run("arrival: {kind: closed_loop, max_concurrency: 4}, synthetic: {num_prompts: 24, "
              "input_tokens: 8, output_tokens: 100}",
              layout("tensor_parallel_size: 2"),
              {{"routing", std::string("{kind: zipf, exponent: 1, fidelity: ") +
                               (exact ? "exact}" : "sampled}")},
               {"offload", section("0.5", policy)}})
              .moe->offload->hit_ratio;
    }
    CHECK(hits[0] == doctest::Approx(hits[1]).epsilon(0.05));
  }
}

}  // namespace
