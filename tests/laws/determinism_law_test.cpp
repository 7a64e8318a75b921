// Same inputs, same results, to the bit - and what must not matter does not: who watches, in which
// order instances are evaluated, what comes later, which policy draws random numbers elsewhere.
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "sim/moesim.h"
#include "tests/laws/law_support.h"

using namespace moesim;
using namespace moesim::laws;

namespace {

constexpr std::uint64_t kLoads = 250;

const std::string kChat =
    "arrival: {kind: poisson, request_rate: 30}, synthetic: {num_prompts: 150, "
    "input_tokens: {lognormal: {mean: 300, p99: 2000}}, output_tokens: {uniform: [1, 80]}}";
const std::string kSessions =
    "arrival: {kind: gamma, request_rate: 8, burstiness: 0.3}, synthetic: {num_prompts: 120, "
    "input_tokens: {uniform: [20, 200]}, output_tokens: {uniform: [1, 60]}, "
    "shared_prefix_tokens: 100, turns: 3, think_time_s: {uniform: [0, 0.4]}}";

std::string instances(int count, const std::string& router) {
  return "deployment: {instances: [{tensor_parallel_size: 2, count: " + std::to_string(count) +
         "}], request_router: " + router + "}\n";
}

/// The report without what may differ between runs.
std::string report(const Scenario& scenario) {
  World world = build(scenario);
  std::ostringstream out;
  write_json(simulate(world), out);
  nlohmann::json json = nlohmann::json::parse(out.str());
  json.erase("simulator");
  return json.dump(1);
}

std::uint64_t digest(const Scenario& scenario, const RunOptions& options = {}) {
  World world = build(scenario, options);
  world.run(nullptr);
  return world.view().digest;
}

/// What happened to request `row`, in words.
std::string fate(const RequestTable& table, std::size_t row) {
  std::ostringstream out;
  out << table.arrival[row] << " " << table.first_scheduled[row] << " " << table.first_token[row]
      << " " << table.second_token[row] << " " << table.finish[row] << " cached "
      << table.cached_tokens[row] << " preempted " << table.preemptions[row] << " on "
      << table.instance[row];
  return out.str();
}

std::string fates(const RequestTable& table) {
  std::string all;
  for (std::size_t r = 0; r < table.size(); ++r) all += fate(table, r) + "\n";
  return all;
}

/// Drops the rows from `rows` on.
Workload first_rows(Workload workload, std::size_t rows) {
  workload.arrival_ns.resize(rows);
  workload.prompt_tokens.resize(rows);
  workload.output_tokens.resize(rows);
  if (!workload.priority.empty()) workload.priority.resize(rows);
  if (!workload.chain_begin.empty()) workload.chain_begin.resize(rows + 1);
  return workload;
}

}  // namespace

TEST_CASE("the same scenario gives the same report, whatever ran before") {
  for (const std::string& workload : {kChat, kSessions}) {
    for (const std::string& router : Registry<RequestRouter>::names()) {
      CAPTURE(workload);
      CAPTURE(router);
      const Scenario scenario = scenario_of(workload, instances(3, router));
      const std::string first = report(scenario);
      (void)report(scenario_of(kChat, instances(1, "round_robin")));
      CHECK(report(scenario) == first);
    }
  }
}

TEST_CASE("watching and checking a run do not change it") {
  for (const std::string& workload : {kChat, kSessions}) {
    CAPTURE(workload);
    const Scenario scenario = scenario_of(workload, instances(3, "power_of_two"));
    const std::uint64_t unobserved = digest(scenario);
    CHECK(digest(scenario, {.check = true}) == unobserved);
    World world = build(scenario);
    CHECK(simulate(world).digest == unobserved);
  }
}

TEST_CASE("another seed is another run") {
  CHECK(digest(scenario_of(kChat)) != digest(scenario_of(kChat, "", {{"seed", "2"}})));
}

TEST_CASE("a choice draws from its own stream, and shifts no other") {
  struct Case {
    std::string why;
    std::string path, value;
    bool arrivals, prompts, outputs;  ///< stay as they are
  };
  const Case cases[] = {
      {"a router that draws random numbers", "deployment.request_router", "power_of_two", true,
       true, true},
      {"other outputs", "workload.synthetic.output_tokens", "{lognormal: {mean: 50, p99: 300}}",
       true, true, false},
      {"other prompts", "workload.synthetic.input_tokens", "{uniform: [1, 9]}", true, false, true},
      {"other arrivals", "workload.arrival.kind", "constant", false, true, true},
      {"another seed changes all", "seed", "2", false, false, false},
  };
  const auto workload_of = [](const std::vector<Override>& overrides) {
    const Scenario scenario = scenario_of(kChat, instances(3, "round_robin"), overrides);
    return make_workload(scenario.workload, scenario.seed);
  };
  const Workload base = workload_of({});
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const Workload changed = workload_of({{c.path, c.value}});
    CHECK((changed.arrival_ns == base.arrival_ns) == c.arrivals);
    CHECK((changed.prompt_tokens == base.prompt_tokens) == c.prompts);
    CHECK((changed.output_tokens == base.output_tokens) == c.outputs);
  }
}

TEST_CASE("more requests do not change those before them") {
  const auto workload_of = [](int count) {
    const Scenario scenario =
        scenario_of(kChat, "", {{"workload.synthetic.num_prompts", std::to_string(count)}});
    return make_workload(scenario.workload, scenario.seed);
  };
  const Workload few = workload_of(40);
  const Workload many = first_rows(workload_of(150), 40);
  CHECK(few.arrival_ns == many.arrival_ns);
  CHECK(few.prompt_tokens == many.prompt_tokens);
  CHECK(few.output_tokens == many.output_tokens);
}

