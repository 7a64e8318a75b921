#include <benchmark/benchmark.h>
#include <memory>
#include <vector>

#include "sim/steptime/moe_model.h"
#include "tests/sim/steptime/moe_support.h"

namespace moesim {
namespace {

/// DeepSeek-V3's experts: 58 layers, top-8 of 256.
ModelSpec wide_model() {
  ModelSpec model = three_layers();
  model.hidden = 7168;
  LayerSpec moe = model.layers.back();
  moe.num_experts = 256;
  moe.top_k = 8;
  moe.expert_intermediate = 2048;
  model.layers.assign(58, moe);
  return model;
}

/// A step of `ranks` data-parallel ranks with 128 decodes each, routed through all layers and
/// priced by a kernel and a dispatch that cost nothing to ask. `routed`: it wants to know where
/// tokens go. Items are steps.
class WideSteps {
 public:
  using Make = std::unique_ptr<MoeModel> (*)(MoeSetup);
  WideSteps(int ranks, bool routed, Make make)
      : ranks_(ranks),
        model_(wide_model()),
        family_(make_family(model_)),
        dispatch_(1000, 1000, routed) {
    const Parallel parallel{.dp = ranks, .expert_parallel = ranks > 1};
    const Shard shard = make_shard(model_, parallel, 0).shard;
    std::vector<std::vector<int>> by_rank(static_cast<std::size_t>(ranks));
    for (int e = 0; e < 256; ++e) by_rank[static_cast<std::size_t>(e * ranks / 256)].push_back(e);
    MoeGroup group({.family = family_.get(),
                    .shard = shard,
                    .kernels = &kernels_,
                    .dispatch = ranks > 1 ? &dispatch_ : nullptr,
                    .ranks = ranks,
                    .node_of_rank = std::vector<int>(static_cast<std::size_t>(ranks), 0)},
                   placed(58, 256, by_rank));
    MoeSetup setup;
    setup.routing = made<ExpertRouting>("uniform");
    setup.shape = routing_shape(model_);
    MoeStageSpec stage{std::move(group), layer_classes(shard), std::vector<int>(58, 0), 0};
    setup.stages.push_back(std::move(stage));
    moe_ = make(std::move(setup));
    for (int r = 0; r < ranks; ++r) {
      for (std::uint32_t i = 0; i < kBatch; ++i)
        tokens_.push_back({static_cast<std::uint32_t>(r) * kBatch + i, 0});
    }
    held_.assign(static_cast<std::size_t>(ranks), kBatch);
  }

  void run() {
    works_.clear();
    for (int r = 0; r < ranks_; ++r) {
      StepWork work;
      work.step = step_;
      work.decodes = kBatch;
      work.tokens = std::span(tokens_).subspan(static_cast<std::size_t>(r) * kBatch, kBatch);
      works_.push_back(work);
    }
    const int tokens = ranks_ * static_cast<int>(kBatch);
    moe_->price({.step = step_,
                 .decode_tokens = tokens,
                 .real_decodes = tokens,
                 .held = held_,
                 .works = works_},
                {&cost_, 1});
    benchmark::DoNotOptimize(cost_);
    ++step_;
    for (RoutedToken& token : tokens_) ++token.index;
  }

 private:
  static constexpr std::uint32_t kBatch = 128;
  int ranks_;
  ModelSpec model_;
  std::unique_ptr<Family> family_;
  ByFunction kernels_{[](const Op&) { return 1.0; }};
  FixedDispatch dispatch_;
  std::unique_ptr<MoeModel> moe_;
  std::vector<RoutedToken> tokens_;
  std::vector<StepWork> works_;
  std::vector<double> held_;
  MoeStageCost cost_;
  std::uint64_t step_ = 0;
};

void steps(benchmark::State& state, WideSteps::Make make) {
  WideSteps steps(static_cast<int>(state.range(0)), state.range(1) != 0, make);
  for (int warm = 0; warm < 64; ++warm) steps.run();  // draws are made
  for (auto _ : state) steps.run();
  state.SetItemsProcessed(state.iterations());
}

// Every token of the step by itself: at least 10,000 steps a second on one rank, 400 on 32.
void BM_MoeStep_Exact(benchmark::State& state) {
  steps(state, make_exact_moe);
}
BENCHMARK(BM_MoeStep_Exact)
    ->ArgNames({"ranks", "routed"})
    ->Args({1, 0})
    ->Args({32, 0})
    ->Args({32, 1});

// Every token by its ranks: at least 1,500 steps a second.
void BM_MoeStep_RankExact(benchmark::State& state) {
  steps(state, make_rank_exact_moe);
}
BENCHMARK(BM_MoeStep_RankExact)->ArgNames({"ranks", "routed"})->Args({32, 0})->Args({32, 1});

// Draws made beforehand: at least 20 times as many as exact.
void BM_MoeStep_Sampled(benchmark::State& state) {
  steps(state, make_sampled_moe);
}
BENCHMARK(BM_MoeStep_Sampled)->ArgNames({"ranks", "routed"})->Args({1, 0})->Args({32, 1});

}  // namespace
}  // namespace moesim
