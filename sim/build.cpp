#include "sim/build.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <optional>
#include <utility>

#include "hardware/collective.h"
#include "hardware/topology.h"
#include "scenarios/expert_routing.h"
#include "scenarios/layout.h"
#include "scenarios/workload.h"
#include "sim/base/check.h"
#include "sim/base/diagnostic.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"
#include "sim/engine/simulation.h"
#include "sim/stage_kernels.h"
#include "sim/steptime/expert_setup.h"
#include "sim/steptime/routing_tables.h"
#include "sim/steptime/step_time.h"

namespace moesim {
namespace {

/// Makes the implementation a scenario names; an unknown name is an InputError at its line.
template <class Interface>
std::unique_ptr<Interface> make_policy(const Policy& policy) {
  const auto* entry = Registry<Interface>::find(policy.name);
  if (entry == nullptr) {
    throw InputError({{policy.where, "", fmt::format("unknown policy '{}'", policy.name),
                       nearest_name_hint(policy.name, Registry<Interface>::names())}});
  }
  const Document params =
      Document::parse(policy.params.empty() ? "{}" : policy.params, policy.where.file);
  Diagnostics diagnostics;
  Reader reader(params, diagnostics);
  auto made = entry->make(reader);
  diagnostics.throw_if_any();
  return made;
}

template <class Interface>
std::unique_ptr<Interface> make_known(const std::string& name) {
  return make_policy<Interface>({name, "{}", {}});
}

Limits limits_of(const Scenario& scenario, const InstanceInfo& info) {
  const EngineSpec& engine = info.engine;
  Limits limits;
  limits.max_num_seqs = engine.max_num_seqs;
  limits.max_num_batched_tokens = engine.max_num_batched_tokens;
  limits.max_model_len = engine.max_model_len;
  limits.long_prefill_token_threshold = engine.long_prefill_token_threshold;
  limits.chunked_prefill = engine.enable_chunked_prefill;
  limits.reserve_full_isl = engine.profile.reserve_full_isl;
  limits.priority = engine.priority_scheduling;
  limits.async = engine.async_scheduling && info.parallel.pp == 1;
  limits.finish_eos = scenario.workload.finish_eos;
  limits.pipeline_stages = info.parallel.pp;
  limits.extra_step = engine.profile.extra_step;
  limits.sglang = engine.sglang;
  limits.trtllm = engine.trtllm;
  if (scenario.instances[static_cast<std::size_t>(info.spec)].role == Role::kDecode) {
    limits.kv_in_place = true;
    limits.sglang.enable_mixed_chunk = true;  // who arrives joins the decodes at once
  }
  return limits;
}

KvCache::Config kv_config(const InstanceInfo& info) {
  KvCache::Config config;
  config.usable_blocks = std::max<std::int64_t>(0, info.memory.num_gpu_blocks - 1);
  config.block_size =
      info.memory.kv.block_size;  // larger than the engine's with linear-attention layers
  config.groups = info.memory.kv.groups;
  config.prefix_caching = info.engine.enable_prefix_caching;
  config.max_num_batched_tokens = info.engine.max_num_batched_tokens;
  config.max_model_len = info.engine.max_model_len;
  return config;
}

/// Host costs are fitted to few runs and to estimates: a standard deviation of 30 % (assumed).
double host_factor(const FamilyNoise& noise) {
  constexpr double kSpread = 0.3;
  return std::exp(kSpread * noise[static_cast<std::size_t>(OperatorFamily::kHost)]);
}

}  // namespace

/// Everything of a run, at stable addresses: later members refer to earlier ones.
struct World::Parts {
  Scenario scenario;
  Deployment deployment;
  std::unique_ptr<Topology> topology;
  std::vector<std::unique_ptr<Collectives>> collectives;  ///< per entry of scenario.instances
  std::vector<std::unique_ptr<StepTime>>
      step_times;                         ///< likewise: identical instances share their tables
  std::vector<std::size_t> first_priced;  ///< per step_time: the first instance it prices
  std::unique_ptr<Simulation> simulation;
  std::vector<std::string> warnings;

  FamilyNoise noise{};
  KernelLog* kernel_log = nullptr;
  std::optional<ExpertPlacement> placement;  ///< instead of the scenario's
  std::optional<std::vector<double>> loads;  ///< first_loads, once they are known