TEST_CASE("what comes later cannot be felt earlier") {
  int compared = 0;
  for (std::uint64_t seed = 1; seed <= kLoads; ++seed) {
    CAPTURE(seed);
    const ClusterLoad load = random_load(seed, {.sessions = false, .cap = false});
    const std::size_t keep = load.workload.size() / 2;
    const SimTime cut = load.workload.arrival_ns[keep];
    const SmallRun all(load.cluster, load.workload);
    const SmallRun prefix(load.cluster, first_rows(load.workload, keep));
    for (std::size_t r = 0; r < keep; ++r) {
      CHECK(prefix.table().instance[r] == all.table().instance[r]);
      if (all.table().finish[r] >= cut) continue;
      CHECK(fate(prefix.table(), r) == fate(all.table(), r));
      ++compared;
    }
  }
  CHECK(compared > 500);
}

TEST_CASE("a horizon cuts a run off and changes nothing before it") {
  int compared = 0;
  for (std::uint64_t seed = 1; seed <= kLoads; ++seed) {
    CAPTURE(seed);
    ClusterLoad load = random_load(seed);
    const SmallRun all(load.cluster, load.workload);
    load.cluster.options.horizon = all.simulation().end_time() / 2;
    const SmallRun cut(load.cluster, load.workload);
    for (std::size_t r = 0; r < all.table().size(); ++r) {
      if (all.table().finish[r] >= load.cluster.options.horizon) {
        CHECK(cut.table().finish[r] == kNever);
        continue;
      }
      CHECK(fate(cut.table(), r) == fate(all.table(), r));
      ++compared;
    }
  }
  CHECK(compared > 500);
}

TEST_CASE("instances run apart do what they do on one clock") {
  for (std::uint64_t seed = 1; seed <= kLoads; ++seed) {
    CAPTURE(seed);
    ClusterLoad load = random_load(seed, {.sessions = false, .cap = false});
    load.cluster.router = "round_robin";
    const SmallRun apart(load.cluster, load.workload);
    load.workload.max_concurrency = 1'000'000;  // couples them, and never binds
    const SmallRun together(load.cluster, load.workload);
    CHECK(fates(together.table()) == fates(apart.table()));
    CHECK(together.simulation().digest() == apart.simulation().digest());
    for (std::size_t i = 0; i < apart.simulation().instances().size(); ++i) {
      const InstanceTotals a = apart.instance(i).totals();
      const InstanceTotals b = together.instance(i).totals();
      CHECK(a.steps == b.steps);
      CHECK(a.step_ns == b.step_ns);
      CHECK(a.gap_ns == b.gap_ns);
      CHECK(a.blocks_taken == b.blocks_taken);
      CHECK(a.kv_blocks_peak == b.kv_blocks_peak);
    }
  }
}

TEST_CASE("whole runs, too: a cap that never binds changes no figure of the report") {
  // The cap itself is in the scenario and the workload's description; the figures must not move.
  const Scenario apart = scenario_of(kChat, instances(4, "round_robin"));
  const Scenario together = scenario_of(kChat, instances(4, "round_robin"),
                                        {{"workload.arrival.max_concurrency", "100000"}});
  const nlohmann::json a = nlohmann::json::parse(report(apart));
  const nlohmann::json b = nlohmann::json::parse(report(together));
  for (const char* section :
       {"digest", "summary", "latency", "utilization", "breakdown", "saturation"}) {
    CAPTURE(section);
    REQUIRE(a.contains(section));
    CHECK(a.at(section) == b.at(section));
  }
}

TEST_CASE("an instance does not feel the others but for the requests it is sent") {
  for (std::uint64_t seed = 1; seed <= kLoads; ++seed) {
    CAPTURE(seed);
    const ClusterLoad load =
        random_load(seed, {.refused = false, .sessions = false, .cap = false, .priority = false});
    const SmallRun all(load.cluster, load.workload);
    SmallCluster one = load.cluster;
    one.instances = 1;
    for (std::size_t i = 0; i < all.simulation().instances().size(); ++i) {
      std::vector<std::size_t> mine;
      Workload alone;
      if (!load.workload.chain.empty()) alone.chain_begin.push_back(0);
      for (std::size_t r = 0; r < load.workload.size(); ++r) {
        if (all.table().instance[r] != i) continue;
        mine.push_back(r);
        alone.arrival_ns.push_back(load.workload.arrival_ns[r]);
        alone.prompt_tokens.push_back(load.workload.prompt_tokens[r]);
        alone.output_tokens.push_back(load.workload.output_tokens[r]);
        if (load.workload.chain.empty()) continue;
        const auto chain = load.workload.chain.begin();
        alone.chain.insert(alone.chain.end(), chain + load.workload.chain_begin[r],
                           chain + load.workload.chain_begin[r + 1]);
        alone.chain_begin.push_back(static_cast<std::uint32_t>(alone.chain.size()));
      }
      alone.chain_ids = load.workload.chain_ids;
      const SmallRun run(one, alone);
      for (std::size_t k = 0; k < mine.size(); ++k) {
        CHECK(run.table().finish[k] == all.table().finish[mine[k]]);
        CHECK(run.table().cached_tokens[k] == all.table().cached_tokens[mine[k]]);
      }
      CHECK(run.instance(0).totals().steps == all.instance(i).totals().steps);
    }
  }
}
