#pragma once

#include <span>
#include <string_view>

namespace moesim {

/// A layer for which an engine carries tile sizes tuned on a card: Triton's expert kernels in 16
/// bit look them up by local experts and their width, and take default tiles otherwise.
struct TunedExperts {
  int experts, inter;  ///< on one rank
};

/// Those of an engine on a system, both by our names; empty if none are known. Sources: names of
/// the files under vllm/model_executor/layers/fused_moe/configs (vLLM, 2026-11) and
/// sglang/srt/layers/moe/fused_moe_triton/configs (SGLang, the same month), as far as the tables
/// have the shapes or Mixtral and Llama-4 need them; SGLang's shapes of E=16 and 128 as their times
/// show it, 0.7 to 0.9 of the memory's rate just beyond as many tokens as experts, not 0.5 to 0.65.
[[nodiscard]] std::span<const TunedExperts> tuned_experts(std::string_view framework,
                                                          std::string_view system);

/// 1 if a layer is one of them, else 0 (KernelShape::tuned).
[[nodiscard]] double is_tuned(std::span<const TunedExperts> layers, double experts, double inter);

}  // namespace moesim
