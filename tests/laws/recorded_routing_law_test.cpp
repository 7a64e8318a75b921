// Recorded tokens, mixes of their domains, and loads that change: what counting by ranks makes of
// them, against exact replay.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>
#include <string>

#include "scenarios/expert_routing.h"
#include "scenarios/routing_trace.h"
#include "sim/base/diagnostic.h"
#include "sim/base/random.h"
#include "sim/moesim.h"
#include "tests/laws/law_support.h"

using namespace moesim;
using namespace moesim::laws;

namespace {

constexpr int kLayers = 32, kExperts = 8, kTopK = 2;  // Mixtral's

/// Requests come one after the other, every 5 s, so that steps do not depend on how long steps
/// take.
const std::string kApart =
    "arrival: {kind: constant, request_rate: 0.2}, synthetic: {num_prompts: 12, input_tokens: "
    "{uniform: [20, 400]}, output_tokens: {uniform: [10, 60]}}";
/// Several at once.
const std::string kOpen =
    "arrival: {kind: poisson, request_rate: 40}, synthetic: {num_prompts: 80, input_tokens: "
    "{uniform: [20, 200]}, output_tokens: {uniform: [10, 60]}}";

/// A folder that is gone at the end.
class Folder {
 public:
  Folder() { std::filesystem::create_directories(path_); }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return (path_ / name).string();
  }

 private:
  std::filesystem::path path_ = std::filesystem::temp_directory_path() / "moesim_recorded_test";
};

/// Forty sequences. Tokens of the first half, domain "narrow", choose among every second expert,
/// those of "wide" among all; both prefer the first ranks.
RoutingTable two_domains(int layers, int experts) {
  RoutingTable table = empty_table({layers, experts, kTopK, 0, 0},
                                   {.sequences = 40, .prompt_rows = 60, .decode_rows = 60});
  table.domains = {{0, "narrow", ""}, {1, "wide", ""}};
  for (std::size_t s = 20; s < 40; ++s) table.sequences[s].domain = 1;
  Rng rng(1, "two_domains");
  const auto pairs = static_cast<std::uint32_t>(experts / 2);
  for (std::uint64_t row = 0; row < table.rows(); ++row) {
    const std::uint32_t either = row < table.rows() / 2 ? 1 : 2;
    for (int l = 0; l < layers; ++l) {
      const std::uint32_t first = std::min(rng.below(pairs), rng.below(pairs));
      const std::uint32_t second = (first + 1 + rng.below(pairs - 1)) % pairs;
      table.set(row, l, 0, static_cast<int>(2 * first + rng.below(either)));
      table.set(row, l, 1, static_cast<int>(2 * second + rng.below(either)));
    }
  }
  return table;
}

/// Two recorded steps: experts of the first rank take most, then those of the last.
StepLoads two_steps() {
  StepLoads loads;
  loads.shape = {kLayers, kExperts, kTopK, 0, 0};
  loads.steps = {{0, 0, 0, 16}, {0, 1, 0, 16}};
  for (const bool last : {false, true}) {
    for (int l = 0; l < kLayers; ++l) {
      for (int e = 0; e < kExperts; ++e) loads.counts.push_back((last ? e >= 6 : e < 2) ? 10 : 2);
    }
  }
  return loads;
}

std::string spread(const std::string& routing) {
  return "deployment: {instances: [{tensor_parallel_size: 2, data_parallel_size: 2, count: 2}]}\n"
         "engine: {enable_expert_parallel: true, enforce_eager: true, async_scheduling: false, "
         "all2all_backend: deepep_high_throughput}\nrouting: {" +
         routing + "}\n";
}

MoeStats stats_of(const std::string& requests, const std::string& routing) {
  World world = build(scenario_of(requests, spread(routing)), {.check = true});
  world.run(nullptr);
  return world.view().moe.front().stats;
}

