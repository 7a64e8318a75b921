#include "tests/reference/expert_world.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "sim/base/check.h"
#include "sim/steptime/expert_setup.h"

namespace moesim::reference {

namespace {

/// Microseconds. Straight in an operator's work, since the engine tabulates decode attention.
class RoundPrices final : public KernelModel {
 public:
  KernelTime time(const Op& op) const override {
    double us = 0.05 + 0.001 * static_cast<double>(op.m);
    if (op.term == Term::kAttention) us += 0.01 * static_cast<double>(op.n);
    if (op.term == Term::kExpertGemm) {
      us +=
          0.01 * static_cast<double>(op.padded_rows) + 0.3 * op.active_experts + 0.002 * op.tokens;
    }
    return {Seconds(us * 1e-6), Provenance::kMeasured};
  }
};

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : rng_(seed, "experts") {}
  int between(int low, int high) {
    return low + static_cast<int>(rng_.below(static_cast<std::uint32_t>(high - low + 1)));
  }
  bool percent(int p) { return between(1, 100) <= p; }
  template <class T>
  T one_of(const std::vector<T>& values) {
    return values[rng_.below(static_cast<std::uint32_t>(values.size()))];
  }
  template <class T>
  void shuffle(std::vector<T>& values) {
    for (std::size_t i = values.size(); i > 1; --i)
      std::swap(values[i - 1], values[rng_.below(static_cast<std::uint32_t>(i))]);
  }

 private:
  Rng rng_;
};

ModelSpec random_model(Dice& dice, const std::vector<KvGroup>& kv_groups, int stages) {
  ModelSpec model;
  model.id = "test/random-moe";
  model.family = "gqa_moe";
  model.hidden = 512;
  model.vocab = 256;
  model.heads = model.kv_heads = 8;
  model.head_dim = model.v_head_dim = 64;
  if (dice.percent(30)) model.precisions.experts = NumberFormat::kFp8Block;
  LayerSpec moe;
  moe.moe = true;
  moe.num_experts = dice.one_of<int>({4, 6, 8, 16, 40});
  moe.top_k = dice.between(1, std::min(4, moe.num_experts));
  moe.expert_intermediate = 192;
  const int layers = dice.between(std::max(2, stages), 5);
  for (int l = 0; l < layers; ++l) {
    LayerSpec layer = moe;
    if (l > 0 && dice.percent(30)) {
      layer = {};
      layer.dense_intermediate = 384;
    }
    const KvGroup& group = kv_groups[static_cast<std::size_t>(l) % kv_groups.size()];
    layer.attention = group.kind;
    layer.window = group.window;
    model.layers.push_back(layer);
  }
  return model;
}

/// TP x DP over up to eight GPUs; whole or cut experts, or both.
Parallel random_parallel(Dice& dice, int stages) {
  const auto [tp, dp] = dice.one_of<std::pair<int, int>>(
      {{1, 2}, {1, 3}, {1, 4}, {1, 6}, {1, 8}, {2, 2}, {2, 4}, {4, 2}, {2, 1}, {4, 1}, {8, 1}});
  Parallel parallel{.tp = tp, .pp = stages, .dp = dp};
  parallel.expert_parallel = dice.percent(75);
  const bool fits = tp * dp >= 4 && tp * dp % 2 == 0;
  if (parallel.expert_parallel && fits && dice.percent(25)) parallel.moe_tp = 2;
  return parallel;
}

/// Every expert somewhere, copies anywhere, other places in every layer.
ExpertPlacement random_placement(Dice& dice, const RoutingShape& shape, const Parallel& parallel) {
  const int slots = shape.experts + parallel.redundant_experts;
  ExpertPlacement out = empty_placement(shape.layers, shape.experts, slots, parallel.moe_ep());
  out.logical.clear();
  for (int l = 0; l < shape.layers; ++l) {
    std::vector<std::uint16_t> row;
    for (int s = 0; s < slots; ++s) {
      const int expert = s < shape.experts ? s : dice.between(0, shape.experts - 1);
      row.push_back(static_cast<std::uint16_t>(expert));
    }
    dice.shuffle(row);
    out.logical.insert(out.logical.end(), row.begin(), row.end());
  }
  return out;
}

EngineSpec random_engine(Dice& dice) {
  EngineSpec engine;
  engine.max_num_seqs = dice.one_of<int>({10, 64});
  engine.max_num_batched_tokens = 256;
  engine.enforce_eager = dice.percent(25);
  engine.cudagraph_capture_sizes =
      dice.percent(50) ? std::vector<int>{1, 2, 4, 8, 16} : std::vector<int>{3, 7, 31};
  engine.prompt_capture_sizes = {8, 24, 64};
  engine.profile.full_graphs = dice.percent(70);
  engine.profile.prompt_graphs =
      dice.one_of<PromptGraphs>({PromptGraphs::kSame, PromptGraphs::kNone, PromptGraphs::kOwn});
  engine.profile.pad_to_graph = dice.percent(80);
  if (dice.percent(70)) engine.profile.launch = {0, 0, 0, 0, 0};
  return engine;
}

ClusterSpec random_cluster(Dice& dice, int gpus) {
  ClusterSpec cluster;
  const int per_node = dice.one_of<int>({4, 8});
  const int nodes = (gpus + per_node - 1) / per_node;
  cluster.nodes.push_back(
      {load_system(dice.percent(70) ? "h100_sxm" : "h100_pcie", ".", Where()), nodes, per_node});
  cluster.network.preset = nodes == 1         ? NetworkPreset::kSingleNode
                           : dice.percent(50) ? NetworkPreset::kRailOptimized
                                              : NetworkPreset::kLeafSpine;
  cluster.network.oversubscription = dice.one_of<double>({1, 2});
  cluster.network.link = load_link(dice.percent(50) ? "ndr_400g" : "roce_100g", Where());
  return cluster;
}

std::string random_backend(Dice& dice, const Parallel& parallel) {
  if (!parallel.expert_parallel)
    return dice.one_of<std::string>({"allgather_reducescatter", "naive"});
  return dice.one_of(dispatch_names());
}

}  // namespace

