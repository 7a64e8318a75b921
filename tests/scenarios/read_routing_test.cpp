// The section `routing` as a whole; mistakes in it are in bad_workloads_test.cpp.
#include <doctest/doctest.h>
#include <filesystem>
#include <string>

#include "scenarios/expert_routing.h"
#include "sim/base/files.h"
#include "sim/base/registry.h"
#include "tests/scenarios/scenarios_support.h"

using namespace moesim;

namespace {

const std::string* resolved(const Scenario& scenario, const std::string& key) {
  for (const ResolvedOption& option : scenario.resolved) {
    if (option.key == key) return &option.value;
  }
  return nullptr;
}

}  // namespace

TEST_CASE("without a section routing is uniform, dropless and seeded by the scenario") {
  const RoutingSpec spec = load_text(small_scenario()).routing;
  CHECK(spec.policy.name == "uniform");
  CHECK(spec.policy.params == "{}");
  CHECK(spec.fidelity == RoutingFidelity::kAuto);
  CHECK_FALSE(spec.capacity_factor.has_value());
  CHECK(spec.overflow == Overflow::kDrop);
  CHECK(spec.capacity_scope == CapacityScope::kBatch);
  CHECK_FALSE(spec.seed.has_value());
}

TEST_CASE("every key of the section arrives") {
  const Scenario scenario = load_text(with_line(
      19,
      "routing: {kind: lognormal, sigma: 1.05, fidelity: rank_exact, capacity_factor: 1.25, "
      "overflow: next_choice, capacity_scope: rank, seed: 99}"));
  const RoutingSpec& spec = scenario.routing;
  CHECK(spec.policy.name == "lognormal");
  CHECK(spec.fidelity == RoutingFidelity::kRankExact);
  CHECK(*spec.capacity_factor == 1.25);
  CHECK(spec.overflow == Overflow::kNextChoice);
  CHECK(spec.capacity_scope == CapacityScope::kRank);
  CHECK(*spec.seed == 99);
  CHECK(*resolved(scenario, "routing.kind") == "lognormal");
  // The kind can be made again from its parameters alone.
  const Document params = Document::parse(spec.policy.params, "again");
  Diagnostics diagnostics;
  Reader in(params, diagnostics);
  static_cast<void>(Registry<ExpertRouting>::find(spec.policy.name)->make(in));
  CHECK_NOTHROW(diagnostics.throw_if_any());
}

TEST_CASE("experts that choose have a fair share of room unless told otherwise") {
  const RoutingSpec spec =
      load_text(with_line(19, "routing: {router: expert_choice, fidelity: sampled}")).routing;
  CHECK(spec.expert_choice);
  CHECK(*spec.capacity_factor == 1);
  CHECK(spec.fidelity == RoutingFidelity::kSampled);
  const RoutingSpec wide = load_text(with_line(19,
                                               "routing: {router: expert_choice, "
                                               "capacity_factor: 2, capacity_scope: rank}"))
                               .routing;
  CHECK(*wide.capacity_factor == 2);
  CHECK(wide.capacity_scope == CapacityScope::kRank);
  CHECK_FALSE(load_text(with_line(19, "routing: {router: top_k}")).routing.expert_choice);
}

TEST_CASE("a file named by --set starts at the current folder") {
  const std::string name = "read_routing_test_loads.csv";
  std::string rows = "layer,expert,count\n";
  for (int layer = 0; layer < 32; ++layer) {
    for (int e = 0; e < 8; ++e) rows += std::to_string(layer) + "," + std::to_string(e) + ",1\n";
  }
  const auto here = std::filesystem::current_path() / name;
  write_file(here, rows);
  const Scenario scenario =
      load_text(small_scenario(), {{"routing.kind", "loads"}, {"routing.path", name}});
  CHECK(scenario.routing.policy.params.find(here.string()) != std::string::npos);
  // The report shows what was written.
  CHECK(scenario.resolved_json.find(here.string()) == std::string::npos);
  std::filesystem::remove(here);
}

TEST_CASE("mixes of domains by time need arrivals that have one") {
  const std::string text =
      with_line(19,
                "routing:\n"
                "  kind: markov\n"
                "  persistence: 0.5\n"
                "  base:\n"
                "    kind: latent_logit\n"
                "    domain_mix: [{from_s: 0, shares: {a: 1}}, {from_s: 9, shares: {b: 1}}]");
  CHECK(mistakes_of(text).empty());
  CHECK(load_text(text).routing.mix_schedule->line == 24);
  for (const char* arrivals : {"{kind: closed_loop, max_concurrency: 4}", "{kind: all_at_once}"}) {
    const auto found = mistakes_of(text, {{"workload.arrival", arrivals}});
    CHECK(compare(found, {{24, "routing.domain_mix", "says no times", "poisson"}}) == "");
  }
  CHECK_FALSE(load_text(small_scenario()).routing.mix_schedule.has_value());
}

TEST_CASE("groups that do not hold a token's experts are a mistake of the model") {
  std::string config =
      read_file(std::string(MOESIM_ROOT) + "/models/configs/deepseek-ai__DeepSeek-V2-Lite.json");
  const std::string from = "\"n_group\": 1";
  REQUIRE(config.find(from) != std::string::npos);
  config.replace(config.find(from), from.size(), "\"n_group\": 16");
  const TempFolder folder;
  const std::string path = folder.write("config.json", config).string();
  const auto found = mistakes_of(with_line(3, "model: " + path));
  REQUIRE_FALSE(found.empty());
  bool told = false;
  for (const Diagnostic& d : found)
    told = told || d.problem == "a token keeps 4 experts (1 of 16 groups) and chooses 6";
  CHECK(told);
}