struct Outcome {
  double mean_tpot_ms = 0, active = 0;  ///< experts of all layers
};
Outcome outcome(const std::string& requests, const std::string& routing) {
  World world = build(scenario_of(requests, spread(routing)));
  std::ostringstream out;
  write_json(simulate(world), out);
  const nlohmann::json report = nlohmann::json::parse(out.str());
  Outcome seen{report["summary"]["mean_tpot_ms"], 0};
  for (const nlohmann::json& layer : report["moe"]["layers"])
    seen.active += layer["active_experts_mean"].get<double>();
  return seen;
}

}  // namespace

TEST_CASE("counting by ranks sees exact replay's loads of recorded tokens, mixes and drift") {
  const Folder folder;
  const std::string trace =
      "kind: trace, path: " + folder.write("t.mrt", write_mrt(two_domains(kLayers, kExperts)));
  const std::string shallow =
      "kind: trace, path: " + folder.write("l.mrt", write_mrt(two_domains(8, kExperts)));
  const std::string other =
      "kind: trace, path: " + folder.write("e.mrt", write_mrt(two_domains(kLayers, 16)));
  const std::string steps = folder.write("s.csv", write_routing_csv(two_steps()));
  struct Case {
    const char* why;
    std::string routing;
  };
  const Case cases[] = {
      {"a mix of domains", trace + ", domain_mix: {narrow: 1, wide: 3}"},
      {"one domain", trace + ", domain_mix: {narrow: 1}"},
      {"other layers", shallow + ", adapt: layers, domain_mix: {wide: 1}"},
      {"other experts", other + ", adapt: experts, domain_mix: {narrow: 3, wide: 1}"},
      {"loads of recorded steps under another kind",
       "kind: markov, persistence: 0.1, base: {kind: step_loads, path: " + steps + "}"},
      {"load that drifts", "kind: zipf, exponent: 0.8, drift: {kind: step, half_life_s: 12}"},
      {"an expert that gets hot", "kind: hot_expert, fraction: 0.5, from_s: 28"},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    const MoeStats exact = stats_of(kApart, c.routing + ", fidelity: exact");
    const MoeStats ranks = stats_of(kApart, c.routing + ", fidelity: rank_exact");
    CHECK(exact.fidelity == "exact");
    CHECK(ranks.fidelity == "rank_exact");
    CHECK(ranks.expert_load == exact.expert_load);
    for (std::size_t l = 0; l < exact.layers.size(); ++l) {
      CAPTURE(l);
      CHECK(ranks.layers[l].steps == exact.layers[l].steps);
      CHECK(ranks.layers[l].assignments == exact.layers[l].assignments);
      CHECK(ranks.layers[l].rank_imbalance == exact.layers[l].rank_imbalance);
      CHECK(ranks.layers[l].bytes_intra == exact.layers[l].bytes_intra);
    }
  }
}

TEST_CASE("steps of a mix of domains take as long counted by ranks as token by token") {
  const Folder folder;
  const std::string trace =
      "kind: trace, path: " + folder.write("t.mrt", write_mrt(two_domains(kLayers, kExperts)));
  struct Case {
    std::string mix;
    double limit;
  };
  // Padding takes rows of either domain, which counting by ranks draws like those of requests: some
  // 1.4 % fewer experts at the small steps of this load.
  for (const Case& c :
       {Case{"{narrow: 1}", 0.01}, Case{"{wide: 1}", 0.01}, Case{"{narrow: 1, wide: 3}", 0.02}}) {
    CAPTURE(c.mix);
    const std::string routing = trace + ", domain_mix: " + c.mix + ", fidelity: ";
    const Outcome exact = outcome(kOpen, routing + "exact");
    const Outcome ranks = outcome(kOpen, routing + "rank_exact");
    CHECK(ranks.mean_tpot_ms == doctest::Approx(exact.mean_tpot_ms).epsilon(0.003));
    CHECK(ranks.active == doctest::Approx(exact.active).epsilon(c.limit));
  }
}

