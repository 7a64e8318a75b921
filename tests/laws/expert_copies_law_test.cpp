// Copies of experts compute equal shares: none is fuller than another only for its number. And
// weights that move beside serving take their time.
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/laws/expert_support.h"

using namespace moesim;
using namespace moesim::laws;

namespace {

constexpr int kLayers = 32, kExperts = 8;

/// Every expert of Mixtral on every one of `ranks` ranks.
std::string everywhere(const std::filesystem::path& file, int ranks) {
  std::vector<int> slots;
  for (int s = 0; s < ranks * kExperts; ++s) slots.push_back(s % kExperts);
  std::ofstream(file) << nlohmann::json(std::vector<std::vector<int>>(kLayers, slots)).dump();
  return "placement: {file: " + file.string() + "}\n";
}

MoeStats run(const std::string& placement, int ranks, const std::string& backend,
             const std::string& fidelity, int users) {
  return stats_of(
      scenario_of("arrival: {kind: closed_loop, max_concurrency: " + std::to_string(users) +
                      "}, synthetic: {num_prompts: " + std::to_string(2 * users) +
                      ", input_tokens: 40, output_tokens: {uniform: [40, 80]}}",
                  layout("data_parallel_size: " + std::to_string(ranks),
                         "enable_expert_parallel: true, max_model_len: 256, "
                         "max_num_batched_tokens: 256, all2all_backend: " +
                             backend,
                         "kind: zipf, exponent: 0.8, fidelity: " + fidelity, placement),
                  {{"system.nodes", "[{profile: h200_sxm, gpus: 8}]"}}));
}

}  // namespace

TEST_CASE("every expert on every rank: ranks are as full as each other, for few users, too") {
  const auto file = std::filesystem::temp_directory_path() / "moesim_expert_copies_law.json";
  struct Case {
    const char* why;
    int ranks, users;
    double most;  // assignments of the fullest rank over the mean
  };
  const Case cases[] = {
      {"as many users as ranks: every rank has one token, or its padding", 8, 8, 1.02},
      {"fewer users: the other ranks run dummies", 8, 3, 1.02},
      {"more users", 8, 40, 1.02},
      {"ranks that divide neither padded tokens nor experts", 3, 9, 1.02},
  };
  for (const Case& c : cases) {
    const std::string placement = everywhere(file, c.ranks);
    for (const std::string backend :
         {"allgather_reducescatter", "deepep_high_throughput", "deepep_low_latency"}) {
      for (const std::string fidelity : {"exact", "sampled"}) {
        CAPTURE(std::string(c.why));
        CAPTURE(backend);
        CAPTURE(fidelity);
        const MoeStats stats = run(placement, c.ranks, backend, fidelity, c.users);
        CHECK(stats.fidelity == fidelity);
        double sum = 0, tokens = 0;
        for (const MoeLayerStats& layer : stats.layers) {
          sum += layer.rank_imbalance_tokens;
          tokens += layer.step_tokens;
        }
        CHECK(sum / tokens >= 1);
        CHECK(sum / tokens < c.most);
      }
    }
  }
  std::filesystem::remove(file);
}

TEST_CASE("copies beside serving: nothing stands still, and plans come no faster than copies") {
  struct Run {
    double end_s = 0;
    MoeStats stats;
  };
  const auto run = [](const std::string& eplb) {
    World world = build(
        scenario_of(kBurst, layout("data_parallel_size: 4", "enable_expert_parallel: true",
                                   "kind: lognormal, sigma: 1, fidelity: exact",
                                   eplb.empty() ? "" : "placement: {eplb: {" + eplb + "}}\n")));
    const RunView view = finish(world);
    return Run{static_cast<double>(view.end_time) * 1e-9, view.moe.front().stats};
  };
  const std::string soon = "window_size: 4, step_interval: 4";
  const Run linear = run(""), stopped = run(soon), beside = run(soon + ", use_async: true");
  REQUIRE(beside.stats.rebalances.size() >= 2);
  CHECK(beside.end_s < stopped.end_s);
  double copied_s = 0, stopped_s = 0;
  for (const MoeStats::Rebalance& r : stopped.stats.rebalances) stopped_s += r.copy_ns * 1e-9;
  for (const MoeStats::Rebalance& r : beside.stats.rebalances) {
    // One may be under way at the end.
    if (&r != &beside.stats.rebalances.back()) copied_s += r.copy_ns * 1e-9;
  }
  CHECK(copied_s < beside.end_s);
  CHECK(stopped_s < stopped.end_s);
  CHECK(beside.stats.rebalances.size() < stopped.stats.rebalances.size());
  for (std::size_t i = 1; i < beside.stats.rebalances.size(); ++i) {
    CHECK(beside.stats.rebalances[i].step >= beside.stats.rebalances[i - 1].step + 4);
    CHECK(beside.stats.rebalances[i - 1].imbalance_next.has_value());
  }
  CHECK(beside.stats.expert_load == linear.stats.expert_load);
}