  void add_step_time(const InstanceInfo& info);
  [[nodiscard]] StepTime::Experts experts_of(const InstanceInfo& info,
                                             const std::vector<int>& group);
  void choose_fidelity(const Parallel& parallel, StepTime::Experts& experts);
  [[nodiscard]] Instance::Config instance_config(std::size_t index) const;
  void add_instances(const RunOptions& options);
  void warn_about_requests();
  /// Adds a warning, unless it is there.
  void warn(std::string text);
};

void World::Parts::warn(std::string text) {
  if (std::ranges::find(warnings, text) == warnings.end()) warnings.push_back(std::move(text));
}

void World::Parts::add_step_time(const InstanceInfo& info) {
  const Layout layout = moesim::lay_out(scenario.cluster, scenario.instances);
  const auto node = static_cast<std::size_t>(layout.node[static_cast<std::size_t>(info.spec)]);
  const SystemSpec& system = scenario.cluster.nodes[node].system;
  collectives.push_back(std::make_unique<Collectives>(*topology, system.gpu.sm_version));
  const Parallel& parallel = info.parallel;
  std::vector<StepTime::Stage> stages;
  std::vector<int> group;
  for (int stage = 0; stage < parallel.pp; ++stage) {
    const auto first = info.gpus.begin() + std::ptrdiff_t{stage} * parallel.tp;
    const auto next = first + parallel.tp;
    const bool last = stage + 1 == parallel.pp;
    const std::vector<int> gpus(first, next);
    const bool nvlink = topology->nvlink_connected(gpus);
    StagePlace place{node, gpus, last ? -1 : *next, nvlink};
    group = stage_group(parallel, info.gpus, stage);
    const ExpertSite site{*topology, *collectives.back(), group,
                          kernel_choice(scenario, info, node)};
    stages.push_back(
        {make_shard(scenario.model, parallel, stage).shard,
         make_kernels(scenario, info, std::move(place), *collectives.back(), noise, kernel_log),
         make_group_dispatch(scenario.model, parallel, info.engine.all2all_backend, site),
         system.gpu.sm_count,
         nvlink ? fused_norm_bytes(info.engine.profile, scenario.model, system.gpu.sm_version,
                                   parallel)
                : 0});
  }
  step_times.push_back(std::make_unique<StepTime>(scenario.model, std::move(stages), info.memory.kv,
                                                  info.engine, experts_of(info, group),
                                                  scenario.routing.seed.value_or(scenario.seed)));
}

/// How tokens choose experts, and where those lie. `group` is any stage's: nodes are numbered alike
/// in all.
StepTime::Experts World::Parts::experts_of(const InstanceInfo& info,
                                           const std::vector<int>& group) {
  const Parallel& parallel = info.parallel;
  StepTime::Experts experts;
  experts.routing = make_policy<ExpertRouting>(scenario.routing.policy);
  if (!scenario.model.is_moe()) return experts;
  experts.node_of_rank = nodes_of(*topology, expert_parts(parallel, group));
  const Workload& workload = simulation->workload();
  double prompts = 0, outputs = 0;
  for (std::size_t r = 0; r < workload.size(); ++r) {
    prompts += workload.prompt_tokens[r];
    outputs += workload.output_tokens[r];
  }
  const double requests = std::max<double>(1, static_cast<double>(workload.size()));
  experts.mean_prompt = static_cast<int>(std::lround(prompts / requests));
  experts.mean_output = static_cast<int>(std::lround(outputs / requests));
  experts.workload = &workload;
  if (placement) {
    experts.placement = *placement;
  } else {
    if (!loads) {
      const TableSize size =
          table_size(routing_shape(scenario.model), experts.mean_prompt, experts.mean_output);
      loads = first_loads(scenario, *experts.routing, size, workload);
    }
    experts.placement =
        first_placement(scenario.model, parallel, scenario.placement, experts.node_of_rank, *loads);
  }
  choose_fidelity(parallel, experts);
  if (scenario.offload && scenario.offload->active())
    experts.tier = tier_config(scenario, info.gpus, noise);
  experts.eplb =
      make_eplb(scenario, parallel, *topology, stage_parts(scenario.model, parallel, info.gpus),
                experts.placement, experts.node_of_rank);
  return experts;
}

/// The tier of routing that shows what the scenario asks for.
void World::Parts::choose_fidelity(const Parallel& parallel, StepTime::Experts& experts) {
  const RoutingSpec& routing = scenario.routing;
  experts.fidelity =
      routing.fidelity == RoutingFidelity::kAuto ? RoutingFidelity::kSampled : routing.fidelity;
  // Draws of whole steps keep a token's layers together; only exact replay takes them apart.
  const bool apart =
      experts.routing->replay(scenario.seed).mode == RoutingReplay::Mode::kIndependent;
  if (apart && routing.fidelity == RoutingFidelity::kAuto)
    experts.fidelity = RoutingFidelity::kExact;
  if (apart && routing.fidelity == RoutingFidelity::kSampled)
    warn(
        "routing.mode: independent is the same as row where routing.fidelity is sampled: write "
        "exact to see it");
  if (routing.fidelity == RoutingFidelity::kRankExact) {
    const std::string obstacle = rank_exact_obstacle(scenario, parallel, experts.placement,
                                                     *experts.routing, *experts.workload);
    if (!obstacle.empty()) {
      experts.fidelity = RoutingFidelity::kExact;
      warn("routing.fidelity: rank_exact runs as exact: " + obstacle);
    }
  }
  if (routing.capacity_factor) {
    // Draws of steps know no token that finds an expert full; one that experts choose they do.
    if (!routing.expert_choice) experts.fidelity = RoutingFidelity::kExact;
    experts.capacity = {*routing.capacity_factor, routing.expert_choice, routing.overflow,
                        routing.capacity_scope};
  }
  // What was used before decides what is resident: only whole steps in their order show it.
  if (scenario.offload && scenario.offload->learns() &&
      routing.fidelity != RoutingFidelity::kSampled)
    experts.fidelity = RoutingFidelity::kExact;
}

Instance::Config World::Parts::instance_config(std::size_t index) const {
  const InstanceInfo& info = deployment.instances[index];
  Instance::Config config;
  config.id = InstanceId{static_cast<std::uint32_t>(index)};
  config.limits = limits_of(scenario, info);
  config.kv = kv_config(info);
  config.api = info.engine.profile.api;
  config.host = info.engine.profile.host.scaled(host_factor(noise));
  config.ranks = info.parallel.dp;
  config.rules = rank_rules(info.engine.backend);
  config.queue_depth = info.parallel.pp > 1 ? info.parallel.pp : config.limits.async ? 2 : 1;
  config.always_ahead = config.limits.extra_step;
  config.recv_interval = config.limits.sglang.scheduler_recv_interval;
  return config;
}

void World::Parts::add_instances(const RunOptions& options) {
  Simulation::Options run;
  run.seed = scenario.seed;
  run.check = options.check;
  run.stop = options.stop;
  run.completed = options.completed;
  if (scenario.workload.duration_s)
    run.horizon = to_sim_time(Seconds(*scenario.workload.duration_s));
  run.max_model_len = deployment.instances.front().engine.max_model_len;
  for (const InstanceInfo& info : deployment.instances) {
    run.max_model_len = std::min<std::int64_t>(run.max_model_len, info.engine.max_model_len);
    const bool whole = info.engine.backend == "trtllm" && !info.engine.enable_chunked_prefill;
    if (whole)
      run.max_prompt = std::min<std::int64_t>(run.max_prompt, info.engine.max_num_batched_tokens);
  }
  Workload requests = options.workload != nullptr ? *options.workload
                                                  : make_workload(scenario.workload, scenario.seed);
  if (scenario.instances.front().role == Role::kPrefill)
    std::ranges::fill(requests.output_tokens, 1U);  // the other side goes on from there
  simulation = std::make_unique<Simulation>(
      std::move(requests), make_policy<RequestRouter>(scenario.request_router), run);
  for (std::size_t i = 0; i < deployment.instances.size(); ++i) {
    const InstanceInfo& info = deployment.instances[i];
    // Identical instances share their tables, unless each moves its experts by itself or remembers
    // them.
    const bool own = (scenario.placement.rebalances() && info.parallel.expert_parallel) ||
                     (scenario.offload && scenario.offload->learns());
    const bool first = i == 0 || deployment.instances[i - 1].spec != info.spec;
    if (own || first) {
      add_step_time(info);
      first_priced.push_back(i);
    }
    const Instance::Config config = instance_config(i);
    std::vector<std::unique_ptr<Scheduler>> schedulers;
    schedulers.reserve(static_cast<std::size_t>(config.ranks));
    for (int rank = 0; rank < config.ranks; ++rank)
      schedulers.push_back(make_known<Scheduler>(info.engine.profile.scheduler));
    simulation->add(std::make_unique<Instance>(config, simulation->workload(), simulation->table(),
                                               std::move(schedulers), *step_times.back()));
  }
}

void World::Parts::warn_about_requests() {
  const Workload& workload = simulation->workload();
  const RequestTable& table = simulation->table();
  std::int64_t cut = 0, dropped = 0;
  for (std::size_t r = 0; r < table.size(); ++r) {
    dropped += table.output_tokens[r] == 0 ? 1 : 0;
    cut += table.output_tokens[r] > 0 && table.output_tokens[r] < workload.output_tokens[r] ? 1 : 0;
  }
  if (dropped > 0) {
    warnings.push_back(
        fmt::format("{} of {} requests have prompts that {} and are refused", dropped, table.size(),
                    simulation->max_prompt() < std::numeric_limits<std::int64_t>::max()
                        ? "reach max_seq_len or exceed max_num_tokens"
                        : "reach max_model_len"));
  }
  if (cut > 0) {
    warnings.push_back(
        fmt::format("{} of {} requests end early at max_model_len", cut, table.size()));
  }
}

World::World(const Scenario& scenario, Deployment deployment, const RunOptions& options)
    : parts_(std::make_unique<Parts>()) {
  parts_->scenario = scenario;
  parts_->deployment = std::move(deployment);
  for (const InstanceInfo& info : parts_->deployment.instances) {
    MOESIM_CHECK(info.memory.feasible, "only a feasible deployment is built");
  }
  parts_->topology = std::make_unique<Topology>(parts_->scenario.cluster);
  parts_->noise = options.noise;
  parts_->kernel_log = options.kernel_log;
  if (options.placement != nullptr) parts_->placement = *options.placement;
  parts_->warnings = parts_->scenario.warnings;
  parts_->add_instances(options);
  parts_->warn_about_requests();
}

World::World(World&&) noexcept = default;
World& World::operator=(World&&) noexcept = default;
World::~World() = default;

void World::run(Observer* observer) {
  parts_->simulation->run(observer);
}

const Scenario& World::scenario() const {
  return parts_->scenario;
}
const Workload& World::workload() const {
  return parts_->simulation->workload();
}
const Deployment& World::deployment() const {
  return parts_->deployment;
}
int World::instance_count() const {
  return static_cast<int>(parts_->simulation->instances().size());
}

namespace {

/// A balancer that was asked for and never had its turn.
void add_idle_balancer(RunView& view) {
  const PlacementSpec& placement = view.scenario.placement;
  std::uint64_t most = 0;
  for (const MoeOfInstances& part : view.moe) {
    if (!part.stats.rebalances.empty()) return;
    if (part.placement && !part.stats.layers.empty())
      most = std::max(most, part.stats.layers.front().steps);
  }
  if (!placement.rebalances() || most == 0) return;
  view.warnings.push_back(
      fmt::format("placement: eplb never moved experts: its interval is {} steps, and the run has "
                  "{}",
                  placement.step_interval, most));
}

}  // namespace

RunView World::view() const {
  const Simulation& simulation = *parts_->simulation;
  RunView view{.scenario = parts_->scenario,
               .deployment = parts_->deployment,
               .workload = simulation.workload(),
               .requests = simulation.table()};
  for (const auto& instance : simulation.instances()) {
    view.totals.push_back(instance->totals());
    for (std::size_t i = 0; i < view.provenance_ns.size(); ++i)
      view.provenance_ns[i] += instance->provenance_ns()[i];
  }
  for (std::size_t i = 0; i < parts_->step_times.size(); ++i) {
    const StepTime& one = *parts_->step_times[i];
    view.moe.push_back({parts_->first_priced[i], one.moe_stats(), one.placement()});
    for (KernelOrigin& origin : one.kernel_origins()) {
      if (std::ranges::find(view.kernels, origin) == view.kernels.end())
        view.kernels.push_back(std::move(origin));
    }
  }
  view.digest = simulation.digest();
  view.end_time = simulation.end_time();
  view.events = simulation.events();
  view.interrupted = simulation.stopped_early();
  view.warnings = parts_->warnings;
  add_idle_balancer(view);
  return view;
}

World build(const Scenario& scenario, const RunOptions& options) {
  return {scenario, lay_out(scenario), options};
}

}  // namespace moesim
