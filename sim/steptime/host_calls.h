#pragma once

#include <span>

#include "models/family.h"

namespace moesim {

/// Operators that Python calls for one forward pass of a stage, outside graphs: one for each of the
/// family's, two where activations are quantised first, and the kernels of chunked linear
/// attention. Their number does not depend on the tokens.
[[nodiscard]] double host_calls(const Family& family, const Shard& shard,
                                std::span<const LayerClass> classes);

}  // namespace moesim
