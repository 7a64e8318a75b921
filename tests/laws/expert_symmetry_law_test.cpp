// Names of experts and ranks mean nothing: other names change the names in the report, and nothing
// else.
#include <algorithm>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "scenarios/routing_trace.h"
#include "sim/moesim.h"
#include "tests/laws/law_support.h"
#include "tests/reference/expert_world.h"

using namespace moesim;
using namespace moesim::laws;

namespace {

constexpr int kLayers = 32, kExperts = 8, kTopK = 2, kRanks = 4;
using Permutation = std::vector<int>;  // [old] new

Permutation shuffled(std::uint64_t seed, int size) {
  Rng rng(seed, "names");
  Permutation out(static_cast<std::size_t>(size));
  std::iota(out.begin(), out.end(), 0);
  for (std::size_t i = out.size(); i > 1; --i)
    std::swap(out[i - 1], out[rng.below(static_cast<std::uint32_t>(i))]);
  return out;
}

/// Skewed rows of sequences for Mixtral, and where its experts lie: [layer][slot].
struct Routed {
  RoutingTable table;
  std::vector<std::vector<int>> places;
};

Routed drawn() {
  const RoutingShape shape{.layers = kLayers, .experts = kExperts, .top_k = kTopK};
  Routed out{reference::DrawnRouting(RoutingReplay::Mode::kSequence, 1).table(shape, {}, 5, 0), {}};
  out.table.model = "mistralai/Mixtral-8x7B-v0.1";
  for (int l = 0; l < kLayers; ++l)
    out.places.push_back(shuffled(100 + static_cast<std::uint64_t>(l), kExperts));
  return out;
}

/// The same tokens and places under other expert names, others in every layer.
Routed renamed(const Routed& routed, const std::vector<Permutation>& names) {
  Routed out = drawn();
  out.places = routed.places;
  for (int l = 0; l < kLayers; ++l) {
    const Permutation& name = names[static_cast<std::size_t>(l)];
    for (std::uint64_t row = 0; row < routed.table.rows(); ++row) {
      for (int k = 0; k < kTopK; ++k)
        out.table.set(row, l, k, name[static_cast<std::size_t>(routed.table.expert(row, l, k))]);
    }
    for (int& expert : out.places[static_cast<std::size_t>(l)])
      expert = name[static_cast<std::size_t>(expert)];
  }
  return out;
}

/// What rank r held, rank order[r] holds.
Routed moved(const Routed& routed, const Permutation& order) {
  Routed out = drawn();
  constexpr std::size_t kOwn = kExperts / kRanks;
  for (std::size_t l = 0; l < kLayers; ++l) {
    for (std::size_t s = 0; s < kExperts; ++s)
      out.places[l][static_cast<std::size_t>(order[s / kOwn]) * kOwn + s % kOwn] =
          routed.places[l][s];
  }
  return out;
}

nlohmann::json report(const Routed& routed, const std::string& role, const std::string& backend,
                      const std::string& fidelity) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / "moesim_symmetry_test";
  fs::create_directories(folder);
  std::ofstream(folder / "tokens.mrt", std::ios::binary) << write_mrt(routed.table);
  std::ofstream(folder / "places.json") << nlohmann::json(routed.places).dump();
  const Scenario scenario = scenario_of(
      "arrival: {kind: poisson, request_rate: 40}, synthetic: {num_prompts: 50, input_tokens: "
      "{uniform: [20, 200]}, output_tokens: {uniform: [10, 60]}}",
      "deployment: {instances: [{data_parallel_size: 4, role: " + role +
          "}]}\nengine: {enable_expert_parallel: true, all2all_backend: " + backend +
          "}\nuncertainty: {replicas: 1}\nrouting: {kind: trace, path: " +
          (folder / "tokens.mrt").string() + ", fidelity: " + fidelity +
          "}\nplacement: {file: " + (folder / "places.json").string() + "}\n");
  World world = build(scenario);
  std::ostringstream out;
  write_json(simulate(world), out);
  fs::remove_all(folder);
  return nlohmann::json::parse(out.str());
}

/// Equal but for the last of six digits: sums over ranks come in another order.
void check_near(const nlohmann::json& a, const nlohmann::json& b) {
  REQUIRE(a.type() == b.type());
  if (a.is_number()) {
    CHECK(a.get<double>() == doctest::Approx(b.get<double>()).epsilon(3e-6));
  } else if (a.is_structured()) {
    REQUIRE(a.size() == b.size());
    for (const auto& item : a.items()) {
      CAPTURE(item.key());
      check_near(item.value(), a.is_array() ? b[std::stoul(item.key())] : b[item.key()]);
    }
  } else {
    CHECK(a == b);
  }
}

}  // namespace

