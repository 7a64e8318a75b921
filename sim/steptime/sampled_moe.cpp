#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <span>
#include <utility>

#include "sim/base/check.h"
#include "sim/steptime/count_grid.h"
#include "sim/steptime/moe_stats.h"
#include "sim/steptime/routing_bank.h"
#include "sim/steptime/routing_tables.h"
#include "sim/steptime/sampled_check.h"
#include "sim/steptime/sampled_choice.h"
#include "sim/steptime/sampled_traffic.h"

namespace moesim {
namespace {

constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;  // 2^64 / golden ratio: SplitMix64's step
/// Draws of every token count, each of all layers: as many as make kLayers layers, for layers are
/// draws, too.
constexpr int kMinDraws = 8, kMaxDraws = 16, kLayers = 512;
std::size_t draws_of(int layers) {
  const auto wanted = std::bit_floor(static_cast<unsigned>(kLayers / std::max(layers, 1)));
  return static_cast<std::size_t>(std::clamp(static_cast<int>(wanted), kMinDraws, kMaxDraws));
}
/// Token counts with draws of their own: all up to 64, then eight a doubling.
constexpr CountGrid kCounts{.exact_bits = 6, .octave_bits = 3};

/// Expert time from draws of whole steps: each draw routes every token through all layers, prices
/// every layer from where its tokens went and keeps the sums. A step takes the draw its number
/// says; between two token counts the draws of both are interpolated.
///
/// Steps of decodes and steps of prompts have draws of their own, since neighbours in a prompt
/// choose alike; a mixed step is interpolated between both by its share of prompt tokens. Draws are
/// priced with equally many tokens on every rank; where ranks hold more and less, messages are
/// scaled by what that does to the time of some of the draw's layers (SampledTraffic).
class SampledMoe final : public MoeModel {
 public:
  explicit SampledMoe(MoeSetup setup)
      : stages_(std::move(setup.stages)),
        shape_(setup.shape),
        seed_(setup.seed),
        draws_(draws_of(shape_.layers)),
        ends_(request_ends(setup)),
        tables_(std::move(setup.routing), shape_, seed_,
                table_size(shape_, setup.mean_prompt, setup.mean_output), setup.workload),
        stats_(empty_stats(shape_, stages_.front().group.ranks(), "sampled")) {
    one_kind_ = tables_.routing().independent_tokens() || tables_.routing().consecutive_rows();
    if (setup.capacity) choice_.emplace(*setup.capacity, shape_, seed_);
    for (const MoeStageSpec& stage : stages_) copies_ = copies_ || stage.group.needs_copies();
    make_banks();
    learn_tiers(tables_.table(), stages_);
    // A tier's policies remember what they saw: a step looked at twice would change the run.
    bool tiers = false;
    for (MoeStageSpec& stage : stages_) tiers = tiers || stage.group.tier() != nullptr;
    // Experts that choose have equal loads in every draw.
    if (!tiers && !choice_) check_.emplace(tables_, setup.workload, shape_, stages_);
  }

  [[nodiscard]] bool wants_tokens(std::uint64_t step) const override {
    return check_ && SampledCheck::due(step);
  }

  void price(const MoeStep& step, std::span<MoeStageCost> cost) override {
    if (tables_.outdated(step.now_ns)) restart(step.now_ns);
    const int tokens = step.decode_tokens + step.prompt_tokens;
    tokens_[0] += one_kind_ ? step.real_decodes + step.real_prompts : step.real_decodes;
    tokens_[1] += one_kind_ ? 0 : step.real_prompts;
    padded_ += step.idle() ? 0 : tokens - step.real_decodes - step.real_prompts;
    for (MoeStageCost& stage : cost) stage = {};
    real_ = step.real_decodes + step.real_prompts;
    data_ranks_ = static_cast<int>(step.works.size());
    note_holders(step.held, tokens);
    uneven_held_ = evenly_held(step.held) ? std::span<const double>() : step.held;
    const double prompts =
        one_kind_ || tokens == 0 ? 0 : static_cast<double>(step.prompt_tokens) / tokens;
    const bool checked = check_ && check_->begin(step);
    const auto draw = static_cast<std::size_t>(mix64(step.step * kGolden + seed_) % draws_);
    if (prompts < 1) add(0, tokens, draw, 1 - prompts, cost);
    if (prompts > 0) add(1, tokens, draw, prompts, cost);
    if (checked) check_->finish(step, stages_, stats_.error);
  }

