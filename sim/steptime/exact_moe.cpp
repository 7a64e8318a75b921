#include <algorithm>
#include <utility>

#include "scenarios/workload.h"
#include "sim/base/check.h"
#include "sim/steptime/capacity_counts.h"
#include "sim/steptime/moe_stats.h"
#include "sim/steptime/routing_bank.h"
#include "sim/steptime/routing_tables.h"
#include "sim/steptime/step_time.h"

namespace moesim {
namespace {

/// Which prompt tokens of a request belong to shared blocks: those take rows keyed by the block.
class PromptBlocks {
 public:
  explicit PromptBlocks(const Workload* workload) : workload_(workload) {}
  /// Block of prompt token `at`, and how far into it; false without one.
  bool find(std::uint32_t request, std::uint32_t at, std::uint32_t& block, std::uint32_t& offset) {
    if (workload_ == nullptr || workload_->chain_begin.empty()) return false;
    const auto first = workload_->chain.begin() + workload_->chain_begin[request];
    const auto last = workload_->chain.begin() + workload_->chain_begin[request + 1];
    const auto found = std::upper_bound(
        first, last, at, [](std::uint32_t t, const ChainElement& e) { return t < e.end; });
    if (found == last) return false;
    block = found->id;
    offset = at - (found == first ? 0 : (found - 1)->end);
    return true;
  }

 private:
  const Workload* workload_;
};

/// Next choices are listed behind the top-k: a token has as many of them as choices.
RoutingShape listed_shape(const MoeSetup& setup) {
  RoutingShape shape = setup.shape;
  const bool next = setup.capacity && setup.capacity->overflow == Overflow::kNextChoice;
  if (next) shape.top_k = std::min(2 * shape.top_k, shape.experts);
  return shape;
}

/// Every token of every step by itself: its row of the table, its experts at each layer, their
/// ranks. Padding, and the dummy token of ranks without work, take rows of their own.
class ExactMoe final : public MoeModel {
 public:
  explicit ExactMoe(MoeSetup setup)
      : stages_(std::move(setup.stages)),
        shape_(setup.shape),
        workload_(setup.workload),
        blocks_(setup.workload),
        tables_(std::move(setup.routing), listed_shape(setup), setup.seed,
                table_size(shape_, setup.mean_prompt, setup.mean_output)),
        stats_(empty_stats(shape_, stages_.front().group.ranks(), "exact")),
        balanced_(tables_.routing().consecutive_rows()) {
    if (setup.capacity) capacity_.emplace(*setup.capacity, shape_);
    for (const MoeStageSpec& stage : stages_) copies_ = copies_ || stage.group.needs_copies();
    const int ranks = copies_ ? stages_.front().group.ranks() : 0;
    const int nodes = copies_ ? stages_.front().group.nodes() : 0;
    load_ = std::make_unique<StepLoad>(shape_.layers, shape_.experts, ranks, nodes);
    learn_tiers(tables_.table(), stages_);
  }

  [[nodiscard]] bool wants_tokens() const override { return true; }

  void price(const MoeStep& step, std::span<MoeStageCost> cost) override {
    if (tables_.advance(step.now_ns)) walked_ = false;
    const int tokens = step.decode_tokens + step.prompt_tokens;
    list_rows(step, static_cast<std::size_t>(tokens));
    count();
    for (std::size_t s = 0; s < stages_.size(); ++s) {
      MoeStageSpec& stage = stages_[s];
      MoeStageCost sum;
      for (std::size_t l = 0; l < stage.class_of.size(); ++l) {
        const int layer = stage.first + static_cast<int>(l);
        const LayerClass& layers = stage.classes[static_cast<std::size_t>(stage.class_of[l])];
        const MoeLayerCost one =
            stage.group.cost(layers, layer, tokens, step.held, load_->layer(layer));
        add_cost(stage_cost(one), 1, sum);
        remember(one, layer);
      }
      cost[s] = sum;
    }
  }

  [[nodiscard]] MoeStats stats() const override {
    MoeStats stats = stats_;
    stats.prefill_from_decode = tables_.replay().prefill_from_decode();
    return stats;
  }
  void set_placement(const ExpertPlacement& placement) override {
    for (MoeStageSpec& stage : stages_) stage.group.set_placement(placement);
  }
  void take_load(std::vector<double>& load) override {
    load = stats_.expert_load;
    if (!taken_.empty()) {
      for (std::size_t i = 0; i < load.size(); ++i) load[i] -= taken_[i];
    }
    taken_ = stats_.expert_load;
  }

