#pragma once

#include <span>

namespace moesim {

/// What one data-parallel rank would do next.
struct RankDemand {
  int decodes = 0;      ///< sequences that decode
  bool prompt = false;  ///< a prompt has begun and goes on, or one in its queue fits
};

/// TensorRT-LLM's `attention_dp_config` with `enable_balance` (serving-semantics 8.2): prompts wait
/// until every rank has one, so that no rank's prompt makes all the others wait for it.
class PromptBalance {
 public:
  struct Limits {
    int timeout_iters = 0;        ///< steps after which a prompt runs though some rank has none
    int batching_wait_iters = 0;  ///< steps that prompts of all ranks still wait for more of them
    int max_num_seqs = 0;         ///< of a rank; one that is full waits for no company
  };
  explicit PromptBalance(const Limits& limits) : limits_(limits) {}

  /// Whether no rank may run prompts in the step that is scheduled now; called once a step. A rank
  /// without any request runs along with a dummy, which counts as a decode. Never holds prompts
  /// back where no rank decodes.
  [[nodiscard]] bool hold(std::span<const RankDemand> ranks);

 private:
  Limits limits_;
  int waited_ = 0;   ///< steps in which some rank had no prompt, since prompts last ran
  int batched_ = 0;  ///< steps in which all had one
};

}  // namespace moesim
