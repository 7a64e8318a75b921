#include "sim/engine/prompt_balance.h"

#include <algorithm>

namespace moesim {

bool PromptBalance::hold(std::span<const RankDemand> ranks) {
  const bool all_prompt = std::all_of(ranks.begin(), ranks.end(), [&](const RankDemand& r) {
    return r.prompt && r.decodes < limits_.max_num_seqs;
  });
  // Prompts alone: the rank that has them would stand still.
  const bool all_decode = std::all_of(
      ranks.begin(), ranks.end(), [](const RankDemand& r) { return r.decodes > 0 || !r.prompt; });
  if (all_prompt) {
    waited_ = 0;
    if (!all_decode) return false;
    const bool wait = batched_ < limits_.batching_wait_iters;
    batched_ = wait ? batched_ + 1 : 0;
    return wait;
  }
  ++waited_;
  if (all_decode && waited_ < limits_.timeout_iters) return true;
  waited_ = 0;
  return false;
}

}  // namespace moesim