  [[nodiscard]] MoeStats stats() const override {
    MoeStats stats = stats_;
    for (const auto& pools : pools_) {
      for (const Pool& pool : pools) count(pool, stats);
    }
    add_tokens(tokens_, stats.expert_load);
    for (int l = 0; l < shape_.layers; ++l) {
      MoeLayerStats& layer = stats.layers[static_cast<std::size_t>(l)];
      layer.tokens = all_tokens_ + tokens_[0] + tokens_[1];
      if (!choice_) layer.assignments = layer.tokens * shape_.top_k;
      layer.padded = padded_;
    }
    stats.prefill_from_decode = !one_kind_ && tables_.replay().prefill_from_decode();
    stats.sequence_epochs = tables_.sequence_epochs();
    return stats;
  }

  void set_placement(const ExpertPlacement& placement) override {
    flush();
    for (MoeStageSpec& stage : stages_) stage.group.set_placement(placement);
    make_banks();
  }

  void take_load(std::vector<double>& load) override {
    flush();
    take_since(stats_.expert_load, taken_, load);
  }

 private:
  /// Draws of one token count.
  struct Pool {
    std::array<std::uint32_t, kMaxDraws> uses{};
    std::array<double, kMaxDraws> extent{};     ///< uses, as parts of steps that make their tokens
    std::vector<MoeStageCost> costs;            ///< [draw][stage]
    std::vector<MoeLayerRecord> records;        ///< [draw][layer]
    SampledTraffic traffic;                     ///< [draw][stage][watched layer]
    std::vector<SampledChoice::Share> choices;  ///< of draws, where experts choose
  };
  using Tokens = std::array<double, 2>;

  void make_banks() {
    banks_.clear();
    const ReplicaRanks* const replicas = &stages_.front().group.replicas();
    for (const auto kind : {TokenKind::kDecode, TokenKind::kPrompt})
      banks_.push_back({{row_draw(tables_, kind, ends_), copies_, seed_}, replicas});
    load_.emplace(step_load(stages_, shape_));
    share_[0].clear();
    share_[1].clear();
  }

  /// Another table or another mix of domains. What is known is summed up while the table it is
  /// from is still there.
  void restart(std::int64_t now_ns) {
    flush();
    if (tables_.advance(now_ns) && check_) check_->restart();
    make_banks();
  }

  /// Moves what is known of the current table and placement into the run's statistics.
  void flush() {
    for (auto& pools : pools_) {
      for (const Pool& pool : pools) count(pool, stats_);
      pools.clear();
    }
    add_tokens(tokens_, stats_.expert_load);
    all_tokens_ += tokens_[0] + tokens_[1];
    tokens_ = {};
  }

  /// Mean assignments of a token, [layer][expert]: from the bank's largest blocks.
  const std::vector<double>& share(std::size_t kind) const {
    std::vector<double>& share = share_[kind];
    if (!share.empty()) return share;
    share.assign(stats_.expert_load.size(), 0.0);
    constexpr int kTokens = 1 << RoutingBank::kLevels;
    constexpr int kShareDraws = RoutingBank::kBlocks;
    const auto experts = static_cast<std::size_t>(shape_.experts);
    for (std::uint64_t d = 0; d < kShareDraws; ++d) {
      banks_[kind].draw(kTokens, d, *load_);
      for (std::size_t l = 0; l < static_cast<std::size_t>(shape_.layers); ++l) {
        const auto counts = load_->layer(static_cast<int>(l)).counts;
        for (std::size_t e = 0; e < experts; ++e)
          share[l * experts + e] += counts[e] / (static_cast<double>(kTokens) * kShareDraws);
      }
    }
    return share;
  }

  void add_tokens(const Tokens& tokens, std::vector<double>& load) const {
    if (choice_) return;  // said by the draws themselves
    for (std::size_t kind = 0; kind < 2; ++kind) {
      if (tokens[kind] <= 0) continue;
      const std::vector<double>& mean = share(kind);
      for (std::size_t i = 0; i < load.size(); ++i) load[i] += mean[i] * tokens[kind];
    }
  }

  void count(const Pool& pool, MoeStats& stats) const {
    if (pool.records.empty()) return;
    for (const SampledChoice::Share& share : pool.choices) add_share(share, stats);
    const auto layers = static_cast<std::size_t>(shape_.layers);
    for (std::size_t d = 0; d < draws_; ++d) {
      if (pool.extent[d] == 0) continue;
      for (std::size_t l = 0; l < layers; ++l)
        add_record(pool.records[d * layers + l], pool.uses[d], pool.extent[d], static_cast<int>(l),
                   stats);
    }
  }

