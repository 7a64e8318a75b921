#include "models/op.h"

namespace moesim {

const char* term_name(Term term) {
  static constexpr const char* kNames[kTermCount] = {
      "attention",       "attention_proj", "router",    "dispatch",    "expert_gemm",
      "shared_expert",   "combine",        "dense_ffn", "all_reduce",  "pp_send_recv",
      "embedding",       "lm_head",        "sampling",  "elementwise", "expert_copy",
      "launch_overhead", "exposed_wait",   "overlapped"};
  return kNames[static_cast<std::size_t>(term)];
}

}  // namespace moesim
