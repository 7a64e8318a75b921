#include "sim/placement_study.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <memory>
#include <optional>
#include <utility>

#include "hardware/topology.h"
#include "models/eplb.h"
#include "scenarios/expert_routing.h"
#include "scenarios/workload.h"
#include "sim/base/check.h"
#include "sim/base/diagnostic.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"
#include "sim/build.h"
#include "sim/report/metrics.h"
#include "sim/report/report.h"
#include "sim/steptime/expert_setup.h"
#include "sim/steptime/routing_tables.h"

namespace moesim {
namespace {

using Loads = std::vector<double>;  // [layer][expert]

std::unique_ptr<ExpertRouting> make_routing(const Scenario& scenario) {
  const Policy& policy = scenario.routing.policy;
  const Document params =
      Document::parse(policy.params.empty() ? "{}" : policy.params, policy.where.file);
  Diagnostics diagnostics;
  Reader reader(params, diagnostics);
  auto routing = Registry<ExpertRouting>::find(policy.name)->make(reader);
  diagnostics.throw_if_any();
  return routing;
}

/// What placements are planned on, and what they meet afterwards.
struct Windows {
  Loads plan, judge;
};
Windows windows_of(const Scenario& scenario) {
  const RoutingShape shape = routing_shape(scenario.model);
  const std::unique_ptr<ExpertRouting> routing = make_routing(scenario);
  const std::uint64_t seed = scenario.routing.seed.value_or(scenario.seed);
  constexpr int kPrompt = 512, kOutput = 256;
  const TableSize size = table_size(shape, kPrompt, kOutput);
  const RoutingTable now = routing->table(shape, size, seed, 0);
  now.check_all_rows();
  const std::size_t all = now.sequences.size();
  const RoutingReplay::Options replay = routing->replay(seed);
  const auto shares = [&](const RoutingTable& table, std::size_t mix) {
    return RoutingReplay(table, replay).sequence_shares(mix);
  };
  if (std::isfinite(routing->epoch_s())) {
    const RoutingTable later = routing->table(shape, size, seed, 1);
    return {sequence_loads(now, 0, all, shares(now, 0)),
            sequence_loads(later, 0, later.sequences.size(), shares(later, 0))};
  }
  // Domains come and go: planned on the first mix, judged on the last.
  const std::vector<double> first = shares(now, 0);
  if (replay.domain_mix.size() > 1)
    return {sequence_loads(now, 0, all, first),
            sequence_loads(now, 0, all, shares(now, replay.domain_mix.size() - 1))};
  std::vector<std::size_t> used;
  for (std::size_t s = 0; s < all; ++s) {
    if (first[s] > 0) used.push_back(s);
  }
  const std::size_t half = used[used.size() / 2];
  return {sequence_loads(now, 0, used.size() > 1 ? half : all, first),
          sequence_loads(now, used.size() > 1 ? half : 0, all, first)};
}

struct Imbalance {
  double mean = 1, worst = 1;
};
Imbalance imbalance_of(const ExpertPlacement& placement, const Loads& loads) {
  Imbalance out{0, 1};
  const auto experts = static_cast<std::size_t>(placement.experts);
  for (int l = 0; l < placement.layers; ++l) {
    const auto layer =
        std::span<const double>(loads).subspan(static_cast<std::size_t>(l) * experts, experts);
    double sum = 0, most = 0;
    for (const double load : rank_loads(placement, l, layer)) {
      sum += load;
      most = std::max(most, load);
    }
    const double ratio = sum > 0 ? most * placement.ranks / sum : 1;
    out.mean += ratio / placement.layers;
    out.worst = std::max(out.worst, ratio);
  }
  return out;
}

/// The scenario with so many redundant experts and nothing that moves them.
Scenario fixed_scenario(const Scenario& scenario, int redundant) {
  Scenario fixed = scenario;
  fixed.placement = {};
  for (InstanceSpec& entry : fixed.instances) {
    if (entry.parallel.expert_parallel) entry.parallel.redundant_experts = redundant;
  }
  return fixed;
}

double mean_step_ms(const RunResult& result) {
  double sum = 0, steps = 0;
  for (const PhaseBreakdown& phase : result.breakdown) {
    steps += static_cast<double>(phase.steps);
    sum += static_cast<double>(phase.steps) * (phase.step_time_ms + phase.cpu_gap_ms);
  }
  return steps > 0 ? sum / steps : 0;
}

/// Whether requests come at times of their own: follow-ups and those of closed loops wait for
/// answers.
bool is_open_loop(const Workload& workload) {
  if (workload.closed_loop) return false;
  std::optional<std::int64_t> first;
  for (std::size_t row = 0; row < workload.size(); ++row) {
    if (!workload.predecessor.empty() && workload.predecessor[row] != kNoRequest) continue;
    if (!first) first = workload.arrival_ns[row];
    if (workload.arrival_ns[row] != *first) return true;
  }
  return false;
}

/// Runs these requests of the scenario with experts placed so.
void simulate(const Scenario& scenario, const Workload& requests, PlacementCandidate& candidate) {
  const Scenario fixed = fixed_scenario(scenario, candidate.redundant);
  Deployment deployment = lay_out(fixed);
  const InstanceInfo& info = deployment.instances.front();
  candidate.replica_bytes =
      static_cast<double>(info.memory.gpus.front().weights.redundant_experts.value());
  candidate.kv_tokens = info.memory.num_kv_tokens;
  if (!info.memory.feasible) {
    candidate.infeasible = "the weights do not fit";
    return;
  }
  RunOptions options;
  options.placement = &candidate.placement;
  options.workload = &requests;
  World world(fixed, std::move(deployment), options);
  Metrics metrics(world.instance_count(), fixed, world.workload());
  world.run(&metrics);
  const RunResult result = make_result(world.view(), metrics, {});
  const SummarySection& summary = result.summary;
  candidate.output_throughput = summary.output_throughput.value_or(0);
  if (summary.duration > 0)
    candidate.input_throughput = static_cast<double>(summary.total_input_tokens) / summary.duration;
  candidate.step_ms = mean_step_ms(result);
  if (result.latency.time_per_output_token)
    candidate.mean_tpot_ms = result.latency.time_per_output_token->mean;
  if (result.latency.time_to_first_token)
    candidate.mean_ttft_ms = result.latency.time_to_first_token->mean;
  candidate.keeps_up = is_open_loop(requests) && result.saturation.verdict == Verdict::kStable;
  if (!result.moe) return;
  candidate.step_imbalance = result.moe->mean_rank_imbalance();
  double intra = 0, inter = 0;
  for (const MoeLayerReport& layer : result.moe->layers) {
    intra += layer.a2a_bytes_intra;
    inter += layer.a2a_bytes_inter;
  }
  double tokens = 0;
  if (!result.moe->layers.empty())
    tokens = result.moe->layers.front().tokens + result.moe->layers.front().padded_tokens;
  if (tokens > 0) candidate.sent_per_token = (intra + inter) / tokens;
  if (intra + inter > 0) candidate.inter_share = inter / (intra + inter);
}

std::vector<int> redundancies(const Scenario& scenario, const std::vector<int>& asked, int experts,
                              int ranks) {
  std::vector<int> list = asked;
  if (list.empty()) {
    const int fill = (ranks - experts % ranks) % ranks;  // slots must divide over ranks
    list = {fill, fill + ranks};
    if (scenario.placement.num_redundant_experts > 0)
      list.push_back(scenario.placement.num_redundant_experts);
  }
  std::ranges::sort(list);
  list.erase(std::unique(list.begin(), list.end()), list.end());
  for (const int redundant : list) {
    const int over = (experts + redundant) % ranks, more = redundant + ranks - over;
    if (over == 0) continue;
    throw InputError(
        {{{"--redundant-experts", 0, 0},
          "",
          fmt::format("{} + {} experts do not divide over {} ranks", experts, redundant, ranks),
          over <= redundant ? fmt::format("write {} or {}", redundant - over, more)
                            : fmt::format("write {}", more)}});
  }
  return list;
}

/// Throws where there is nothing to place, and says why.
void check_placeable(const Scenario& scenario) {
  const InstanceSpec& entry = scenario.instances.front();
  const auto fail = [&](const char* problem, const char* hint) {
    throw_input_error({entry.where, "deployment.instances.0",
                       fmt::format("{}: there is nothing to place", problem), hint});
  };
  if (!scenario.model.is_moe()) fail("the model has no experts", "name a model that has");
  if (entry.parallel.moe_group() == 1)
    fail("one GPU has all experts of its layers",
         "raise tensor_parallel_size or data_parallel_size, with engine.enable_expert_parallel on");
  if (!entry.parallel.expert_parallel)
    fail("its experts are cut over all ranks", "turn engine.enable_expert_parallel on");
}

/// The two that the verdict compares, with all requests there at once.
void simulate_saturated(const Scenario& scenario, Workload at_once, PlacementStudy& study) {
  // Domains that change with the time of arrival would all be those of the beginning.
  if (!study.open_loop || scenario.routing.mix_schedule || !study.fixed || !study.eplb) return;
  std::ranges::fill(at_once.arrival_ns, 0);
  Scenario timeless = scenario;
  timeless.workload.warmup_s = 0;
  for (const std::size_t i : {*study.fixed, *study.eplb}) {
    PlacementCandidate trial = study.candidates[i];
    simulate(timeless, at_once, trial);
    study.candidates[i].saturated_throughput =
        study.prefill ? trial.input_throughput : trial.output_throughput;
  }
}

}  // namespace

PlacementStudy study_placements(const Scenario& scenario, const std::vector<int>& redundant) {
  check_placeable(scenario);
  const InstanceSpec& entry = scenario.instances.front();
  const Parallel& parallel = entry.parallel;
  const RoutingShape shape = routing_shape(scenario.model);
  PlacementStudy study;
  study.scenario = scenario.name;
  study.model = scenario.model.id;
  study.routing = scenario.routing.policy.name;
  study.from_trace = study.routing == "trace";
  study.prefill = entry.role == Role::kPrefill;
  study.layers = shape.layers;
  study.experts = shape.experts;
  study.ranks = parallel.moe_ep();
  const Topology topology(scenario.cluster);
  const Deployment deployment = lay_out(scenario);
  const StageParts parts = stage_parts(scenario.model, parallel, deployment.instances.front().gpus);
  const std::vector<int> nodes = nodes_of(topology, parts.gpus.front());
  study.nodes = *std::ranges::max_element(nodes) + 1;

  const Windows windows = windows_of(scenario);
  PlacementInput input{.layers = shape.layers,
                       .experts = shape.experts,
                       .ranks = study.ranks,
                       .nodes = study.nodes,
                       .groups = shape.groups};
  const auto add = [&](const std::string& name, int copies, ExpertPlacement placement) {
    PlacementCandidate candidate;
    candidate.name = name;
    candidate.redundant = copies;
    candidate.placement = std::move(placement);
    candidate.planned = imbalance_of(candidate.placement, windows.plan).mean;
    const Imbalance judged = imbalance_of(candidate.placement, windows.judge);
    candidate.judged = judged.mean;
    candidate.worst_layer = judged.worst;
    study.candidates.push_back(std::move(candidate));
  };
  // Fewer experts than ranks: no rank is without one.
  const int fill = std::max(0, study.ranks - shape.experts);
  input.redundant = fill;
  add("linear", fill, linear_placement(input));
  input.redundant = 0;
  if (shape.groups > 1 && fill == 0)
    add("round_robin", 0, make_placement({.name = "round_robin"})->place(input));
  const auto note_moves = [&](const ExpertPlacement& start) {
    PlacementCandidate& moved = study.candidates.back();
    const RebalanceCost cost =
        rebalance_cost(scenario, parallel, topology, parts, start, moved.placement);
    moved.moved_bytes = cost.bytes;
    moved.move_ms = cost.ns * 1e-6;
  };
  if (scenario.placement.name == "file") {
    ExpertPlacement own = make_placement(scenario.placement)->place(input);
    input.redundant = own.slots - own.experts;
    add("file", input.redundant, std::move(own));
    note_moves(linear_placement(input));
  }
  for (const int copies : redundancies(scenario, redundant, shape.experts, study.ranks)) {
    input.redundant = copies;
    input.loads = windows.plan;
    const ExpertPlacement start = linear_placement(input);
    add("eplb", copies, keep_slots(start, balanced_placement(input)));
    note_moves(start);
  }
  const Workload requests = make_workload(scenario.workload, scenario.seed);
  study.open_loop = is_open_loop(requests);
  for (PlacementCandidate& candidate : study.candidates) simulate(scenario, requests, candidate);
  choose(study);
  simulate_saturated(scenario, requests, study);
  judge(study, scenario.placement.step_interval);
  return study;
}

}  // namespace moesim
