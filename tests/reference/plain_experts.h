#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "models/family.h"
#include "models/memory.h"
#include "models/placement.h"
#include "scenarios/scenario.h"
#include "sim/steptime/kernel_model.h"
#include "sim/steptime/step_time.h"
#include "tests/reference/plain_messages.h"

namespace moesim::reference {

/// What one layer of one step does, over all ranks.
struct PlainLayer {
  int layer = 0;  ///< of the model
  bool moe = false;
  double attention_ns = 0;  ///< of the slowest rank: everything but routed experts
  double experts_ns = 0;    ///< of the slowest rank
  double mean_attention_ns = 0, mean_experts_ns = 0;  ///< of the average one
  PlainMessages messages;
  std::vector<double> counts;       ///< [logical expert] tokens that chose it
  std::vector<double> real_counts;  ///< the same without padding and dummies
  std::vector<double> rank_load;    ///< [rank of the group] assignments
  std::vector<double> rank_active;  ///< [rank] experts with tokens
  int straggler = 0;
  [[nodiscard]] double ns() const {
    return attention_ns + messages.dispatch_ns + experts_ns + messages.combine_ns;
  }
};

struct PlainStep {
  std::vector<double> stage_ns;
  double launch_ns = 0;  ///< of it, waiting for the host's launches
  std::vector<PlainLayer> layers;
  GraphMode graph = GraphMode::kNone;
  int padded_tokens = 0, tokens = 0;  ///< of all ranks, padded; the same without padding
};

/// The step of an instance of data-parallel ranks, layer by layer (serving-semantics 1.10, 3.4,
/// 3.5):
///
///   max over ranks(attention) + dispatch + max over ranks(experts) + combine
///
/// Every token is routed by itself at every layer; nothing is memoised, tabulated or summed over
/// alike layers. Without shared experts, half batches, capacities, tiers and rebalancing.
class PlainExperts {
 public:
  /// Experts a token chooses at a MoE layer (counted over the MoE layers of the model).
  using Choice = std::function<std::vector<int>(const RoutedToken&, int moe_layer)>;
  /// The same of filling `index` of a step (padding and dummy tokens; counted behind real tokens).
  using Filling = std::function<std::vector<int>(std::uint64_t step, std::size_t index, int layer)>;

  struct Config {
    const ModelSpec* model = nullptr;
    Parallel parallel;
    EngineSpec engine;
    KvLayout kv;
    const KernelModel* kernels = nullptr;  ///< prices
    std::string backend;                   ///< of dispatch
    std::vector<PlainGroup> groups;        ///< [stage] its MoE group; only looked at with dp > 1
    ExpertPlacement placement;             ///< with expert parallelism
    std::vector<std::uint32_t> prompt_tokens;  ///< [request]
    Choice choice;
    Filling filling;
    /// Work that is not attention is the same in every layer of a stage, as the engine takes it;
    /// else each layer has its own, the embedding comes before them and the head behind.
    bool spread = true;
  };
  explicit PlainExperts(Config config) : config_(std::move(config)) {}

  [[nodiscard]] PlainStep step(std::span<const StepWork> ranks) const;

 private:
  struct Token {
    std::uint64_t step = 0;
    bool real = true;
    RoutedToken name;
    std::size_t index = 0;  ///< in the step
  };
  [[nodiscard]] std::vector<Token> tokens_of(std::span<const StepWork> ranks, int padded) const;
  [[nodiscard]] std::vector<int> experts_of(const Token& token, int moe_layer) const;
  [[nodiscard]] double ns(const Op& op) const;
  [[nodiscard]] double attention_ns(const Shard& shard, const LayerSpec& layer,
                                    const StepWork& work) const;
  [[nodiscard]] double token_ns(const Shard& shard, int tokens) const;
  [[nodiscard]] double head_ns(const Shard& shard, const StepWork& work) const;
  [[nodiscard]] double launch_ns(const Shard& shard, GraphMode mode) const;
  [[nodiscard]] std::vector<double> held(const std::vector<int>& rank_tokens) const;
  void price_attention(const Shard& shard, std::span<const StepWork> ranks,
                       const std::vector<int>& rank_tokens, PlainLayer& out) const;
  [[nodiscard]] double outside_ns(const Shard& shard, std::span<const StepWork> ranks,
                                  const std::vector<int>& rank_tokens) const;
  void run_experts(const Shard& shard, const LayerSpec& spec, int moe_layer,
                   const std::vector<Token>& tokens, PlainTraffic traffic, PlainLayer& out) const;
  void route(const std::vector<Token>& tokens, int moe_layer, const std::vector<int>& nodes,
             PlainTraffic& traffic, PlainLayer& out,
             std::vector<std::vector<std::uint32_t>>& slot_counts) const;
  void price_experts(const Shard& shard, const LayerSpec& layer, int tokens,
                     const PlainTraffic& traffic,
                     const std::vector<std::vector<std::uint32_t>>& slot_counts,
                     PlainLayer& out) const;

  Config config_;
};

}  // namespace moesim::reference
