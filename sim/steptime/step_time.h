#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "models/family.h"
#include "models/memory.h"
#include "models/placement.h"
#include "scenarios/expert_routing.h"
#include "scenarios/scenario.h"
#include "sim/steptime/eplb_control.h"
#include "sim/steptime/expert_pool.h"
#include "sim/steptime/kernel_model.h"
#include "sim/steptime/moe_model.h"

namespace moesim {

inline constexpr std::size_t kMaxKvGroups = 8;

/// Consecutive prompt tokens of one request in one step.
struct PromptChunk {
  std::uint32_t request = 0;
  std::int32_t tokens = 0;   ///< computed in this step
  std::int32_t context = 0;  ///< already computed or cached before it
  bool completes = false;    ///< the prompt ends here: a token is sampled
};

/// A decoding sequence of a step: its routing is keyed by these two (routing-traces.md 3).
struct RoutedToken {
  std::uint32_t request = 0;
  std::uint32_t index = 0;  ///< output tokens before this one, or prompt tokens
  bool prompt = false;      ///< the last token of a prompt whose KV arrived
};

/// What the scheduler of one rank put into one step (serving-semantics 1.11).
struct StepWork {
  std::uint64_t step = 0;  ///< keys the routing draw
  int decodes = 0;         ///< sequences with one new token each
  /// Visible context tokens of the decodes, the new one included, summed per KV group.
  std::array<std::int64_t, kMaxKvGroups> decode_context{};
  std::span<const PromptChunk> chunks;
  int sampled_rows = 0;
  /// The decodes one by one, in any order; only for pricers that ask (`wants_tokens`).
  std::span<const RoutedToken> tokens = {};
  std::int64_t now_ns = 0;  ///< when it was scheduled, for load that drifts
};

using TermTimes = std::array<double, kTermCount>;  ///< nanoseconds by breakdown term
enum class GraphMode : std::uint8_t { kNone, kPiecewise, kFull };

struct StepCost {
  std::vector<double> stage_ns;  ///< GPU time of each pipeline stage, message to the next included
  TermTimes terms{};             ///< over all stages; they sum to the sum of stage_ns
  std::array<double, kProvenanceCount> provenance_ns{};
  GraphMode graph = GraphMode::kNone;
  int padded_tokens = 0;
  /// Most over mean assignments of a rank, mean over MoE layers; 0 where experts have no ranks.
  double rank_imbalance = 0;
};

/// Prices a step. One implementation for real runs (StepTime); tests price by a formula.
class StepPricer {
 public:
  virtual ~StepPricer() = default;
  /// Fills `cost`; allocates nothing once `cost.stage_ns` has its size.
  virtual void price(const StepWork& work, StepCost& cost) = 0;
  /// A step of data-parallel ranks that run in lockstep; one of them at least has work.
  virtual void price_ranks(std::span<const StepWork> ranks, StepCost& cost);
  [[nodiscard]] virtual int stages() const = 0;
  /// Whether `StepWork::tokens` of step number `step` must be filled.
  [[nodiscard]] virtual bool wants_tokens(std::uint64_t /*step*/) const { return false; }
};

/// Step time from operators: token-wise work memoised by padded token count, attention priced from
/// sums, experts from a pool of exact draws (performance.md 4). A step costs O(layer classes +
/// prompt chunks), whatever the batch.
///
/// Data-parallel ranks run in lockstep: a layer takes
///   max over ranks(attention) + dispatch + max over ranks(experts) + combine
/// (serving-semantics 3.5); what the average rank waits for the slowest is `exposed_wait`.
///
/// GPU time of a stage = max(sum of kernel times, CPU launch time of the graph mode); the excess is
/// `launch_overhead` (serving-semantics 4.5).
class StepTime final : public StepPricer {
 public:
  struct Stage {
    Shard shard;
    std::unique_ptr<KernelModel> kernels;
    std::unique_ptr<DispatchBackend> dispatch;  ///< null: every rank has all tokens
    int sms = 132;                              ///< of its GPUs
    double fused_norm_bytes = 0;  ///< all-reduces of at most so many bytes normalise too
  };
  /// How tokens choose experts, and where those lie.
  struct Experts {
    std::unique_ptr<ExpertRouting> routing;
    RoutingFidelity fidelity = RoutingFidelity::kSampled;  ///< not kAuto
    ExpertPlacement placement;  ///< with expert parallelism; of all MoE layers
    std::vector<int> node_of_rank;
    int mean_prompt = 512, mean_output = 256;   ///< tokens of a request
    const Workload* workload = nullptr;         ///< identity of prompt blocks; may be null
    std::unique_ptr<EplbControl> eplb;          ///< null: experts stay where they are
    std::optional<CapacityRule> capacity = {};  ///< needs kExact, or experts that choose
    /// Experts outside the GPU: `spec` and the link; the rest is filled in. Not with `eplb`.
    std::optional<ExpertTier::Config> tier = {};
  };
  /// `model` must outlive the object; shards point into it.
  StepTime(const ModelSpec& model, std::vector<Stage> stages, const KvLayout& kv,
           const EngineSpec& engine, Experts experts, std::uint64_t seed);
  ~StepTime() override;

