// The engine's exact tier against the plain reference: every step of random small instances, and
// what the report then says of them.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <doctest/doctest.h>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "reference/effort.h"
#include "sim/report/metrics.h"
#include "sim/report/report.h"
#include "tests/laws/law_support.h"
#include "tests/reference/expert_world.h"
#include "tests/sim/report/report_support.h"

using namespace moesim;
using namespace moesim::laws;
using namespace moesim::reference;

namespace {

std::uint64_t environment(const char* name, std::uint64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

/// Prices by the engine, has the reference price the same, and keeps what that says.
class Compared final : public StepPricer {
 public:
  Compared(ExpertWorld& world, bool equal) : world_(&world), equal_(equal) {}
  void price(const StepWork& work, StepCost& cost) override { price_ranks({&work, 1}, cost); }
  void price_ranks(std::span<const StepWork> ranks, StepCost& cost) override {
    world_->engine().price_ranks(ranks, cost);
    steps.push_back(world_->plain().step(ranks));
    const PlainStep& plain = steps.back();
    CHECK(cost.graph == plain.graph);
    CHECK(cost.padded_tokens == plain.padded_tokens);
    REQUIRE(cost.stage_ns.size() == plain.stage_ns.size());
    double engine = 0, reference = 0;
    for (std::size_t s = 0; s < cost.stage_ns.size(); ++s) {
      if (equal_) CHECK(cost.stage_ns[s] == doctest::Approx(plain.stage_ns[s]).epsilon(1e-9));
      engine += cost.stage_ns[s];
      reference += plain.stage_ns[s];
    }
    totals.emplace_back(engine, reference);
  }
  [[nodiscard]] int stages() const override { return world_->engine().stages(); }
  [[nodiscard]] bool wants_tokens(std::uint64_t /*step*/) const override { return true; }

  std::vector<PlainStep> steps;
  std::vector<std::pair<double, double>> totals;  ///< of each step: engine, reference

 private:
  ExpertWorld* world_;
  bool equal_;  ///< both must take the same time
};

/// A random instance run to its end, with its report.
struct Run {
  /// `spread`: the reference spreads work that is not attention over layers, as the engine does.
  explicit Run(std::uint64_t seed, bool spread = true) {
    ClusterLoad load = random_load(seed, {.refused = false, .sessions = false});
    Limits& limits = load.cluster.limits;
    Simulation::Options options;
    options.max_model_len = limits.max_model_len;
    simulation = std::make_unique<Simulation>(std::move(load.workload),
                                              made<RequestRouter>("round_robin"), options);
    ExpertPlan plan = random_plan(seed, load.cluster.groups, limits.pipeline_stages);
    plan.workload = &simulation->workload();
    world = std::make_unique<ExpertWorld>(plan, spread);
    pricer = std::make_unique<Compared>(*world, spread);
    Instance::Config config = load.cluster.config(0);
    config.ranks = plan.parallel.dp;
    config.rules.balance = static_cast<RankBalance>(seed % 3);
    std::vector<std::unique_ptr<Scheduler>> schedulers;
    for (int rank = 0; rank < config.ranks; ++rank)
      schedulers.push_back(made<Scheduler>("vllm_v1"));
    simulation->add(std::make_unique<Instance>(config, simulation->workload(), simulation->table(),
                                               std::move(schedulers), *pricer));
    Metrics metrics(1, 0, 0);
    simulation->run(&metrics);
    make_report(metrics);
  }

  void make_report(const Metrics& metrics) {
    HandMadeRun parts;
    parts.scenario.model = world->plan().model;
    parts.scenario.placement.name = "file";
    parts.scenario.routing.policy.name = "drawn";
    parts.workload = simulation->workload();
    parts.requests = simulation->table();
    parts.totals = {simulation->instances().front()->totals()};
    parts.end_time = simulation->end_time();
    RunView view = parts.view();
    view.moe = {{0, world->engine().moe_stats(), world->engine().placement()}};
    report = make_result(view, metrics, {1, 1});
  }

  std::unique_ptr<Simulation> simulation;
  std::unique_ptr<ExpertWorld> world;
  std::unique_ptr<Compared> pricer;
  RunResult report;
};

double most_over_mean(const std::vector<double>& loads) {
  double sum = 0, most = 0;
  for (const double load : loads) {
    sum += load;
    most = std::max(most, load);
  }
  return sum > 0 ? most * static_cast<double>(loads.size()) / sum : 1;
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

/// One MoE layer over all steps, as the reference saw it, by the names of glossary 7.
struct PlainLayerReport {
  double tokens = 0, padded = 0, assignments = 0, bytes_intra = 0, bytes_inter = 0;
  std::vector<double> active, rank_imbalance, expert_imbalance, load;
};

PlainLayerReport plain_report(const std::vector<PlainStep>& steps, int layer, int top_k) {
  PlainLayerReport out;
  for (const PlainStep& step : steps) {
    const PlainLayer& one = step.layers[static_cast<std::size_t>(layer)];
    out.tokens += step.tokens;
    out.padded += step.padded_tokens - step.tokens;
    out.assignments += static_cast<double>(step.tokens) * top_k;
    out.active.push_back(mean(one.rank_active));
    out.rank_imbalance.push_back(one.rank_active.size() > 1 ? most_over_mean(one.rank_load) : 1);
    out.expert_imbalance.push_back(most_over_mean(one.counts));
    const PlainMessages& sent = one.messages;
    out.bytes_intra += sent.dispatch_intra + sent.combine_intra;
    out.bytes_inter += sent.dispatch_inter + sent.combine_inter;
    out.load.resize(one.counts.size());
    for (std::size_t e = 0; e < one.counts.size(); ++e) out.load[e] += one.real_counts[e];
  }
  return out;
}

/// The 99th percentile as NumPy has it.
double p99(std::vector<double> values) {
  std::ranges::sort(values);
  const double at = 0.99 * (static_cast<double>(values.size()) - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
}

/// Six digits are printed; statistics are kept in single precision.
void check_number(const nlohmann::json& section, const char* name, double plain,
                  double within = 1e-5) {
  CAPTURE(std::string(name));
  REQUIRE(section.contains(name));
  CHECK(section[name].get<double>() == doctest::Approx(plain).epsilon(within));
}

/// What is zero in all layers is absent from the report.
void check_bytes(const nlohmann::json& section, const char* name, double plain) {
  if (plain > 0) {
    check_number(section, name, plain);
  } else {
    CHECK(section.value(name, 0.0) == 0);
  }
}

void check_layers(const nlohmann::json& moe, const Run& run) {
  const ModelSpec& model = run.world->plan().model;
  const int top_k = routing_shape(model).top_k;
  std::size_t at = 0;
  for (int l = 0; l < model.num_layers(); ++l) {
    if (!model.layers[static_cast<std::size_t>(l)].moe) continue;
    const nlohmann::json& layer = moe["layers"][at];
    const PlainLayerReport plain = plain_report(run.pricer->steps, l, top_k);
    check_number(layer, "layer", l);
    check_number(layer, "tokens", plain.tokens);
    check_number(layer, "padded_tokens", plain.padded);
    check_number(layer, "assignments", plain.assignments);
    check_number(layer, "active_experts_mean", mean(plain.active));
    check_number(layer, "rank_imbalance_mean", mean(plain.rank_imbalance));
    check_number(layer, "rank_imbalance_p99", p99(plain.rank_imbalance), 2e-3);
    check_number(layer, "expert_imbalance_mean", mean(plain.expert_imbalance));
    CHECK(!layer.contains("dropped_ratio"));
    check_bytes(layer, "a2a_bytes_intra", plain.bytes_intra);
    check_bytes(layer, "a2a_bytes_inter", plain.bytes_inter);
    const double fair = plain.assignments / static_cast<double>(plain.load.size());
    for (std::size_t e = 0; e < plain.load.size(); ++e) {
      CHECK(moe["expert_load_ratio"][at][e].get<double>() ==
            doctest::Approx(plain.load[e] / fair).epsilon(6e-3));
    }
    ++at;
  }
  CHECK(moe["layers"].size() == at);
}

void check_communication(const nlohmann::json& report, const Run& run) {
  double intra = 0, inter = 0, dispatch = 0, combine = 0, all = 0;
  for (const PlainStep& step : run.pricer->steps) {
    for (const double ns : step.stage_ns) all += ns;
    for (const PlainLayer& layer : step.layers) {
      const PlainMessages& sent = layer.messages;
      intra += sent.dispatch_intra + sent.combine_intra;
      inter += sent.dispatch_inter + sent.combine_inter;
      dispatch += sent.dispatch_ns;
      combine += sent.combine_ns;
    }
  }
  if (run.world->plan().parallel.dp == 1) {
    CHECK(!report["communication"].contains("a2a_bytes_intra"));
    return;
  }
  const nlohmann::json& section = report["communication"];
  check_bytes(section, "a2a_bytes_intra", intra);
  check_bytes(section, "a2a_bytes_inter", inter);
  // A step's time counts what its stages wait for one another, which the reference does not know.
  if (run.world->plan().parallel.pp > 1) return;
  check_number(section["time_share_ratio"], "dispatch", dispatch / all);
  check_number(section["time_share_ratio"], "combine", combine / all);
}

/// Terms of the breakdown, summed over phases and steps.
void check_breakdown(const Run& run) {
  TermTimes told{}, plain{};
  double told_all = 0, plain_all = 0;
  for (const PhaseBreakdown& phase : run.report.breakdown) {
    for (std::size_t t = 0; t < told.size(); ++t)
      told[t] += phase.term_ms[t] * 1e6 * static_cast<double>(phase.steps);
  }
  for (const PlainStep& step : run.pricer->steps) {
    plain[static_cast<std::size_t>(Term::kLaunchOverhead)] += step.launch_ns;
    for (const double ns : step.stage_ns) plain_all += ns;
    for (const PlainLayer& layer : step.layers) {
      plain[static_cast<std::size_t>(Term::kDispatch)] += layer.messages.dispatch_ns;
      plain[static_cast<std::size_t>(Term::kCombine)] += layer.messages.combine_ns;
      plain[static_cast<std::size_t>(Term::kExpertGemm)] += layer.mean_experts_ns;
      plain[static_cast<std::size_t>(Term::kExposedWait)] +=
          layer.attention_ns - layer.mean_attention_ns + layer.experts_ns - layer.mean_experts_ns;
    }
  }
  for (const double ns : told) told_all += ns;
  // Six digits of the step time are printed.
  CHECK(told_all == doctest::Approx(plain_all).epsilon(2e-5));
  for (const Term term : {Term::kLaunchOverhead, Term::kDispatch, Term::kCombine, Term::kExpertGemm,
                          Term::kExposedWait}) {
    CAPTURE(std::string(term_name(term)));
    const auto t = static_cast<std::size_t>(term);
    CHECK(std::abs(told[t] - plain[t]) < 2e-5 * plain_all);
  }
}

/// Who was waited for in most layers of steps; nobody where all ranks were always equally fast.
void check_straggler(const nlohmann::json& moe, const Run& run) {
  const int parts = run.world->plan().parallel.moe_ep();
  if (parts == 1) {
    CHECK(!moe.contains("straggler"));
    return;
  }
  std::vector<double> times(static_cast<std::size_t>(parts), 0.0);
  double all = 0;
  for (const PlainStep& step : run.pricer->steps) {
    for (const PlainLayer& layer : step.layers) {
      constexpr double kRounding = 1e-9;
      if (!layer.moe) continue;
      all += 1;
      if (layer.experts_ns > layer.mean_experts_ns * (1 + kRounding))
        times[static_cast<std::size_t>(layer.straggler)] += 1;
    }
  }
  const auto worst = std::ranges::max_element(times);
  if (*worst == 0) {
    CHECK(!moe.contains("straggler"));
    return;
  }
  check_number(moe["straggler"], "rank", static_cast<double>(worst - times.begin()));
  check_number(moe["straggler"], "share_ratio", *worst / all);
}

}  // namespace

// MOESIM_SEEDS sets how many instances, MOESIM_FIRST_SEED where to begin.
TEST_CASE("steps and report of an instance are what the plain reference says, layer by layer") {
  const std::uint64_t first = environment("MOESIM_FIRST_SEED", 1);
  const std::uint64_t seeds = environment("MOESIM_SEEDS", some_of(150));
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    CAPTURE(seed);
    const Run run(seed);
    CAPTURE(run.world->plan().backend);
    const nlohmann::json report = nlohmann::json::parse(json_of(run.report));
    REQUIRE(report.contains("moe"));
    CHECK(report["moe"]["fidelity"] == "exact");
    check_layers(report["moe"], run);
    check_communication(report, run);
    check_straggler(report["moe"], run);
    if (run.world->plan().parallel.pp == 1) check_breakdown(run);
  }
}

// The engine spreads work that is not attention evenly over a stage's layers. Where layers differ
// and ranks hold unequal numbers of tokens, each layer's own slowest rank may be another: the
// reference with every layer's own work says how much that is.
TEST_CASE("work spread evenly over layers: within 1 % of each layer's own") {
  int steps = 0, same = 0;
  double worst = 0, engine = 0, own = 0;
  for (std::uint64_t seed = 1; seed <= some_of(150); ++seed) {
    CAPTURE(seed);
    const Run run(seed, false);
    for (const auto& [told, plain] : run.pricer->totals) {
      const double off = std::abs(told / plain - 1);
      ++steps;
      same += off < 1e-9 ? 1 : 0;
      worst = std::max(worst, off);
      engine += told;
      own += plain;
    }
  }
  CHECK(worst < 0.01);
  CHECK(same > 0.9 * steps);
  CHECK(engine / own == doctest::Approx(1).epsilon(1e-4));
}
