#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "hardware/dispatch.h"
#include "models/placement.h"
#include "tests/sim/steptime/priced_steps.h"

namespace moesim {

/// A dispatch that takes fixed times and remembers what it was told last.
class FixedDispatch final : public DispatchBackend {
 public:
  struct Seen {
    std::vector<double> held, copies, slots, nodes;
  };
  FixedDispatch(double dispatch_ns, double combine_ns, bool routed, int sms = 0)
      : dispatch_ns_(dispatch_ns), combine_ns_(combine_ns), routed_(routed), sms_(sms) {}
  DispatchCost cost(const DispatchTraffic& t) const override {
    seen.held.assign(t.held.begin(), t.held.end());
    seen.copies.assign(t.rank_copies.begin(), t.rank_copies.end());
    seen.slots.assign(t.slots.begin(), t.slots.end());
    seen.nodes.assign(t.node_copies.begin(), t.node_copies.end());
    DispatchCost cost;
    cost.dispatch_ns = dispatch_ns_;
    cost.combine_ns = combine_ns_;
    cost.dispatch_bytes_intra = 3;
    cost.combine_bytes_intra = 4;
    cost.combine_bytes_inter = 5;
    return cost;
  }
  int sms() const override { return sms_; }
  DispatchSource source() const override { return {}; }
  bool routed() const override { return routed_; }

  mutable Seen seen;

 private:
  double dispatch_ns_, combine_ns_;
  bool routed_;
  int sms_;
};

/// A placement of one or more alike layers from the experts on each rank's slots.
inline ExpertPlacement placed(int layers, int experts,
                              const std::vector<std::vector<int>>& by_rank) {
  int slots = 0;
  for (const auto& rank : by_rank) slots += static_cast<int>(rank.size());
  ExpertPlacement placement =
      empty_placement(layers, experts, slots, static_cast<int>(by_rank.size()));
  placement.first_slot = {0};
  std::vector<std::uint16_t> row;
  for (const auto& rank : by_rank) {
    for (const int expert : rank) row.push_back(static_cast<std::uint16_t>(expert));
    placement.first_slot.push_back(static_cast<int>(row.size()));
  }
  placement.logical.clear();
  for (int l = 0; l < layers; ++l)
    placement.logical.insert(placement.logical.end(), row.begin(), row.end());
  return placement;
}

/// Steps of `dp` ranks that hold two of the four experts of three_layers() each; dispatch and
/// combine take 1 and 2 us a layer.
struct Lockstep {
  struct Options {
    ByFunction::Function us = [](const Op&) { return 0.0; };
    int dp = 2;
    int stages = 1;
    RoutingFidelity fidelity = RoutingFidelity::kSampled;
    bool by_stages = false;  ///< order of half batches
    bool dbo = false, enforce_eager = false, pad_to_graph = true;
    std::vector<int> capture_sizes = {1, 2, 4, 8, 16};
    PromptGraphs prompt_graphs = PromptGraphs::kSame;
    std::unique_ptr<EplbControl> eplb = nullptr;
    std::optional<CapacityRule> capacity = {};
    std::unique_ptr<ExpertRouting> routing = nullptr;  ///< null: uniform
    const Workload* workload = nullptr;
  };
  ModelSpec model = three_layers();
  StepTime step_time;

  explicit Lockstep(Options options) : step_time(make(std::move(options), model)) {}

  StepCost operator()(const std::vector<StepWork>& ranks) {
    StepCost cost;
    step_time.price_ranks(ranks, cost);
    return cost;
  }

 private:
  static StepTime make(Options options, const ModelSpec& model) {
    EngineSpec engine;
    engine.max_num_seqs = 64;
    engine.max_num_batched_tokens = 256;
    engine.cudagraph_capture_sizes = options.capture_sizes;
    engine.enforce_eager = options.enforce_eager;
    engine.profile.full_graphs = true;
    engine.profile.prompt_graphs = options.prompt_graphs;
    engine.prompt_capture_sizes = options.capture_sizes;
    engine.profile.pad_to_graph = options.pad_to_graph;
    engine.profile.launch = {0, 0, 0, 0, 0};
    engine.enable_dbo = options.dbo;
    engine.profile.half_batches_by_stages = options.by_stages;
    engine.dbo_decode_tokens = 4;
    engine.dbo_prefill_tokens = 8;
    KvLayout kv;
    kv.groups = {{AttentionKind::kFull, 0, 1}, {AttentionKind::kSliding, 8, 2}};
    const Parallel parallel{
        .pp = options.stages, .dp = options.dp, .expert_parallel = options.dp > 1};
    std::vector<StepTime::Stage> stages;
    for (int stage = 0; stage < options.stages; ++stage) {
      std::unique_ptr<DispatchBackend> dispatch;
      if (options.dp > 1) dispatch = std::make_unique<FixedDispatch>(1000, 2000, true);
      stages.push_back({make_shard(model, parallel, stage).shard,
                        std::make_unique<ByFunction>(options.us), std::move(dispatch), 132});
    }
    StepTime::Experts experts;
    experts.routing = options.routing ? std::move(options.routing) : made<ExpertRouting>("uniform");
    experts.workload = options.workload;
    experts.fidelity = options.fidelity;
    if (options.dp == 2) experts.placement = placed(2, 4, {{0, 1}, {2, 3}});
    if (options.dp == 4) experts.placement = placed(2, 4, {{0}, {1}, {2}, {3}});
    experts.node_of_rank.assign(static_cast<std::size_t>(options.dp), 0);
    experts.eplb = std::move(options.eplb);
    experts.capacity = options.capacity;
    return {model, std::move(stages), kv, engine, std::move(experts), 1};
  }
};

}  // namespace moesim