  void price(const StepWork& work, StepCost& cost) override { price_ranks({&work, 1}, cost); }
  void price_ranks(std::span<const StepWork> ranks, StepCost& cost) override;
  [[nodiscard]] bool wants_tokens(std::uint64_t step) const override {
    return moe_ && moe_->wants_tokens(step);
  }
  /// What routing did, layer by layer; no layers for a dense model.
  [[nodiscard]] MoeStats moe_stats() const;
  /// Where its experts lie now; nothing where they are cut.
  [[nodiscard]] std::optional<ExpertPlacement> placement() const;
  /// Curves behind its operators, each once.
  [[nodiscard]] std::vector<KernelOrigin> kernel_origins() const;
  [[nodiscard]] int stages() const override { return static_cast<int>(stages_.size()); }

  /// Graph mode and padding of a step of `tokens` tokens (serving-semantics 1.8).
  struct Dispatch {
    GraphMode mode;
    int padded;
  };
  [[nodiscard]] Dispatch dispatch(int tokens, bool uniform) const;

 private:
  struct Memo {
    double total = 0;
    TermTimes terms{};
    std::array<double, kProvenanceCount> provenance{};
    double prepare = 0;  ///< of the total: projections of queries, keys and values
  };
  struct StageState;

  void add_op(const KernelModel& kernels, const Op& op, Memo& sum) const;
  static void add_time(const KernelTime& time, const Op& op, Memo& sum);
  const Memo& token_memo(StageState& stage, int tokens);
  const Memo& row_memo(StageState& stage, int rows);
  void make_moe(const ModelSpec& model, Experts experts);
  void add_pools(StageState& stage, const ExpertRouting& routing);
  void hide_shared_experts(const StageState& stage, int tokens, Memo& sum) const;
  void pad(std::span<const StepWork> ranks);
  void price_experts(std::span<const StepWork> ranks);
  Memo price_stage(std::size_t index, std::span<const StepWork> ranks);
  Memo price_rank(StageState& stage, const StepWork& work, int tokens);
  [[nodiscard]] bool splits(std::span<const StepWork> ranks) const;
  void split(std::span<const StepWork> ranks);
  void price_other_half(MoeStep step);
  void level_contexts();
  [[nodiscard]] double mean_rank_imbalance() const;
  void overlap_halves(const StageState& stage, double expert_wait_ns, bool prompts,
                      Memo& sum) const;
  Memo price_lockstep(StageState& stage, std::span<const StepWork> ranks);
  static void add_copies(const StageState& stage, const MoeStageCost& cost, Memo& sum);
  void add_experts(std::size_t index, std::uint64_t step, Memo& sum);
  [[nodiscard]] Op prompt_op(const StageState& stage, const LayerClass& layers,
                             std::span<const PromptChunk> chunks) const;
  [[nodiscard]] KernelTime prompt_attention(const StageState& stage, std::size_t layer_class,
                                            std::span<const PromptChunk> chunks) const;
  [[nodiscard]] KernelTime decode_attention(const StageState& stage, std::size_t layer_class,
                                            int sequences, std::int64_t context) const;
  void price_attention(const StageState& stage, std::size_t layer_class, const StepWork& work,
                       Memo& sum) const;
  [[nodiscard]] double launch_ns(const StageState& stage, GraphMode mode) const;

  std::unique_ptr<Family> family_;
  std::unique_ptr<ExpertRouting> routing_;  ///< null if `moe_` has it
  std::vector<std::unique_ptr<StageState>> stages_;
  std::unique_ptr<MoeModel> moe_;  ///< null: pools, or no experts
  std::unique_ptr<EplbControl> eplb_;
  ExpertPlacement placement_;  ///< the first one
  double copy_ns_ = 0;         ///< weights moved after the step being priced
  EngineSpec engine_;
  std::vector<int> padded_;         ///< [tokens] -> captured size, up to the largest
  std::vector<int> prompt_padded_;  ///< the same for steps with prompts, where they differ
  std::uint64_t seed_;
  Parallel parallel_;
  // The step being priced.
  Dispatch dispatched_{GraphMode::kNone, 0};
  bool split_ = false;            ///< into two half batches
  std::vector<StepWork> halves_;  ///< first halves of all ranks, then second ones
  std::vector<std::vector<PromptChunk>> half_chunks_;
  std::vector<int> tokens_;             ///< [rank] after padding, of a half batch if split
  std::vector<double> held_;            ///< [rank of the MoE group] before the dispatch
  int moe_layers_ = 0;                  ///< of all stages
  std::vector<MoeStageCost> moe_cost_;  ///< [stage]; behind them those of second halves
  std::vector<Memo> by_rank_;
};

}  // namespace moesim