  /// Who holds tokens before a dispatch: the ranks of a TP group may all hold the same ones.
  void note_holders(std::span<const double> held, int tokens) {
    if (tokens == 0) return;
    double sum = 0;
    for (const double h : held) sum += h;
    held_.resize(held.size());
    holders_ = std::max(1.0, std::round(sum / tokens));
  }

  void add(std::size_t kind, int tokens, std::size_t draw, double weight,
           std::span<MoeStageCost> cost) {
    if (tokens <= 0) return;
    const CountGrid::Neighbours near = kCounts.at(tokens);
    auto& pools = pools_[kind];
    if (pools.size() < near.slot + 2) pools.resize(near.slot + 2);
    const double part = near.part(tokens);
    const auto one = [&, all = tokens](int of, std::size_t slot, double share) {
      scaled_held_.assign(uneven_held_.begin(), uneven_held_.end());
      for (double& held : scaled_held_) held *= static_cast<double>(of) / all;
      add_part(kind, of, slot, draw, weight * share, cost);
      if (real_ > 0) pools[slot].extent[draw] += weight * share;
    };
    one(near.low, near.slot, 1 - part);
    if (part > 0) one(near.high, near.slot + 1, part);
    // What is no matter of tokens follows the nearer count; of a mixed step, the kind it has more
    // of.
    if (real_ == 0 || weight < 0.5 || (weight == 0.5 && kind != 0)) return;
    Pool& nearer = pools[near.slot + (part < 0.5 ? 0 : 1)];
    ++nearer.uses[draw];
    if (choice_) nearer.choices[choice_of(draw)].tokens += real_;
  }

  /// Draws that share one of the choices of experts follow each other.
  [[nodiscard]] std::size_t choice_of(std::uint64_t draw) const {
    return draw * SampledChoice::kDraws / draws_;
  }

  void add_part(std::size_t kind, int tokens, std::size_t slot, std::size_t draw, double weight,
                std::span<MoeStageCost> cost) {
    const Pool& pool = made(kind, tokens, slot);
    std::size_t watched = draw * pool.traffic.size() / draws_;
    for (std::size_t s = 0; s < cost.size(); ++s) {
      MoeStageCost one = pool.costs[draw * stages_.size() + s];
      const MoeStageSpec& stage = stages_[s];
      const std::size_t count = watched_layers(stage);
      SampledCheck::Scale scale;
      if (!scaled_held_.empty() && count > 0) {
        const auto [dispatch, combine] =
            pool.traffic.ratio(watched, count, stage.group, scaled_held_);
        scale = {dispatch, combine};
        one.dispatch_ns *= dispatch;
        one.combine_ns *= combine;
      }
      watched += count;
      if (check_) add_checked(stage, pool, draw, weight, scale);
      add_cost(one, weight, cost[s]);
    }
  }

  /// What the draw says of the layers of the stage that are counted exactly in this step, if any.
  void add_checked(const MoeStageSpec& stage, const Pool& pool, std::size_t draw, double weight,
                   const SampledCheck::Scale& scale) {
    for (const int layer : check_->layers()) {
      const int own = layer - stage.first;
      if (own < 0 || own >= static_cast<int>(stage.class_of.size())) continue;
      const auto at = draw * static_cast<std::size_t>(shape_.layers);
      check_->add_drawn(pool.records[at + static_cast<std::size_t>(layer)], weight, scale);
    }
  }

  /// Layers of a stage whose traffic is kept: all are alike where everything goes everywhere.
  static std::size_t watched_layers(const MoeStageSpec& stage) {
    if (stage.group.dispatch() == nullptr) return 0;
    const std::size_t most = stage.group.routed() ? SampledTraffic::kLayers : 1;
    return std::min(most, stage.class_of.size());
  }
  /// Whether layer `index` of a stage is one of them: evenly spaced, others in every draw.
  static bool watched(const MoeStageSpec& stage, std::size_t draw, std::size_t index) {
    const std::size_t layers = stage.class_of.size(), count = watched_layers(stage);
    for (std::size_t i = 0; i < count; ++i) {
      if ((draw + i * layers / count) % layers == index) return true;
    }
    return false;
  }

  /// Exchangeable experts differ by chance alone, and chance shrinks with the tokens of a step; a
  /// draw's does not, since it takes its tokens from R rows of a table and B tokens of a bank:
  /// variance ~ 1/min(n, B) + 1/R instead of 1/n. Deviations from the mean are scaled to that.
  void even_out(int tokens) {
    const auto rows = static_cast<double>(tables_.table().rows());
    const double bank =
        std::min<double>(tokens, RoutingBank::kBlocks * (1 << RoutingBank::kLevels));
    const double scale = std::sqrt((1.0 / tokens) / (1 / bank + 1 / rows));
    load_->even_out(scale, stages_.front().group.replicas());
  }

