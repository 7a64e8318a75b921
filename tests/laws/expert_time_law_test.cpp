// Instances of experts share tables, pools and draws; load drifts while they run. None of it may
// depend on who runs first, or on what a run before has left.
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "reference/effort.h"
#include "sim/moesim.h"
#include "tests/laws/law_support.h"

using namespace moesim;
using namespace moesim::laws;

namespace {

const std::string kOpen =
    "arrival: {kind: poisson, request_rate: 20}, synthetic: {num_prompts: 40, input_tokens: "
    "{uniform: [20, 300]}, output_tokens: {uniform: [10, 60]}}";
/// The same requests; a cap that never binds puts all instances on one clock.
const std::string kCoupled =
    "arrival: {kind: poisson, request_rate: 20, max_concurrency: 100000}, synthetic: {num_prompts: "
    "40, input_tokens: {uniform: [20, 300]}, output_tokens: {uniform: [10, 60]}}";

const std::string kZipf = "kind: zipf, exponent: 0.8";
/// Half a second between tables: every instance meets several.
const std::string kDrift = "kind: zipf, exponent: 0.8, drift: {kind: ar1, half_life_s: 2}";
const std::string kSudden = "kind: hot_expert, fraction: 0.5, from_s: 1";

std::string two_instances(const std::string& routing, const std::string& more = "") {
  return "deployment: {instances: [{data_parallel_size: 4, count: 2}]}\n"
         "engine: {enable_expert_parallel: true, enforce_eager: true, all2all_backend: "
         "deepep_high_throughput}\n"
         "uncertainty: {replicas: 1}\nrouting: {" +
         routing + "}\n" + more;
}

nlohmann::json report(const Scenario& scenario) {
  World world = build(scenario);
  std::ostringstream out;
  write_json(simulate(world), out);
  return nlohmann::json::parse(out.str());
}

}  // namespace

TEST_CASE("instances of experts run apart do what they do on one clock") {
  Turns turns;
  for (const std::string& routing :
       {kZipf, kDrift, kSudden, std::string("kind: balanced"), std::string("kind: latent_logit")}) {
    for (const std::string fidelity : {"exact", "sampled"}) {
      if (turns.skip()) continue;
      CAPTURE(routing);
      CAPTURE(fidelity);
      const std::string more = two_instances(routing + ", fidelity: " + fidelity);
      const nlohmann::json apart = report(scenario_of(kOpen, more));
      const nlohmann::json together = report(scenario_of(kCoupled, more));
      for (const char* section : {"digest", "summary", "latency", "breakdown", "provenance"}) {
        CAPTURE(std::string(section));
        CHECK(apart.at(section) == together.at(section));
      }
      // Sums over steps in another order: the last of six digits may differ.
      for (const char* section : {"a2a_bytes_intra", "a2a_bytes_inter"}) {
        if (!apart["communication"].contains(section)) continue;
        CHECK(apart["communication"][section].get<double>() ==
              doctest::Approx(together["communication"][section].get<double>()).epsilon(2e-6));
      }
      const auto& a = apart["moe"]["layers"];
      const auto& b = together["moe"]["layers"];
      REQUIRE(a.size() == b.size());
      for (std::size_t l = 0; l < a.size(); ++l) {
        for (const char* name : {"tokens", "assignments", "active_experts_mean",
                                 "rank_imbalance_mean", "expert_imbalance_mean"}) {
          CHECK(a[l][name].get<double>() ==
                doctest::Approx(b[l][name].get<double>()).epsilon(2e-6));
        }
      }
    }
  }
}

TEST_CASE("what a run before has left changes nothing, balancer and tiers included") {
  Turns turns;
  for (const std::string& routing : {kZipf, kDrift}) {
    for (const std::string fidelity : {"exact", "rank_exact", "sampled"}) {
      if (turns.skip()) continue;
      CAPTURE(routing);
      CAPTURE(fidelity);
      const std::string eplb =
          "placement: {eplb: {window_size: 30, step_interval: 80, "
          "num_redundant_experts: 4}}\n";
      const Scenario scenario =
          scenario_of(kOpen, two_instances(routing + ", fidelity: " + fidelity, eplb));
      nlohmann::json first = report(scenario);
      (void)report(scenario_of(kOpen, two_instances("kind: dirichlet, concentration: 1")));
      nlohmann::json second = report(scenario);
      CHECK(!first["moe"]["eplb"]["rebalances"].empty());
      first.erase("simulator");
      second.erase("simulator");
      CHECK(first == second);
    }
  }
}

// Exact replay counts tokens; draws sum up what they know of a table before the next one takes its
// place.
TEST_CASE("load that drifts is summed up the same by draws and by exact replay") {
  for (const std::string& routing : {kDrift, kSudden}) {
    CAPTURE(routing);
    const auto moe = [&](const std::string& fidelity) {
      return report(scenario_of(kOpen, two_instances(routing + ", fidelity: " + fidelity)))["moe"];
    };
    const nlohmann::json exact = moe("exact"), sampled = moe("sampled");
    for (std::size_t l = 0; l < exact["layers"].size(); ++l) {
      CAPTURE(l);
      const auto a = exact["expert_load_ratio"][l].get<std::vector<double>>();
      const auto b = sampled["expert_load_ratio"][l].get<std::vector<double>>();
      CHECK(std::accumulate(b.begin(), b.end(), 0.0) == doctest::Approx(8).epsilon(0.01));
      for (std::size_t e = 0; e < a.size(); ++e) CHECK(std::abs(b[e] - a[e]) < 0.15);
    }
  }
}

// A balancer whose first interval never ends gives every instance prices of its own and moves
// nothing: the same run, told from two models of steps instead of one.
TEST_CASE("the report is of all instances, however many models of steps they have") {
  for (const std::string fidelity : {"exact", "sampled"}) {
    CAPTURE(fidelity);
    const auto told = [&](const std::string& placement) {
      return report(scenario_of(kOpen, two_instances(kZipf + ", fidelity: " + fidelity,
                                                     "placement: " + placement + "\n")));
    };
    const nlohmann::json one = told("linear"), two = told("{eplb: {step_interval: 100000}}");
    CHECK(one["digest"] == two["digest"]);
    CHECK(two["moe"]["eplb"]["rebalances"].empty());
    const auto check_same = [](const nlohmann::json& a, const nlohmann::json& b) {
      CHECK(a.get<double>() == doctest::Approx(b.get<double>()).epsilon(2e-6));
    };
    for (const char* name : {"a2a_bytes_intra", "a2a_bytes_inter"}) {
      CHECK(one["communication"].contains(name) == two["communication"].contains(name));
      if (one["communication"].contains(name))
        check_same(one["communication"][name], two["communication"][name]);
    }
    REQUIRE(one["moe"]["layers"].size() == two["moe"]["layers"].size());
    for (std::size_t l = 0; l < one["moe"]["layers"].size(); ++l) {
      const nlohmann::json& a = one["moe"]["layers"][l];
      const nlohmann::json& b = two["moe"]["layers"][l];
      for (const auto& field : a.items()) {
        CAPTURE(field.key());
        check_same(field.value(), b[field.key()]);
      }
    }
    CHECK(one["moe"]["expert_load_ratio"] == two["moe"]["expert_load_ratio"]);
  }
}