RoutingTable DrawnRouting::table(const RoutingShape& shape, const TableSize&, std::uint64_t seed,
                                 std::uint64_t) const {
  // Few and short sequences, with and without prompts: replay wraps and borrows.
  RoutingTable out = empty_table(shape, {.sequences = 7, .prompt_rows = 9, .decode_rows = 41});
  Rng rng(seed, "rows");
  for (std::uint64_t row = 0; row < out.rows(); ++row) {
    for (int layer = 0; layer < shape.layers; ++layer) {
      std::vector<int> ids(static_cast<std::size_t>(shape.experts));
      std::iota(ids.begin(), ids.end(), 0);
      for (int k = 0; k < shape.top_k; ++k) {
        // The lower of two draws: low ids are hot.
        const auto left = static_cast<std::uint32_t>(ids.size());
        const std::size_t pick = std::min(rng.below(left), rng.below(left));
        out.set(row, layer, k, ids[pick]);
        ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(pick));
      }
    }
  }
  return out;
}

ExpertWorld::ExpertWorld(const ExpertPlan& plan, bool spread)
    : plan_(plan),
      topology_(plan_.cluster),
      collectives_(topology_, plan_.cluster.nodes.front().system.gpu.sm_version),
      prices_(std::make_unique<RoundPrices>()) {
  tables_ =
      std::make_unique<RoutingTables>(std::make_unique<DrawnRouting>(plan_.replay, plan_.seed),
                                      routing_shape(plan_.model), plan_.seed, TableSize{});
  make_engine();
  make_plain(spread);
}

/// GPUs of the stage's MoE group, or the first of each cut of an expert, and what a token weighs:
/// 16 bit, or block-scaled fp8 where the experts are (a scale of 4 bytes per 128 channels), but
/// for naive broadcasts (serving-semantics 3.4).
PlainGroup ExpertWorld::group_of(int stage) const {
  const Parallel& p = plan_.parallel;
  PlainGroup group;
  group.topology = &topology_;
  group.collectives = &collectives_;
  for (int d = 0; d < p.dp; ++d) {
    for (int t = 0; t < p.tp; ++t) {
      if ((d * p.tp + t) % p.moe_tp == 0) group.gpus.push_back((d * p.pp + stage) * p.tp + t);
    }
  }
  group.tp = std::max(1, p.tp / p.moe_tp);
  group.sequence_parallel = p.expert_parallel;
  group.top_k = routing_shape(plan_.model).top_k;
  group.experts = routing_shape(plan_.model).experts + p.redundant_experts;
  const double channels = plan_.model.hidden;
  const bool fp8 =
      plan_.model.precisions.experts == NumberFormat::kFp8Block && plan_.backend != "naive";
  group.there_bytes = fp8 ? channels + 4 * channels / 128 : 2 * channels;
  group.back_bytes = 2 * channels;
  return group;
}

void ExpertWorld::make_engine() {
  const Parallel& p = plan_.parallel;
  std::vector<int> gpus(static_cast<std::size_t>(p.gpus()));
  std::iota(gpus.begin(), gpus.end(), 0);
  std::vector<StepTime::Stage> stages;
  std::vector<int> parts;
  for (int stage = 0; stage < p.pp; ++stage) {
    const std::vector<int> group = stage_group(p, gpus, stage);
    parts = expert_parts(p, group);
    KernelChoice none;
    none.none = true;
    const ShardResult shard = make_shard(plan_.model, p, stage);
    MOESIM_CHECK(shard.problem.empty(), "the plan's layout divides its model");
    stages.push_back(
        {shard.shard, std::make_unique<RoundPrices>(),
         make_group_dispatch(plan_.model, p, plan_.backend, {topology_, collectives_, group, none}),
         132});
  }
  StepTime::Experts experts;
  experts.routing = std::make_unique<DrawnRouting>(plan_.replay, plan_.seed);
  experts.fidelity = RoutingFidelity::kExact;
  experts.placement = plan_.placement;
  experts.node_of_rank = nodes_of(topology_, parts);
  experts.workload = plan_.workload;
  engine_ = std::make_unique<StepTime>(plan_.model, std::move(stages), plan_.kv, plan_.engine,
                                       std::move(experts), plan_.seed);
}