  const Pool& made(std::size_t kind, int tokens, std::size_t slot) {
    Pool& pool = pools_[kind][slot];
    if (!pool.costs.empty()) return pool;
    std::ranges::fill(held_, holders_ * tokens / static_cast<double>(held_.size()));
    pool.records.reserve(draws_ * static_cast<std::size_t>(shape_.layers));
    for (MoeStageSpec& stage : stages_) {
      if (stage.group.tier() != nullptr) stage.group.tier()->reset();
    }
    Rng others(seed_, "tier", kind << 32 | static_cast<std::uint64_t>(tokens));
    for (std::uint64_t d = 0; d < draws_; ++d) {
      use_others(kind, tokens, others);
      if (!choice_) {
        banks_[kind].draw(tokens, d, *load_);
        if (tables_.routing().exchangeable()) even_out(tokens);
      } else if (choice_of(d) == pool.choices.size()) {
        const auto which = kind == 0 ? TokenKind::kDecode : TokenKind::kPrompt;
        pool.choices.push_back(choice_->draw(row_draw(tables_, which, ends_), tokens, choice_of(d),
                                             data_ranks_, stages_.front().group.replicas(),
                                             *load_));
      }
      for (MoeStageSpec& stage : stages_) price_draw(d, tokens, stage, pool);
    }
    return pool;
  }

  void price_draw(std::size_t draw, int tokens, MoeStageSpec& stage, Pool& pool) {
    MoeStageCost sum;
    for (std::size_t l = 0; l < stage.class_of.size(); ++l) {
      const int layer = stage.first + static_cast<int>(l);
      const LayerClass& layers = stage.classes[static_cast<std::size_t>(stage.class_of[l])];
      const MoeLayerCost one = stage.group.cost(layers, layer, tokens, held_, load_->layer(layer));
      add_cost(stage_cost(one), 1, sum);
      if (watched(stage, draw, l)) pool.traffic.add(stage.group, one);
      pool.records.push_back(record_of(one, stats_.ranks, tokens));
    }
    pool.costs.push_back(sum);
  }

  /// Steps between two draws, for policies that remember: chosen at random, so that the state a
  /// draw meets is that of a long run of unrelated steps. What neighbouring steps have in common is
  /// lost; exact replay keeps it.
  void use_others(std::size_t kind, int tokens, Rng& rng) {
    constexpr int kOthers = 8;
    if (stages_.front().group.tier() == nullptr || !stages_.front().group.tier()->learns()) return;
    for (int i = 0; i < kOthers; ++i) {
      banks_[kind].draw(tokens, rng.next() % draws_, *load_);
      for (MoeStageSpec& stage : stages_) {
        for (std::size_t l = 0; l < stage.class_of.size(); ++l) {
          const int layer = stage.first + static_cast<int>(l);
          stage.group.visit(layer, load_->layer(layer));
        }
      }
    }
  }

  std::vector<MoeStageSpec> stages_;
  RoutingShape shape_;
  std::uint64_t seed_;
  std::size_t draws_;
  RequestEnds ends_;
  RoutingTables tables_;
  MoeStats stats_;
  bool one_kind_ = false, copies_ = false;
  mutable std::vector<RoutingBank> banks_;  ///< decodes, prompts
  mutable std::optional<StepLoad> load_;
  mutable std::array<std::vector<double>, 2> share_;
  std::array<std::vector<Pool>, 2> pools_;  ///< by kind: [slot]
  std::vector<double> held_;                ///< [rank] of a draw
  std::span<const double> uneven_held_;     ///< [rank] of the step; empty: all hold as many
  std::vector<double> scaled_held_;         ///< the same, for the tokens of a draw
  double holders_ = 1;                      ///< ranks that hold each token
  Tokens tokens_{};                         ///< since the last flush, by kind
  double all_tokens_ = 0;                   ///< before it
  int real_ = 0, data_ranks_ = 1;           ///< of the step: tokens of requests
  std::optional<SampledChoice> choice_;     ///< where experts choose their tokens
  std::optional<SampledCheck> check_;       ///< null: experts outside the GPU
  double padded_ = 0;                       ///< beside tokens, of the whole run
  std::vector<double> taken_;
};

}  // namespace

std::unique_ptr<MoeModel> make_sampled_moe(MoeSetup setup) {
  return std::make_unique<SampledMoe>(std::move(setup));
}

}  // namespace moesim
