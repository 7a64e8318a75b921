#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <utility>

#include "scenarios/step_replay.h"
#include "sim/steptime/moe_stats.h"
#include "sim/steptime/routing_bank.h"
#include "sim/steptime/routing_tables.h"

namespace moesim {
namespace {

/// Tokens of which a guess is made who goes where; of larger steps so many stand for all: copies to
/// a rank that every second token reaches are then known to 3 % in a layer.
constexpr int kDealt = 1024;

/// Steps that take the expert counts of recorded steps. Counts do not say which ranks one token
/// reaches: slots are dealt to tokens at random, and the report calls the dispatch estimated.
class StepMoe final : public MoeModel {
 public:
  StepMoe(MoeSetup setup, std::unique_ptr<StepReplay> steps)
      : stages_(std::move(setup.stages)),
        shape_(setup.shape),
        steps_(std::move(steps)),
        stats_(empty_stats(shape_, stages_.front().group.ranks(), "steps")) {
    bool tiers = false;
    for (MoeStageSpec& stage : stages_) tiers = tiers || stage.group.tier() != nullptr;
    load_.emplace(step_load(stages_, shape_));
    stats_.dispatch_estimated = !load_->copies().empty();
    if (!tiers) return;
    const TableSize size = table_size(shape_, setup.mean_prompt, setup.mean_output);
    learn_tiers(setup.routing->table(shape_, size, setup.seed, 0), stages_);
  }

  void price(const MoeStep& step, std::span<MoeStageCost> cost) override {
    const int tokens = step.decode_tokens + step.prompt_tokens;
    const int real = step.real_decodes + step.real_prompts;
    const double share = tokens == 0 ? 0 : static_cast<double>(real) / tokens;
    load_->clear(static_cast<std::uint32_t>(step.step));
    for (std::size_t s = 0; s < stages_.size(); ++s) {
      MoeStageSpec& stage = stages_[s];
      MoeStageCost sum;
      for (std::size_t l = 0; l < stage.class_of.size(); ++l) {
        const int layer = stage.first + static_cast<int>(l);
        count(step.step, layer, tokens);
        const LayerClass& layers = stage.classes[static_cast<std::size_t>(stage.class_of[l])];
        LayerLoad load = load_->layer(layer);
        if (tokens > kDealt) load.slots = {};  // those dealt stand for others
        const MoeLayerCost one = stage.group.cost(layers, layer, tokens, step.held, load);
        add_cost(stage_cost(one), 1, sum);
        if (step.idle()) continue;
        add_record(record_of(one, stats_.ranks, tokens), layer, stats_);
        add_counts(load.counts, static_cast<std::size_t>(real), shape_.top_k, layer, stats_, share);
        stats_.layers[static_cast<std::size_t>(layer)].padded += tokens - real;
      }
      cost[s] = sum;
    }
  }

  [[nodiscard]] MoeStats stats() const override { return stats_; }
  void set_placement(const ExpertPlacement& placement) override {
    for (MoeStageSpec& stage : stages_) stage.group.set_placement(placement);
  }
  void take_load(std::vector<double>& load) override {
    take_since(stats_.expert_load, taken_, load);
  }

 private:
  void count(std::uint64_t step, int layer, int tokens) {
    const auto experts = static_cast<std::size_t>(shape_.experts);
    const auto at = static_cast<std::size_t>(layer);
    const auto counts = load_->counts().subspan(at * experts, experts);
    if (tokens == 0) return;
    steps_->counts(step, layer, tokens, counts);
    if (!stats_.dispatch_estimated) return;
    const int dealt = std::min(tokens, kDealt);
    fewer_.assign(counts.begin(), counts.end());
    steps_->shrink(fewer_, tokens, dealt);
    placed_.resize(static_cast<std::size_t>(dealt) * static_cast<std::size_t>(shape_.top_k));
    steps_->deal(step, layer, fewer_, placed_);
    const ReplicaRanks& replicas = stages_.front().group.replicas();
    replicas.count_placed(placed_, shape_.top_k, layer, load_->key(), load_->copies(),
                          load_->slots());
    if (dealt == tokens) return;
    const auto width = static_cast<std::size_t>(replicas.ranks() + replicas.nodes());
    const double scale = static_cast<double>(tokens) / dealt;
    for (std::uint32_t& copies : load_->copies().subspan(at * width, width))
      copies = static_cast<std::uint32_t>(std::lround(copies * scale));
  }

  std::vector<MoeStageSpec> stages_;
  RoutingShape shape_;
  std::unique_ptr<StepReplay> steps_;
  MoeStats stats_;
  std::optional<StepLoad> load_;
  std::vector<std::uint32_t> fewer_;
  std::vector<int> placed_;  ///< [token][top_k]
  std::vector<double> taken_;
};

}  // namespace

std::unique_ptr<MoeModel> make_step_moe(MoeSetup setup, std::unique_ptr<StepReplay> steps) {
  return std::make_unique<StepMoe>(std::move(setup), std::move(steps));
}

}  // namespace moesim
