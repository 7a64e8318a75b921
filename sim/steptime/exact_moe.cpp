#include <algorithm>
#include <utility>

#include "sim/steptime/capacity_counts.h"
#include "sim/steptime/choice_counts.h"
#include "sim/steptime/moe_stats.h"
#include "sim/steptime/routing_bank.h"
#include "sim/steptime/routing_tables.h"
#include "sim/steptime/step_rows.h"

namespace moesim {
namespace {

/// Every token of every step by itself: its row of the table, its experts at each layer, their
/// ranks.
class ExactMoe final : public MoeModel {
 public:
  explicit ExactMoe(MoeSetup setup)
      : stages_(std::move(setup.stages)),
        shape_(setup.shape),
        tables_(std::move(setup.routing), shape_, setup.seed,
                table_size(shape_, setup.mean_prompt, setup.mean_output), setup.workload,
                setup.capacity && setup.capacity->overflow == Overflow::kNextChoice),
        step_rows_(tables_, setup.workload),
        stats_(empty_stats(shape_, stages_.front().group.ranks(), "exact")) {
    if (setup.capacity && setup.capacity->expert_choice) {
      choice_.emplace(*setup.capacity, shape_);
    } else if (setup.capacity) {
      capacity_.emplace(*setup.capacity, shape_);
    }
    // Experts computed up to their capacity have rows that no token was sent for.
    const bool filled = capacity_ && setup.capacity->overflow == Overflow::kPad;
    load_.emplace(step_load(stages_, shape_, !filled));
    learn_tiers(tables_.table(), stages_);
  }

  [[nodiscard]] bool wants_tokens(std::uint64_t /*step*/) const override { return true; }

  void price(const MoeStep& step, std::span<MoeStageCost> cost) override {
    if (tables_.advance(step.now_ns)) step_rows_.restart();
    const int tokens = step.decode_tokens + step.prompt_tokens;
    step_rows_.list(step);
    load_->clear(static_cast<std::uint32_t>(step.step));
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
        if (!step.idle()) add_record(record_of(one, stats_.ranks, tokens), layer, stats_);
      }
      cost[s] = sum;
    }
  }

  [[nodiscard]] MoeStats stats() const override {
    MoeStats stats = stats_;
    stats.prefill_from_decode = tables_.replay().prefill_from_decode();
    stats.sequence_epochs = tables_.sequence_epochs();
    return stats;
  }
  void set_placement(const ExpertPlacement& placement) override {
    for (MoeStageSpec& stage : stages_) stage.group.set_placement(placement);
  }
  void take_load(std::vector<double>& load) override {
    take_since(stats_.expert_load, taken_, load);
  }

 private:
  /// Padding is computed as the router sends it, capacity or none: it takes no room from tokens of
  /// requests and is not counted as one (serving-semantics 1.8).
  void count() {
    const bool independent = step_rows_.independent();
    if (independent) {
      mix_rows(tables_.table(), mixed_);
      if (tables_.next() != nullptr) mix_rows(*tables_.next(), mixed_next_);
    }
    const RoutingTable& table = independent ? mixed_ : tables_.table();
    const RoutingTable* const next =
        independent && tables_.next() != nullptr ? &mixed_next_ : tables_.next();
    const std::span<const std::uint64_t> rows = independent ? mixed_rows_ : step_rows_.rows();
    const ReplicaRanks& replicas = stages_.front().group.replicas();
    const std::size_t real = step_rows_.real();
    for (MoeLayerStats& layer : stats_.layers)
      layer.padded += real > 0 ? static_cast<double>(rows.size() - real) : 0;
    if (choice_) {
      choice_->add({table, rows, real, step_rows_.by_rank()}, replicas, *load_);
      add_choice(*choice_, 1, static_cast<double>(real), stats_);
      return;
    }
    if (capacity_) {
      capacity_->add({table, next, rows.first(real), step_rows_.by_rank()}, replicas, *load_,
                     stats_.layers);
    } else {
      load_->add(table, rows.first(real), 0, replicas);
    }
    for (int l = 0; l < shape_.layers; ++l)
      add_counts(load_->layer(l).counts, real, shape_.top_k, l, stats_);
    load_->add(table, rows.subspan(real), static_cast<std::uint32_t>(real), replicas);
  }

  /// A row for each layer of each token: a token of such a mixture is a row of its own.
  void mix_rows(const RoutingTable& table, RoutingTable& mixed) {
    const std::span<const StepRows::Key> keys = step_rows_.keys();
    if (mixed.rows() < keys.size()) mixed = RoutingTable(table.shape(), keys.size());
    mixed_rows_.resize(keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const StepRows::Key& key = keys[i];
      for (int layer = 0; layer < shape_.layers; ++layer) {
        const std::uint64_t row =
            tables_.replay().layer_row(key.request, key.prompt, key.index, layer);
        for (int k = 0; k < table.shape().top_k; ++k)
          mixed.set(i, layer, k, table.expert(row, layer, k));
      }
      mixed_rows_[i] = i;
    }
  }

  std::vector<MoeStageSpec> stages_;
  RoutingShape shape_;
  RoutingTables tables_;
  StepRows step_rows_;
  MoeStats stats_;
  std::optional<StepLoad> load_;
  RoutingTable mixed_, mixed_next_;  ///< replay mode `independent`
  std::vector<std::uint64_t> mixed_rows_;
  std::vector<double> taken_;
  std::optional<CapacityCounts> capacity_;
  std::optional<ChoiceCounts> choice_;
};

}  // namespace

std::unique_ptr<MoeModel> make_exact_moe(MoeSetup setup) {
  return std::make_unique<ExactMoe>(std::move(setup));
}

}  // namespace moesim
