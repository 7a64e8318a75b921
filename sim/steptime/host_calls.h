#pragma once

#include <span>

#include "models/family.h"

namespace moesim {

/// What one call from Python covers.
struct HostCallRules {
  /// Rotation and the write to the cache belong to the attention call; scores, sorting and sums to
  /// the experts' (TensorRT-LLM: `thop.attention`, the fused expert operators).
  bool composite = false;
  /// The call that sums over ranks adds the residual, normalises and quantises what the next
  /// product reads, whichever kernels it picks (SGLang calls the norm again above its limit).
  bool norms_in_all_reduce = false;
};

/// Operators that Python calls for one forward pass of a stage, outside graphs: one for each of the
/// family's, two where activations are quantised first, and the kernels of chunked linear
/// attention. Their number does not depend on the tokens.
[[nodiscard]] double host_calls(const Family& family, const Shard& shard,
                                std::span<const LayerClass> classes, HostCallRules rules = {});

}  // namespace moesim