TEST_CASE(
    "experts under other names: the same run, the load map and the straggler's expert renamed") {
  const Routed routed = drawn();
  std::vector<Permutation> names;
  for (std::uint64_t l = 0; l < kLayers; ++l) names.push_back(shuffled(l, kExperts));
  const Routed other = renamed(routed, names);
  for (const std::string backend : {"allgather_reducescatter", "deepep_high_throughput",
                                    "deepep_low_latency", "flashinfer_nvlink_one_sided"}) {
    for (const std::string fidelity : {"exact", "sampled"}) {
      CAPTURE(backend);
      CAPTURE(fidelity);
      nlohmann::json a = report(routed, "mixed", backend, fidelity);
      nlohmann::json b = report(other, "mixed", backend, fidelity);
      for (std::size_t l = 0; l < kLayers; ++l) {
        for (std::size_t e = 0; e < kExperts; ++e) {
          CHECK(a["moe"]["expert_load_ratio"][l][e] ==
                b["moe"]["expert_load_ratio"][l][static_cast<std::size_t>(names[l][e])]);
        }
      }
      const nlohmann::json& straggler = a["moe"]["straggler"];
      const auto layer = straggler["layer"].get<std::size_t>();
      const auto expert = straggler["expert"].get<std::size_t>();
      CHECK(b["moe"]["straggler"]["expert"] == names[layer][expert]);
      for (nlohmann::json* one : {&a, &b}) {
        (*one)["moe"].erase("expert_load_ratio");
        (*one)["moe"]["straggler"].erase("expert");
        one->erase("simulator");
      }
      CHECK(a == b);
    }
  }
}

// Ranks in lockstep that are padded to one size hold the same; whose experts are hot is then a
// matter of names alone.
TEST_CASE("ranks under other names: the same run") {
  const Routed routed = drawn();
  const Permutation order = {2, 0, 3, 1};
  const Routed other = moved(routed, order);
  for (const std::string backend : {"allgather_reducescatter", "deepep_high_throughput",
                                    "deepep_low_latency", "flashinfer_nvlink_two_sided"}) {
    for (const std::string fidelity : {"exact", "sampled"}) {
      CAPTURE(backend);
      CAPTURE(fidelity);
      nlohmann::json a = report(routed, "decode", backend, fidelity);
      nlohmann::json b = report(other, "decode", backend, fidelity);
      // Where several ranks are slowest the first of them is named.
      a["moe"].erase("straggler");
      b["moe"].erase("straggler");
      for (const char* section : {"summary", "latency", "moe", "communication", "breakdown"}) {
        CAPTURE(std::string(section));
        check_near(a[section], b[section]);
      }
    }
  }
}

TEST_CASE("data-parallel ranks and the experts they hold change places: the step stays") {
  int compared = 0;
  for (std::uint64_t seed = 1; seed <= 2000 && compared < 60; ++seed) {
    reference::ExpertPlan plan = reference::random_plan(seed, {{AttentionKind::kFull, 0, 1}}, 1);
    const Parallel& p = plan.parallel;
    // One node, whose links are alike; without copies, whose users are told apart by number.
    if (p.tp > 1 || !p.expert_parallel || p.moe_tp > 1 || p.redundant_experts > 0 ||
        plan.model.layers[0].num_experts % p.dp != 0) {
      continue;
    }
    plan.cluster.nodes.front().count = 1;
    plan.cluster.nodes.front().gpus = p.dp;
    plan.cluster.nodes.front().system = load_system("h100_sxm", ".", Where());
    plan.cluster.network.preset = NetworkPreset::kSingleNode;
    CAPTURE(seed);
    CAPTURE(plan.backend);
    reference::ExpertPlan turned = plan;
    const int own = plan.placement.slots / p.dp;
    // Rank r's work and experts go to rank r + 1.
    for (int l = 0; l < plan.placement.layers; ++l) {
      const auto row = turned.placement.logical.begin() + std::ptrdiff_t{l} * plan.placement.slots;
      std::rotate(row, row + plan.placement.slots - own, row + plan.placement.slots);
    }
    std::vector<std::vector<RoutedToken>> tokens(static_cast<std::size_t>(p.dp));
    std::vector<StepWork> works;
    for (int r = 0; r < p.dp; ++r) {
      const auto rank = static_cast<std::size_t>(r);
      const int decodes = static_cast<int>((seed + 3 * rank) % 7);  // some have none
      for (int i = 0; i < decodes; ++i)
        tokens[rank].push_back(
            {static_cast<std::uint32_t>(10 * r + i), static_cast<std::uint32_t>(i), false});
      works.push_back({.step = seed,
                       .decodes = decodes,
                       .decode_context = {},
                       .chunks = {},
                       .sampled_rows = decodes});
      works.back().decode_context[0] = 40 * decodes * (r + 1);
      works.back().tokens = tokens[rank];
    }
    std::vector<StepWork> turned_works = works;
    std::rotate(turned_works.begin(), turned_works.end() - 1, turned_works.end());
    reference::ExpertWorld a(plan), b(turned);
    StepCost before, after;
    a.engine().price_ranks(works, before);
    b.engine().price_ranks(turned_works, after);
    CHECK(after.stage_ns[0] == doctest::Approx(before.stage_ns[0]).epsilon(1e-9));
    for (std::size_t t = 0; t < before.terms.size(); ++t)
      CHECK(after.terms[t] == doctest::Approx(before.terms[t]).epsilon(1e-9));
    const MoeStats told = a.engine().moe_stats(), other = b.engine().moe_stats();
    CHECK(told.expert_load == other.expert_load);
    for (std::size_t l = 0; l < told.layers.size(); ++l) {
      CHECK(told.layers[l].active == other.layers[l].active);
      CHECK(told.layers[l].rank_imbalance == other.layers[l].rank_imbalance);
    }
    ++compared;
  }
  CHECK(compared == 60);
}