void ExpertWorld::make_plain(bool spread) {
  PlainExperts::Config config;
  config.model = &plan_.model;
  config.parallel = plan_.parallel;
  config.engine = plan_.engine;
  config.kv = plan_.kv;
  config.kernels = prices_.get();
  config.backend = plan_.backend;
  config.placement = plan_.placement;
  config.spread = spread;
  if (plan_.workload != nullptr) config.prompt_tokens = plan_.workload->prompt_tokens;
  for (int stage = 0; stage < plan_.parallel.pp; ++stage) config.groups.push_back(group_of(stage));
  config.choice = [this](const RoutedToken& token, int layer) { return choose(token, layer); };
  config.filling = [this](std::uint64_t step, std::size_t index, int layer) {
    return fill(step, index, layer);
  };
  plain_ = std::make_unique<PlainExperts>(std::move(config));
}

std::vector<int> ExpertWorld::row(std::uint64_t row, int layer) const {
  std::vector<int> out;
  const RoutingTable& table = tables_->table();
  for (int k = 0; k < table.shape().top_k; ++k) out.push_back(table.expert(row, layer, k));
  return out;
}

/// Prompt tokens of a shared block take rows of the block, all others of their request.
std::vector<int> ExpertWorld::choose(const RoutedToken& token, int layer) const {
  const RoutingReplay& replay = tables_->replay();
  if (replay.mode() == RoutingReplay::Mode::kIndependent)
    return row(replay.layer_row(token.request, token.prompt, token.index, layer), layer);
  const Workload* const workload = plan_.workload;
  if (token.prompt && workload != nullptr && !workload->chain_begin.empty()) {
    std::uint32_t begin = 0;
    for (std::uint32_t i = workload->chain_begin[token.request];
         i < workload->chain_begin[token.request + 1]; ++i) {
      const ChainElement& block = workload->chain[i];
      if (token.index < block.end)
        return row(replay.block_row(block.id, token.index - begin), layer);
      begin = block.end;
    }
  }
  const RoutingReplay::Walk walk = replay.walk(token.request);
  return row(
      token.prompt ? replay.prompt_row(walk, token.index) : replay.decode_row(walk, token.index),
      layer);
}

/// Tokens that are nobody's: keyed by the step and their place in it.
std::vector<int> ExpertWorld::fill(std::uint64_t step, std::size_t index, int layer) const {
  const std::uint64_t key = mix64(step << 20 | index);
  const RoutingReplay& replay = tables_->replay();
  if (replay.mode() != RoutingReplay::Mode::kIndependent)
    return row(key % tables_->table().rows(), layer);
  return row(replay.layer_row(static_cast<std::uint32_t>(key), false,
                              static_cast<std::uint32_t>(key >> 32), layer),
             layer);
}

ExpertPlan random_plan(std::uint64_t seed, const std::vector<KvGroup>& kv_groups, int stages) {
  Dice dice(seed);
  ExpertPlan plan;
  plan.seed = seed;
  plan.model = random_model(dice, kv_groups, stages);
  plan.parallel = random_parallel(dice, stages);
  Parallel& p = plan.parallel;
  const RoutingShape shape = routing_shape(plan.model);
  if (p.moe_ep() > shape.experts) p.expert_parallel = false;
  if (!p.expert_parallel) {
    p.moe_tp = 1;
    plan.model.precisions.experts = NumberFormat::kBf16;  // blocks are not cut
  }
  if (p.moe_ep() > 1) {
    const int over = shape.experts % p.moe_ep();
    const bool copies = dice.percent(50) && shape.experts > p.moe_ep();
    if (copies) p.redundant_experts = p.moe_ep() * dice.between(1, 2) - over;
    plan.placement = random_placement(dice, shape, p);
  }
  plan.engine = random_engine(dice);
  plan.kv.groups = kv_groups;
  plan.cluster = random_cluster(dice, p.gpus());
  plan.backend = random_backend(dice, p);
  // Copies by node are counted for all stages alike; scenarios where they are not are refused.
  const bool spans = p.gpus() > plan.cluster.nodes.front().gpus;
  if (p.pp > 1 && spans && p.expert_parallel) plan.backend = "deepep_low_latency";
  plan.replay =
      dice.one_of<RoutingReplay::Mode>({RoutingReplay::Mode::kSequence, RoutingReplay::Mode::kRow,
                                        RoutingReplay::Mode::kIndependent});
  return plan;
}

}  // namespace moesim::reference