 private:
  /// Rows of the step's tokens; `independent` replay keeps the tokens instead, for a row per layer.
  void list_rows(const MoeStep& step, std::size_t tokens) {
    rows_.clear();
    keys_.clear();
    by_rank_.clear();
    for (const StepWork& work : step.works) {
      const std::size_t before = rows_.size();
      for (const RoutedToken& token : work.tokens) add(token.request, token.prompt, token.index);
      for (const PromptChunk& chunk : work.chunks) add_chunk(chunk);
      by_rank_.push_back(rows_.size() - before);
    }
    MOESIM_CHECK(rows_.size() <= tokens, "a step has room for the tokens in it");
    // Padding and dummy tokens carry what earlier steps left in their slots: tokens of their own.
    while (rows_.size() < tokens) {
      const std::uint64_t key = mix64(step.step << 20 | rows_.size());
      rows_.push_back(key % tables_.table().rows());
      keys_.push_back(
          {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32), false});
    }
    if (!balanced_) return;
    // Neighbours in a step, and from step to step while as many tokens run: a function of the step,
    // since instances that share this run in any order.
    const std::uint64_t first = step.step * rows_.size();
    for (std::size_t i = 0; i < rows_.size(); ++i) rows_[i] = (first + i) % tables_.table().rows();
  }

  void add_chunk(const PromptChunk& chunk) {
    const auto first = static_cast<std::uint32_t>(chunk.context);
    const std::uint32_t prompt = workload_ == nullptr
                                     ? first + static_cast<std::uint32_t>(chunk.tokens)
                                     : workload_->prompt_tokens[chunk.request];
    for (std::uint32_t i = 0; i < static_cast<std::uint32_t>(chunk.tokens); ++i) {
      const std::uint32_t at = first + i;
      // A preempted request computes its output again: those tokens take their own rows.
      if (at < prompt) {
        add(chunk.request, true, at);
      } else {
        add(chunk.request, false, at - prompt);
      }
    }
  }

  void add(std::uint32_t request, bool prompt, std::uint32_t index) {
    const RoutingReplay& replay = tables_.replay();
    keys_.push_back({request, index, prompt});
    std::uint32_t block = 0, offset = 0;
    if (prompt && blocks_.find(request, index, block, offset)) {
      rows_.push_back(replay.block_row(block, offset));
      return;
    }
    if (request != walk_.request || !walked_) {
      walk_ = replay.walk(request);
      walked_ = true;
    }
    rows_.push_back(prompt ? replay.prompt_row(walk_, index) : replay.decode_row(walk_, index));
  }

  void count() {
    load_->clear();
    counted_ = rows_.size();
    const ReplicaRanks& replicas = stages_.front().group.replicas();
    const bool independent = tables_.replay().mode() == RoutingReplay::Mode::kIndependent;
    const RoutingTable& table = independent ? mix_rows() : tables_.table();
    if (!capacity_) return load_->add(table, rows_, 0, replicas);
    // Padding has no tokens to drop.
    counted_ = 0;
    for (const std::size_t count : by_rank_) counted_ += count;
    capacity_->add(table, std::span(rows_).first(counted_), by_rank_, replicas, *load_,
                   stats_.layers);
  }

  /// A row for each layer of each token: a token of such a mixture is a row of its own.
  const RoutingTable& mix_rows() {
    const RoutingTable& table = tables_.table();
    if (mixed_.rows() < rows_.size()) mixed_ = RoutingTable(table.shape(), rows_.size());
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const Key& key = keys_[i];
      for (int layer = 0; layer < shape_.layers; ++layer) {
        const std::uint64_t row =
            tables_.replay().layer_row(key.request, key.prompt, key.index, layer);
        for (int k = 0; k < table.shape().top_k; ++k)
          mixed_.set(i, layer, k, table.expert(row, layer, k));
      }
      rows_[i] = i;
    }
    return mixed_;
  }

  void remember(const MoeLayerCost& cost, int layer) {
    add_record(record_of(cost, stats_.ranks), 1, layer, stats_);
    MoeLayerStats& sums = stats_.layers[static_cast<std::size_t>(layer)];
    const auto tokens = static_cast<double>(counted_);
    sums.tokens += tokens;
    sums.assignments += tokens * shape_.top_k;
    const auto counts = load_->layer(layer).counts;
    double* const load = stats_.expert_load.data() +
                         static_cast<std::size_t>(layer) * static_cast<std::size_t>(shape_.experts);
    for (std::size_t e = 0; e < counts.size(); ++e) load[e] += counts[e];
  }

  struct Key {
    std::uint32_t request = 0, index = 0;
    bool prompt = false;
  };
  std::vector<MoeStageSpec> stages_;
  RoutingShape shape_;
  const Workload* workload_;
  PromptBlocks blocks_;
  RoutingTables tables_;
  MoeStats stats_;
  bool balanced_ = false, copies_ = false, walked_ = false;
  RoutingReplay::Walk walk_{};
  std::unique_ptr<StepLoad> load_;
  std::vector<std::uint64_t> rows_;
  std::vector<Key> keys_;
  RoutingTable mixed_;       ///< replay mode `independent`
  std::size_t counted_ = 0;  ///< tokens of the step that have a place in the statistics
  std::vector<double> taken_;
  std::optional<CapacityCounts> capacity_;
  std::vector<std::size_t> by_rank_;  ///< rows of each data-parallel rank, without padding
};

}  // namespace

std::unique_ptr<MoeModel> make_exact_moe(MoeSetup setup) {
  return std::make_unique<ExactMoe>(std::move(setup));
}

}  // namespace moesim
