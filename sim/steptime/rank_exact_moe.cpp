#include <algorithm>
#include <utility>

#include "scenarios/routing_counts.h"
#include "sim/base/check.h"
#include "sim/steptime/moe_stats.h"
#include "sim/steptime/rank_rows.h"
#include "sim/steptime/rank_times.h"
#include "sim/steptime/routing_tables.h"
#include "sim/steptime/step_rows.h"

namespace moesim {
namespace {

/// Steps between two in which tokens are counted expert by expert, for the statistics alone: the
/// imbalance over experts of the last such step stands for those up to the next.
constexpr std::uint64_t kCountedSteps = 128;

/// Every token of every step by itself, like exact replay, but by its ranks: what each rank has to
/// compute and whom its tokens are sent to is exact, which of a rank's experts it is follows from
/// its load (RankTimes). Experts stay where they are, one copy each.
class RankExactMoe final : public MoeModel {
 public:
  explicit RankExactMoe(MoeSetup setup)
      : stages_(std::move(setup.stages)),
        shape_(setup.shape),
        seed_(setup.seed),
        ends_(request_ends(setup)),
        tables_(std::move(setup.routing), shape_, seed_,
                table_size(shape_, setup.mean_prompt, setup.mean_output), setup.workload),
        step_rows_(tables_, setup.workload),
        stats_(empty_stats(shape_, stages_.front().group.ranks(), "rank_exact")) {
    MOESIM_CHECK(!step_rows_.independent() && !setup.capacity, "tokens are rows of the table");
    MOESIM_CHECK(tables_.replay().stretches().size() == 1, "draws are of all requests alike");
    one_kind_ = tables_.routing().independent_tokens() || tables_.routing().consecutive_rows();
    for (MoeStageSpec& stage : stages_) {
      copies_ = copies_ || stage.group.needs_copies();
      times_.emplace_back(stage);
    }
    costs_.resize(static_cast<std::size_t>(stages_.front().group.ranks()));
    counts_.resize(stats_.expert_load.size());
    imbalance_.assign(static_cast<std::size_t>(shape_.layers), 1.0);
    restart();
  }

  [[nodiscard]] bool wants_tokens(std::uint64_t /*step*/) const override { return true; }

  void price(const MoeStep& step, std::span<MoeStageCost> cost) override {
    if (tables_.outdated(step.now_ns)) {
      flush(stats_.expert_load);  // while the table that its rows are of is still there
      tables_.advance(step.now_ns);
      restart();
    }
    step_rows_.list(step);
    const std::span<const std::uint64_t> rows = step_rows_.rows();
    for (const std::uint64_t row : rows.first(step_rows_.real())) ++uses_[row];
    rank_rows_->sum(rows);
    if (step_++ % kCountedSteps == 0) count(rows);
    for (std::size_t s = 0; s < stages_.size(); ++s) price_stage(s, step, cost[s]);
  }

  [[nodiscard]] MoeStats stats() const override {
    MoeStats stats = stats_;
    add_uses(stats.expert_load);
    stats.prefill_from_decode = tables_.replay().prefill_from_decode();
    stats.sequence_epochs = tables_.sequence_epochs();
    return stats;
  }

  void set_placement(const ExpertPlacement& placement) override {
    for (MoeStageSpec& stage : stages_) stage.group.set_placement(placement);
    flush(stats_.expert_load);
    restart();
  }

  void take_load(std::vector<double>& load) override {
    flush(stats_.expert_load);
    take_since(stats_.expert_load, taken_, load);
  }

 private:
  /// Another table, or another placement.
  void restart() {
    step_rows_.restart();
    rank_rows_ =
        std::make_unique<RankRows>(tables_.table(), stages_.front().group.replicas(), copies_);
    for (RankTimes& times : times_)
      times.learn({row_draw(tables_, TokenKind::kDecode, ends_),
                   row_draw(tables_, TokenKind::kPrompt, ends_)},
                  seed_);
    uses_.assign(tables_.table().rows(), 0);
  }

  void price_stage(std::size_t number, const MoeStep& step, MoeStageCost& sum) {
    MoeStageSpec& stage = stages_[number];
    const int tokens = step.decode_tokens + step.prompt_tokens;
    const double prompts =
        one_kind_ || tokens == 0 ? 0 : static_cast<double>(step.prompt_tokens) / tokens;
    const auto real = static_cast<double>(step_rows_.real());
    sum = {};
    for (std::size_t l = 0; l < stage.class_of.size(); ++l) {
      const int layer = stage.first + static_cast<int>(l);
      const std::span<const std::uint32_t> loads = rank_rows_->loads(layer);
      times_[number].price(static_cast<int>(l), loads, {tokens, prompts}, step.step ^ seed_,
                           costs_);
      MoeLayerCost one =
          stage.group.cost(costs_, loads, step.held,
                           {{}, rank_rows_->rank_copies(layer), rank_rows_->node_copies(layer)});
      one.expert_imbalance = imbalance_[static_cast<std::size_t>(layer)];
      add_cost(stage_cost(one), 1, sum);
      if (step.idle()) continue;
      add_record(record_of(one, stats_.ranks, tokens), layer, stats_);
      MoeLayerStats& sums = stats_.layers[static_cast<std::size_t>(layer)];
      sums.tokens += real;
      sums.assignments += real * shape_.top_k;
      sums.padded += tokens - real;
    }
  }

  void count(std::span<const std::uint64_t> rows) {
    std::ranges::fill(counts_, 0U);
    count_rows(tables_.table(), rows, counts_);
    const auto experts = static_cast<std::size_t>(shape_.experts);
    const double mean = static_cast<double>(rows.size()) * shape_.top_k / shape_.experts;
    for (std::size_t l = 0; l < imbalance_.size(); ++l) {
      const auto most = std::ranges::max(std::span(counts_).subspan(l * experts, experts));
      imbalance_[l] = mean > 0 ? most / mean : 1;
    }
  }

  /// Adds the assignments of all rows used to `load`, [layer][expert].
  void add_uses(std::vector<double>& load) const {
    const RoutingTable& table = tables_.table();
    for (std::uint64_t row = 0; row < uses_.size(); ++row) {
      if (uses_[row] == 0) continue;
      for (int l = 0; l < shape_.layers; ++l) {
        double* const experts =
            load.data() + static_cast<std::size_t>(l) * static_cast<std::size_t>(shape_.experts);
        for (int k = 0; k < shape_.top_k; ++k)
          experts[table.expert(row, l, k)] += static_cast<double>(uses_[row]);
      }
    }
  }
  void flush(std::vector<double>& load) {
    add_uses(load);
    std::ranges::fill(uses_, 0U);
  }

  std::vector<MoeStageSpec> stages_;
  RoutingShape shape_;
  std::uint64_t seed_;
  RequestEnds ends_;
  RoutingTables tables_;
  StepRows step_rows_;
  MoeStats stats_;
  bool one_kind_ = false, copies_ = false;
  std::unique_ptr<RankRows> rank_rows_;
  std::vector<RankTimes> times_;     ///< [stage]
  std::vector<RankCost> costs_;      ///< [rank] of a layer
  std::vector<std::uint64_t> uses_;  ///< [row] tokens that took it, since the last flush
  std::vector<std::uint32_t> counts_;
  std::vector<double> imbalance_;  ///< [layer] most over mean of the experts
  std::uint64_t step_ = 0;
  std::vector<double> taken_;
};

}  // namespace

std::unique_ptr<MoeModel> make_rank_exact_moe(MoeSetup setup) {
  return std::make_unique<RankExactMoe>(std::move(setup));
}

}  // namespace moesim
