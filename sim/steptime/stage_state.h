#pragma once

#include <memory>
#include <vector>

#include "hardware/dispatch.h"
#include "sim/steptime/decode_times.h"
#include "sim/steptime/prompt_times.h"
#include "sim/steptime/step_time.h"

// Private to StepTime.

namespace moesim {

/// A pipeline stage with its memoised costs.
struct StepTime::StageState {
  Shard shard;
  std::unique_ptr<KernelModel> kernels;
  std::vector<LayerClass> classes;
  std::vector<int>
      kv_group;  ///< per class: index into StepWork::decode_context, -1 for layers without KV
  std::unique_ptr<DispatchBackend> dispatch;
  double fused_norm_bytes = 0;
  int sms = 132;  ///< of the GPU, for work beside communication kernels
  std::vector<std::unique_ptr<ExpertPool>> experts;  ///< per class, null for dense layers; or empty
  std::vector<std::unique_ptr<Memo>> by_tokens, by_rows;  ///< null until first asked for
  mutable std::vector<DecodeTimes> decode_times;          ///< per class
  mutable std::vector<PromptTimes> prompt_times;          ///< per class
  Memo large;
  Provenance expert_provenance = Provenance::kRoofline;  ///< of the draws priced last
  double routed_tokens = 0;                              ///< of all steps, without padding
  int attention_layers = 0, moe_layers = 0;
  double host_calls = 0;  ///< of one forward pass without graphs
  std::vector<Op> scratch;
};

inline constexpr double kNs = 1e9;

[[nodiscard]] inline std::size_t index(Term term) {
  return static_cast<std::size_t>(term);
}

}  // namespace moesim
