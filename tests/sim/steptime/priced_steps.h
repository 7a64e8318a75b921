#pragma once

#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "sim/steptime/step_time.h"
#include "tests/sim/small_cluster.h"

namespace moesim {

/// Prices an operator by a function of it, in microseconds.
class ByFunction final : public KernelModel {
 public:
  using Function = std::function<double(const Op&)>;
  explicit ByFunction(Function us) : us_(std::move(us)) {}
  KernelTime time(const Op& op) const override {
    const bool attention = op.term == Term::kAttention;
    return {Seconds(us_(op) * 1e-6), attention ? Provenance::kMeasured : Provenance::kDonor};
  }

 private:
  Function us_;
};

/// Three layers: a dense one with full attention, two MoE ones with a window of 8.
inline ModelSpec three_layers() {
  ModelSpec model;
  model.id = "test/three-layers";
  model.family = "gqa_moe";
  model.hidden = 64;
  model.vocab = 128;
  model.heads = 4;
  model.kv_heads = 2;
  model.head_dim = model.v_head_dim = 16;
  LayerSpec dense;
  dense.dense_intermediate = 96;
  LayerSpec moe;
  moe.attention = AttentionKind::kSliding;
  moe.window = 8;
  moe.moe = true;
  moe.num_experts = 4;
  moe.top_k = 1;
  moe.expert_intermediate = 32;
  model.layers = {dense, moe, moe};
  return model;
}

struct Setup {
  ByFunction::Function us = [](const Op&) { return 0.0; };
  int stages = 1;
  LaunchCost launch = {0, 0, 0, 0, 0};  ///< no launch costs unless a test is about them
  std::vector<int> capture_sizes = {1, 2, 4, 8, 16};
  int max_num_seqs = 8;
  bool enforce_eager = false;
  bool full_graphs = true;
  PromptGraphs prompt_graphs = PromptGraphs::kSame;
  std::vector<int> prompt_sizes = {};
  bool pad_to_graph = true;
  int tp = 1;
  double fused_norm_bytes = 0;
  std::vector<KvGroup> kv_groups = {{AttentionKind::kFull, 0, 1}, {AttentionKind::kSliding, 8, 2}};
};

struct Priced {
  ModelSpec model = three_layers();
  StepTime step_time;

  explicit Priced(const Setup& setup) : step_time(make(setup, model)) {}

  StepCost operator()(const StepWork& work) {
    StepCost cost;
    step_time.price(work, cost);
    return cost;
  }
  /// All stages, in us.
  double us(const StepWork& work) {
    const StepCost cost = (*this)(work);
    return std::accumulate(cost.stage_ns.begin(), cost.stage_ns.end(), 0.0) * 1e-3;
  }

 private:
  static StepTime make(const Setup& setup, const ModelSpec& model) {
    EngineSpec engine;
    engine.max_num_seqs = setup.max_num_seqs;
    engine.max_num_batched_tokens = 64;
    engine.cudagraph_capture_sizes = setup.capture_sizes;
    engine.enforce_eager = setup.enforce_eager;
    engine.profile.full_graphs = setup.full_graphs;
    engine.profile.prompt_graphs = setup.prompt_graphs;
    engine.profile.pad_to_graph = setup.pad_to_graph;
    engine.prompt_capture_sizes = setup.prompt_sizes;
    engine.profile.launch = setup.launch;
    KvLayout kv;
    kv.groups = setup.kv_groups;
    std::vector<StepTime::Stage> stages;
    for (int stage = 0; stage < setup.stages; ++stage) {
      const Parallel parallel{.tp = setup.tp, .pp = setup.stages};
      stages.push_back({make_shard(model, parallel, stage).shard,
                        std::make_unique<ByFunction>(setup.us), nullptr, 132,
                        setup.fused_norm_bytes});
    }
    StepTime::Experts experts;
    experts.routing = made<ExpertRouting>("uniform");
    return {model, std::move(stages), kv, engine, std::move(experts), 1};
  }
};

/// 10 us for every operator of one term.
inline ByFunction::Function only(Term term) {
  return [term](const Op& op) { return op.term == term ? 10.0 : 0.0; };
}

inline StepWork work(int decodes, std::span<const PromptChunk> chunks, int rows) {
  return {
      .step = 0, .decodes = decodes, .decode_context = {}, .chunks = chunks, .sampled_rows = rows};
}

const std::vector<PromptChunk> kNone;
const std::vector<PromptChunk> kOne = {{0, 5, 0, true}};
const std::vector<PromptChunk> kTwo = {{0, 5, 0, true}, {1, 3, 16, false}};

}  // namespace moesim
