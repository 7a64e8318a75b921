#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "hardware/dispatch.h"
#include "models/placement.h"
#include "models/sharding.h"
#include "scenarios/expert_routing.h"
#include "scenarios/scenario.h"
#include "sim/steptime/eplb_control.h"
#include "sim/steptime/expert_tier.h"

namespace moesim {

struct Workload;

/// Where the MoE group of one pipeline stage runs.
struct ExpertSite {
  const Topology& topology;
  const Collectives& collectives;
  std::vector<int> gpus;  ///< cluster numbers, in rank order: DP outermost, TP fastest
  KernelChoice kernels;
};

/// All ranks of a pipeline stage, DP outermost: those that share its experts. `gpus` are the
/// instance's, in rank order.
[[nodiscard]] std::vector<int> stage_group(const Parallel& parallel, const std::vector<int>& gpus,
                                           int stage);

/// GPUs that stand for the parts experts are spread over: all of the group, or with experts cut
/// `moe_tp` ways the first of each cut.
[[nodiscard]] std::vector<int> expert_parts(const Parallel& parallel, const std::vector<int>& gpus);

/// Node of every part, counted from 0 in order of appearance.
[[nodiscard]] std::vector<int> nodes_of(const Topology& topology, const std::vector<int>& gpus);

/// What carries tokens between the group's ranks; null without data parallelism, where every rank
/// has all tokens (serving-semantics 3.4).
[[nodiscard]] std::unique_ptr<DispatchBackend> make_group_dispatch(const ModelSpec& model,
                                                                   const Parallel& parallel,
                                                                   const std::string& backend,
                                                                   const ExpertSite& site);

/// Load of sequences first .. last - 1 of a table, [layer][expert], each as often as `shares` says
/// (RoutingReplay::sequence_shares); alike they count once.
[[nodiscard]] std::vector<double> sequence_loads(const RoutingTable& table, std::size_t first,
                                                 std::size_t last,
                                                 const std::vector<double>& shares);

/// Loads that eplb plans the first placement on, [layer][expert]: those of the
/// run's own routing, a table of `size` as the run's requests draw from it, or of a file; empty if
/// there is nothing to plan on. Throws InputError for a file that does not fit the model or rows of
/// a trace that are damaged.
[[nodiscard]] std::vector<double> first_loads(const Scenario& scenario,
                                              const ExpertRouting& routing, const TableSize& size,
                                              const Workload& requests);

/// Where experts lie when the run starts; `loads` as above. Throws InputError for a placement file
/// that does not fit the model.
[[nodiscard]] ExpertPlacement first_placement(const ModelSpec& model, const Parallel& parallel,
                                              const PlacementSpec& spec,
                                              const std::vector<int>& node_of_rank,
                                              std::span<const double> loads);

/// Why `routing.fidelity: rank_exact` cannot follow these experts and exact replay does it instead;
/// empty if it can. `placement` is the one the run starts with, `requests` are the run's.
[[nodiscard]] std::string rank_exact_obstacle(const Scenario& scenario, const Parallel& parallel,
                                              const ExpertPlacement& placement,
                                              const ExpertRouting& routing,
                                              const Workload& requests);

/// Where the experts of every pipeline stage lie.
struct StageParts {
  std::vector<std::vector<int>> gpus;  ///< [stage] as expert_parts
  std::vector<int> stage_of_layer;     ///< [MoE layer]
};
/// `gpus` are the instance's, in rank order.
[[nodiscard]] StageParts stage_parts(const ModelSpec& model, const Parallel& parallel,
                                     const std::vector<int>& gpus);

/// What it takes to turn one placement into another, weights moved over the cluster's links.
struct RebalanceCost {
  double bytes = 0;  ///< over all ranks and layers
  double ns = 0;     ///< layer after layer in the slowest stage, planning included
};
[[nodiscard]] RebalanceCost rebalance_cost(const Scenario& scenario, const Parallel& parallel,
                                           const Topology& topology, const StageParts& parts,
                                           const ExpertPlacement& before,
                                           const ExpertPlacement& after);

/// How the experts of an instance on `gpus` are reached where not all are resident: what
/// StepTime::Experts::tier wants. Links and CPUs are the datasheet's: `noise` moves the first with
/// collectives, the second with experts. Precondition: the scenario offloads experts.
[[nodiscard]] ExpertTier::Config tier_config(const Scenario& scenario, std::span<const int> gpus,
                                             const FamilyNoise& noise);

/// The balancer of a run, or null: experts do not move, or are cut. `topology` must
/// outlive it.
[[nodiscard]] std::unique_ptr<EplbControl> make_eplb(
    const Scenario& scenario, const Parallel& parallel, const Topology& topology,
    const StageParts& parts, const ExpertPlacement& first, const std::vector<int>& node_of_rank);

}  // namespace moesim
