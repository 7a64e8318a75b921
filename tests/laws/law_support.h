#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "scenarios/load.h"
#include "sim/base/random.h"
#include "tests/sim/small_cluster.h"

namespace moesim::laws {

/// Routing of every generator, as in a scenario.
inline constexpr const char* kEveryKind[] = {"kind: uniform",
                                             "kind: balanced",
                                             "kind: zipf, exponent: 0.8",
                                             "kind: power_law, exponent: 1.2",
                                             "kind: lognormal, sigma: 1.0",
                                             "kind: dirichlet, concentration: 1.0",
                                             "kind: latent_logit",
                                             "kind: markov, persistence: 0.3",
                                             "kind: hot_expert, fraction: 0.9",
                                             "kind: hash, vocabulary: 1000"};

/// A scenario of `model` on one node of `gpus` H100, with `workload` and further lines of YAML.
[[nodiscard]] inline Scenario scenario_of(const std::string& workload, const std::string& more = "",
                                          const std::vector<Override>& overrides = {}) {
  const std::string text =
      "schema_version: 1\n"
      "name: law\n"
      "model: mistralai/Mixtral-8x7B-v0.1\n"
      "system: {nodes: [{profile: h100_sxm, gpus: 8}]}\n"
      "workload: {" +
      workload + "}\n" +
      (more.empty() ? "deployment: {instances: [{tensor_parallel_size: 2}]}\n" : more);
  return load_scenario_text(text, "law.yaml", ".", overrides);
}

/// A cluster and its requests.
struct ClusterLoad {
  SmallCluster cluster;
  Workload workload;
};

/// What a random cluster may have.
struct Mix {
  bool refused = true;   ///< prompts that no engine takes
  bool sessions = true;  ///< follow-up turns
  bool cap = true;       ///< a client's semaphore
  bool priority = true;
  bool one_stage = false;
};

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : rng_(seed, "law") {}
  int between(int low, int high) {
    return low + static_cast<int>(rng_.below(static_cast<std::uint32_t>(high - low + 1)));
  }
  bool percent(int p) { return between(1, 100) <= p; }
  template <class T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[between(0, static_cast<int>(values.size()) - 1)];
  }

 private:
  Rng rng_;
};

inline void draw_chains(Dice& dice, Workload& workload) {
  workload.chain_begin.push_back(0);
  for (const std::uint32_t prompt : workload.prompt_tokens) {
    // One of five system prompts, then one of twenty documents.
    const auto shared = static_cast<std::uint32_t>(dice.between(1, 24));
    if (dice.percent(70)) {
      const auto id = static_cast<std::uint32_t>(dice.between(0, 4));
      workload.chain.push_back({id, std::min(shared, prompt)});
      if (shared < prompt && dice.percent(50)) {
        workload.chain.push_back({5 + static_cast<std::uint32_t>(dice.between(0, 19)), prompt});
      }
    }
    workload.chain_begin.push_back(static_cast<std::uint32_t>(workload.chain.size()));
  }
  workload.chain_ids = 25;
}

/// A small cluster in any mode of the loop, with memory for its longest request and not much more.
/// The same seed gives the same load.
[[nodiscard]] inline ClusterLoad random_load(std::uint64_t seed, const Mix& mix = {}) {
  Dice dice(seed);
  ClusterLoad load;
  SmallCluster& cluster = load.cluster;
  Limits& limits = cluster.limits;
  cluster.instances = dice.between(1, 4);
  cluster.router =
      dice.one_of<std::string>({"round_robin", "least_loaded", "power_of_two", "prefix_affinity"});
  limits.max_model_len = dice.between(20, 90);
  limits.max_num_seqs = dice.between(1, 10);
  limits.max_num_batched_tokens = dice.between(4, 64);
  limits.reserve_full_isl = dice.percent(50);
  limits.priority = mix.priority && dice.percent(25);
  limits.pipeline_stages = mix.one_stage || dice.percent(75) ? 1 : dice.between(2, 3);
  limits.async = limits.pipeline_stages == 1 && dice.percent(60);
  limits.finish_eos = dice.percent(40);
  cluster.block_size = dice.one_of({1, 4, 8});
  if (dice.percent(30)) cluster.groups.push_back({AttentionKind::kSliding, dice.between(4, 20), 1});
  const int per_group = (limits.max_model_len + cluster.block_size - 1) / cluster.block_size;
  cluster.blocks = per_group * static_cast<int>(cluster.groups.size()) +
                   dice.one_of({0, dice.between(0, 20), 500});
  cluster.caching = dice.percent(60);
  cluster.formula = {.step_ns = 20'000, .decode_ns = 300, .prompt_ns = 100, .context_ns = 3};
  const double host = dice.one_of({0.0, 0.5, 4.0});
  cluster.host = {host, 0, 0, 0, host, 0, host / 2, 0};

  Workload& workload = load.workload;
  const int spread_ns = dice.one_of({0, 5'000, 60'000, 400'000});
  SimTime now = 0;
  const bool sessions = mix.sessions && dice.percent(40);
  for (int r = dice.between(5, 60); r > 0; --r) {
    if (!dice.percent(20)) now += dice.between(0, spread_ns);
    const bool refused = mix.refused && dice.percent(5);
    const int most = limits.max_model_len + (refused ? 5 : -1);
    workload.arrival_ns.push_back(now);
    workload.prompt_tokens.push_back(
        static_cast<std::uint32_t>(dice.between(refused ? most : 1, most)));
    workload.output_tokens.push_back(static_cast<std::uint32_t>(dice.between(1, 40)));
    if (limits.priority) workload.priority.push_back(dice.between(0, 2));
    if (!sessions) continue;
    const auto row = static_cast<int>(workload.size()) - 1;
    const bool follows = row > 0 && dice.percent(60);
    workload.predecessor.push_back(follows ? static_cast<std::uint32_t>(dice.between(0, row - 1))
                                           : kNoRequest);
    if (follows) workload.arrival_ns.back() = dice.between(0, 100'000);
  }
  if (cluster.caching) draw_chains(dice, workload);
  if (mix.cap && dice.percent(40)) workload.max_concurrency = dice.between(1, 12);
  return load;
}

}  // namespace moesim::laws
