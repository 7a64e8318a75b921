#include "sim/steptime/expert_setup.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "hardware/flows.h"
#include "scenarios/expert_tiers.h"
#include "scenarios/load_table.h"
#include "scenarios/routing_counts.h"
#include "scenarios/workload.h"
#include "sim/base/check.h"
#include "sim/steptime/rank_rows.h"

namespace moesim {
namespace {

constexpr double kHalf = 2;                // bytes of a 16-bit activation
constexpr double kBlockScale = 4.0 / 128;  // an fp32 scale per 128 channels

bool sends_half(const std::string& backend) {
  // The broadcasts move what the router saw; all others quantise block-scaled models first (3.4).
  return backend == "naive";
}

/// All moves of a layer at once, sharing the links they cross.
double move_ns(const Topology& topology, const std::vector<int>& parts,
               const std::vector<ExpertMove>& moves, double bytes) {
  std::vector<Transfer> transfers;
  transfers.reserve(moves.size());
  for (const ExpertMove& move : moves) {
    transfers.push_back({parts[static_cast<std::size_t>(move.from_rank)],
                         parts[static_cast<std::size_t>(move.to_rank)],
                         Bytes(std::llround(bytes))});
  }
  return transfer_time(topology, transfers).value() * 1e9;
}

}  // namespace

std::vector<int> stage_group(const Parallel& parallel, const std::vector<int>& gpus, int stage) {
  std::vector<int> group;
  for (int d = 0; d < parallel.dp; ++d) {
    for (int t = 0; t < parallel.tp; ++t) {
      const int rank = (d * parallel.pp + stage) * parallel.tp + t;
      group.push_back(gpus[static_cast<std::size_t>(rank)]);
    }
  }
  return group;
}

std::vector<int> expert_parts(const Parallel& parallel, const std::vector<int>& gpus) {
  std::vector<int> parts;
  for (std::size_t i = 0; i < gpus.size(); i += static_cast<std::size_t>(parallel.moe_tp))
    parts.push_back(gpus[i]);
  return parts;
}

std::vector<int> nodes_of(const Topology& topology, const std::vector<int>& gpus) {
  std::vector<int> nodes, known;
  for (const int gpu : gpus) {
    const int node = topology.node_of(gpu);
    const auto found = std::ranges::find(known, node);
    nodes.push_back(static_cast<int>(found - known.begin()));
    if (found == known.end()) known.push_back(node);
  }
  return nodes;
}

std::unique_ptr<DispatchBackend> make_group_dispatch(const ModelSpec& model,
                                                     const Parallel& parallel,
                                                     const std::string& backend,
                                                     const ExpertSite& site) {
  if (parallel.dp == 1 || !model.is_moe()) return nullptr;
  const RoutingShape shape = routing_shape(model);
  DispatchSetup setup;
  setup.topology = &site.topology;
  setup.collectives = &site.collectives;
  setup.gpus = parallel.expert_parallel ? expert_parts(parallel, site.gpus) : site.gpus;
  setup.tp = std::max(1, parallel.tp / parallel.moe_tp);
  setup.sequence_parallel = parallel.expert_parallel;
  setup.hidden = model.hidden;
  setup.top_k = shape.top_k;
  setup.experts = shape.experts + parallel.redundant_experts;
  const bool fp8 = model.precisions.experts == NumberFormat::kFp8Block && !sends_half(backend);
  setup.dispatch_token_bytes = model.hidden * (fp8 ? 1 + kBlockScale : kHalf);
  setup.combine_token_bytes = model.hidden * kHalf;
  // A group of experts lies inside a node, so the groups a token may use bound its nodes.
  const int nodes = site.topology.node_count(setup.gpus);
  if (shape.groups > 0 && shape.groups % nodes == 0 && shape.topk_groups < nodes)
    setup.node_limit = shape.topk_groups;
  setup.kernels = site.kernels;
  return make_dispatch(backend, setup);
}

std::vector<double> sequence_loads(const RoutingTable& table, std::size_t first, std::size_t last,
                                   const std::vector<double>& shares) {
  const RoutingShape& shape = table.shape();
  std::vector<double> loads(static_cast<std::size_t>(shape.layers) *
                            static_cast<std::size_t>(shape.experts));
  std::vector<std::uint32_t> counts(loads.size());
  for (std::size_t s = first; s < last; ++s) {
    std::ranges::fill(counts, 0U);
    count_run(table, table.sequences[s].first_row, table.sequences[s].rows, counts);
    const double times = shares[s] * static_cast<double>(shares.size());
    for (std::size_t i = 0; i < loads.size(); ++i) loads[i] += times * counts[i];
  }
  return loads;
}

std::vector<double> first_loads(const Scenario& scenario, const ExpertRouting& routing,
                                const TableSize& size, const Workload& requests) {
  const std::string& init = scenario.placement.init_expert_location;
  if (scenario.placement.name != "eplb" || init == "trivial") return {};
  const RoutingShape shape = routing_shape(scenario.model);
  std::vector<double> loads;
  if (init != "routing") {
    for (const std::vector<double>& layer : read_load_table(init, shape))
      loads.insert(loads.end(), layer.begin(), layer.end());
    return loads;
  }
  const std::uint64_t seed = scenario.routing.seed.value_or(scenario.seed);
  const RoutingTable table = routing.table(shape, size, seed, 0);
  table.check_all_rows();
  const RoutingReplay::Options options = routing.replay(seed);
  if (requests.size() > 0 && (!options.domain_mix.empty() || !requests.domain.empty())) {
    const RoutingReplay replay(table, options, &requests);
    return sequence_loads(table, 0, table.sequences.size(), replay.shares_of_run(requests.size()));
  }
  std::vector<std::uint32_t> counts(static_cast<std::size_t>(shape.layers) *
                                    static_cast<std::size_t>(shape.experts));
  count_run(table, 0, table.rows(), counts);
  loads.assign(counts.begin(), counts.end());
  return loads;
}

ExpertPlacement first_placement(const ModelSpec& model, const Parallel& parallel,
                                const PlacementSpec& spec, const std::vector<int>& node_of_rank,
                                std::span<const double> loads) {
  if (!parallel.expert_parallel || !model.is_moe()) return {};
  const RoutingShape shape = routing_shape(model);
  const int nodes = *std::ranges::max_element(node_of_rank) + 1;
  return make_placement(spec)->place({.layers = shape.layers,
                                      .experts = shape.experts,
                                      .ranks = parallel.moe_ep(),
                                      .nodes = nodes,
                                      .groups = shape.groups,
                                      .redundant = parallel.redundant_experts,
                                      .loads = loads});
}

namespace {

/// Whether requests take tokens by what they are about.
bool follows_tags(const ExpertRouting& routing, const RoutingShape& shape,
                  const Workload& requests) {
  return !requests.domain.empty() &&
         !routing.table(shape, {.sequences = 1, .prompt_rows = 1, .decode_rows = 1}, 1, 0)
              .domains.empty();
}

}  // namespace

std::string rank_exact_obstacle(const Scenario& scenario, const Parallel& parallel,
                                const ExpertPlacement& placement, const ExpertRouting& routing,
                                const Workload& requests) {
  if (!parallel.expert_parallel || parallel.moe_ep() == 1)
    return "experts are not spread over ranks";
  if (scenario.routing.expert_choice)
    return "expert choice needs to know which tokens an expert takes";
  if (scenario.routing.capacity_factor)
    return "capacity_factor needs to know which experts are full";
  if (scenario.offload && scenario.offload->active())
    return "offload needs to know which experts are used";
  if (scenario.placement.rebalances()) return "eplb moves experts during the run";
  if (placement.slots > placement.experts) return "there are copies of experts to choose from";
  const RoutingReplay::Options replay = routing.replay(scenario.seed);
  if (replay.mode == RoutingReplay::Mode::kIndependent)
    return "mode independent gives tokens another row at every layer";
  // Which of a rank's experts it is comes from draws of all requests alike.
  if (replay.domain_mix.size() > 1)
    return "domain_mix changes with time, and a rank's experts with it";
  if (follows_tags(routing, routing_shape(scenario.model), requests))
    return "requests have domains of their own, and a rank's experts go with them";
  const int most = (placement.slots + placement.ranks - 1) / placement.ranks;
  if (std::min(most, routing_shape(scenario.model).top_k) > RankRows::kMostChoices)
    return fmt::format("a rank may have more than {} of a token's choices", RankRows::kMostChoices);
  return {};
}

namespace {

/// Bytes of one expert of one layer on a rank.
double expert_bytes(const ModelSpec& model, const Parallel& parallel) {
  const auto layer =
      std::ranges::find_if(model.layers, [](const LayerSpec& one) { return one.moe; });
  const Shard shard = make_shard(model, parallel, 0).shard;
  const double weights = static_cast<double>(layer_weights(shard, *layer).per_expert);
  return weights * expert_bits_per_weight(model.precisions.experts) / 8;
}

}  // namespace

StageParts stage_parts(const ModelSpec& model, const Parallel& parallel,
                       const std::vector<int>& gpus) {
  StageParts parts;
  for (int stage = 0; stage < parallel.pp; ++stage) {
    parts.gpus.push_back(expert_parts(parallel, stage_group(parallel, gpus, stage)));
    const Shard shard = make_shard(model, parallel, stage).shard;
    for (int l = shard.first_layer; l < shard.last_layer; ++l) {
      if (model.layers[static_cast<std::size_t>(l)].moe) parts.stage_of_layer.push_back(stage);
    }
  }
  return parts;
}

RebalanceCost rebalance_cost(const Scenario& scenario, const Parallel& parallel,
                             const Topology& topology, const StageParts& parts,
                             const ExpertPlacement& before, const ExpertPlacement& after) {
  RebalanceCost cost;
  const double bytes = expert_bytes(scenario.model, parallel);
  std::vector<double> stage_ns(parts.gpus.size(), 0.0);
  for (int l = 0; l < after.layers; ++l) {
    const std::vector<ExpertMove> moves = expert_moves(before, after, l);
    if (moves.empty()) continue;
    cost.bytes += static_cast<double>(moves.size()) * bytes;
    const auto stage = static_cast<std::size_t>(parts.stage_of_layer[static_cast<std::size_t>(l)]);
    stage_ns[stage] += move_ns(topology, parts.gpus[stage], moves, bytes);
  }
  cost.ns = std::ranges::max(stage_ns) + plan_ns(after);
  return cost;
}

ExpertTier::Config tier_config(const Scenario& scenario, std::span<const int> gpus,
                               const FamilyNoise& noise) {
  const Layout layout = lay_out(scenario.cluster, scenario.instances);
  const auto link = tier_link(scenario, layout, gpus);
  MOESIM_CHECK(link, "a loaded scenario has the peers it offloads to");
  ExpertTier::Config config;
  config.spec = *scenario.offload;
  const auto longer = [&noise](OperatorFamily family) {
    return std::exp(kRooflineSpread * noise[static_cast<std::size_t>(family)]);
  };
  const double copies = longer(OperatorFamily::kCollective);
  config.bytes_per_ns = link->bandwidth.value() * 1e-9 / copies;
  config.latency_ns = link->latency.value() * 1e9 * copies;
  if (!config.spec.on_cpu()) return config;
  const double cpu = longer(OperatorFamily::kExperts);
  config.cpu.bytes_per_ns = link->cpu_bandwidth.value() * 1e-9 / cpu;
  config.cpu.flops_per_ns = link->cpu_flops.value() * 1e-9 / cpu;
  config.cpu.hidden_bytes = scenario.model.hidden * kHalf;
  return config;
}

std::unique_ptr<EplbControl> make_eplb(const Scenario& scenario, const Parallel& parallel,
                                       const Topology& topology, const StageParts& parts,
                                       const ExpertPlacement& first,
                                       const std::vector<int>& node_of_rank) {
  if (!scenario.placement.rebalances() || !parallel.expert_parallel) return nullptr;
  const RoutingShape shape = routing_shape(scenario.model);
  EplbControl::Config config;
  config.spec = scenario.placement;
  config.shape = {.layers = shape.layers,
                  .experts = shape.experts,
                  .ranks = parallel.moe_ep(),
                  .nodes = *std::ranges::max_element(node_of_rank) + 1,
                  .groups = shape.groups,
                  .redundant = parallel.redundant_experts};
  config.expert_bytes = expert_bytes(scenario.model, parallel);
  config.stage_of_layer = parts.stage_of_layer;
  config.transfer_ns = [&topology, gpus = parts.gpus](
                           int stage, const std::vector<ExpertMove>& moves, double bytes) {
    return move_ns(topology, gpus[static_cast<std::size_t>(stage)], moves, bytes);
  };
  return std::make_unique<EplbControl>(std::move(config), first);
}

}  // namespace moesim