TEST_CASE("domains that come and go run as exact instead of by ranks, and the report says so") {
  const Folder folder;
  const std::string trace =
      "kind: trace, path: " + folder.write("t.mrt", write_mrt(two_domains(kLayers, kExperts)));
  const std::string requests = "trace: {path: " +
                               folder.write("r.csv",
                                            "request_id,arrival_s,prompt_tokens,output_tokens,"
                                            "domain\na,0,40,20,narrow\nb,0.1,60,30,wide\n") +
                               "}";
  struct Case {
    std::string requests, routing, why;
  };
  const Case cases[] = {
      {kApart,
       trace + ", domain_mix: [{from_s: 0, shares: {narrow: 1}}, {from_s: 28, shares: {wide: 1}}]",
       "domain_mix changes with time, and a rank's experts with it"},
      {requests, trace, "requests have domains of their own, and a rank's experts go with them"},
      {requests, "kind: zipf, exponent: 0.8", ""},  // knows no domains
  };
  for (const Case& c : cases) {
    CAPTURE(c.routing);
    World world = build(scenario_of(c.requests, spread(c.routing + ", fidelity: rank_exact")));
    world.run(nullptr);
    const RunView view = world.view();
    CHECK(view.moe.front().stats.fidelity == (c.why.empty() ? "rank_exact" : "exact"));
    CHECK(std::ranges::count(view.warnings, "routing.fidelity: rank_exact runs as exact: " +
                                                c.why) == (c.why.empty() ? 0 : 1));
  }
}

TEST_CASE("loads of recorded steps are of no tier: exact and rank_exact have no token to follow") {
  const Folder folder;
  const std::string steps =
      "kind: step_loads, path: " + folder.write("s.csv", write_routing_csv(two_steps()));
  for (const std::string fidelity : {"exact", "rank_exact", "sampled"}) {
    CAPTURE(fidelity);
    std::string problem;
    try {
      (void)scenario_of(kApart, spread(steps + ", fidelity: " + fidelity));
    } catch (const InputError& error) {
      REQUIRE(error.diagnostics().size() == 1);
      problem = error.diagnostics().front().key + ": " + error.diagnostics().front().problem;
    }
    CHECK(problem == "routing.fidelity: has no effect: every step takes a recorded one");
  }
  const MoeStats stats = stats_of(kApart, steps);
  CHECK(stats.fidelity == "steps");
  for (std::size_t l = 0; l < stats.layers.size(); ++l) {
    CAPTURE(l);
    const MoeLayerStats& layer = stats.layers[l];
    CHECK(layer.assignments == kTopK * layer.tokens);
    // Every step has all its tokens; over many, the middle ranks have an eighth each as recorded.
    const double* const load = stats.expert_load.data() + l * kExperts;
    CHECK(std::accumulate(load, load + kExperts, 0.0) == doctest::Approx(layer.assignments));
    for (std::size_t rank = 1; rank < 3; ++rank)
      CHECK((load[2 * rank] + load[2 * rank + 1]) / layer.assignments ==
            doctest::Approx(4.0 / 32).epsilon(0.1));
  }
}

TEST_CASE("a recording has no next choices: they are refused where they are asked for") {
  const Folder folder;
  const std::string own = folder.write("t.mrt", write_mrt(two_domains(kLayers, kExperts)));
  const std::string other = folder.write("e.mrt", write_mrt(two_domains(kLayers, 16)));
  const std::string next = ", capacity_factor: 1.25, overflow: next_choice";
  for (const std::string& kind :
       {"kind: trace, path: " + own,
        "kind: hot_expert, fraction: 0.1, base: {kind: trace, path: " + own + "}"}) {
    CAPTURE(kind);
    std::string what;
    try {
      static_cast<void>(scenario_of(kApart, spread(kind + next)));
    } catch (const InputError& error) {
      what = error.what();
    }
    CHECK(what.find("law.yaml:") == 0);
    CHECK(what.find("routing.overflow: the recording has a token's 2 experts") !=
          std::string::npos);
  }
  // Tokens of a generator fitted to one have logits of all experts.
  CHECK_NOTHROW(static_cast<void>(
      scenario_of(kApart, spread("kind: trace, adapt: experts, path: " + other + next))));
}
