#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "models/family.h"
#include "models/memory.h"
#include "scenarios/expert_routing.h"
#include "scenarios/scenario.h"
#include "sim/steptime/expert_pool.h"
#include "sim/steptime/kernel_model.h"

namespace moesim {

inline constexpr std::size_t kMaxKvGroups = 8;

/// Consecutive prompt tokens of one request in one step.
struct PromptChunk {
  std::uint32_t request = 0;
  std::int32_t tokens = 0;   ///< computed in this step
  std::int32_t context = 0;  ///< already computed or cached before it
  bool completes = false;    ///< the prompt ends here: a token is sampled
};

/// What the scheduler put into one step (serving-semantics 1.11).
struct StepWork {
  std::uint64_t step = 0;  ///< keys the routing draw
  int decodes = 0;         ///< sequences with one new token each
  /// Visible context tokens of the decodes, the new one included, summed per KV group.
  std::array<std::int64_t, kMaxKvGroups> decode_context{};
  std::span<const PromptChunk> chunks;
  int sampled_rows = 0;
};

using TermTimes = std::array<double, kTermCount>;  ///< nanoseconds by breakdown term
enum class GraphMode : std::uint8_t { kNone, kPiecewise, kFull };

struct StepCost {
  std::vector<double> stage_ns;  ///< GPU time of each pipeline stage, message to the next included
  TermTimes terms{};             ///< over all stages; they sum to the sum of stage_ns
  std::array<double, kProvenanceCount> provenance_ns{};
  GraphMode graph = GraphMode::kNone;
  int padded_tokens = 0;
};

/// Prices a step. One implementation for real runs (StepTime); tests price by a formula.
class StepPricer {
 public:
  virtual ~StepPricer() = default;
  /// Fills `cost`; allocates nothing once `cost.stage_ns` has its size.
  virtual void price(const StepWork& work, StepCost& cost) = 0;
  [[nodiscard]] virtual int stages() const = 0;
};

/// Step time from operators: token-wise work memoised by padded token count, attention priced from
/// sums, experts from a pool of exact draws (performance.md 4). A step costs O(layer classes +
/// prompt chunks), whatever the batch.
///
/// GPU time of a stage = max(sum of kernel times, CPU launch time of the graph mode); the excess is
/// `launch_overhead` (serving-semantics 4.5).
class StepTime final : public StepPricer {
 public:
  struct Stage {
    Shard shard;
    std::unique_ptr<KernelModel> kernels;
  };
  /// `model` must outlive the object; shards point into it.
  StepTime(const ModelSpec& model, std::vector<Stage> stages, const KvLayout& kv,
           const EngineSpec& engine, std::unique_ptr<ExpertRouting> routing, std::uint64_t seed);
  ~StepTime() override;

  void price(const StepWork& work, StepCost& cost) override;
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
  };
  struct StageState;

  void add_op(const KernelModel& kernels, const Op& op, Memo& sum) const;
  static void add_time(const KernelTime& time, const Op& op, Memo& sum);
  const Memo& token_memo(StageState& stage, int tokens);
  const Memo& row_memo(StageState& stage, int rows);
  void hide_shared_experts(int tokens, Memo& sum) const;
  Memo price_stage(StageState& stage, const StepWork& work, const Dispatch& dispatched);
  void price_attention(StageState& stage, const StepWork& work, Memo& sum) const;
  [[nodiscard]] double launch_ns(const StageState& stage, GraphMode mode) const;

  std::unique_ptr<Family> family_;
  std::unique_ptr<ExpertRouting> routing_;
  std::vector<std::unique_ptr<StageState>> stages_;
  EngineSpec engine_;
  std::vector<int> padded_;         ///< [tokens] -> captured size, up to the largest
  std::vector<int> prompt_padded_;  ///< the same for steps with prompts, where they differ
  std::uint64_t seed_;
};

}  // namespace moesim
