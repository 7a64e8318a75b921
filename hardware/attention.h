#pragma once

#include "hardware/kernel_shape.h"

namespace moesim {

/// Causal attention of one sequence: `queries` new tokens over `past` cached ones. A token sees
/// itself and what came before it, at most `window` tokens in all (0: no limit).

/// (query, visible key) pairs: KernelShape::pairs_qk of the sequence.
[[nodiscard]] double visible_pairs(double queries, double past, double window);
/// Keys that at least one query sees: KernelShape::kv_tokens of the sequence.
[[nodiscard]] double visible_keys(double queries, double past, double window);
/// Keys the last query sees: KernelShape::longest of the sequence.
[[nodiscard]] double longest_row(double queries, double past, double window);

/// Whether sequences of one query decode there at contexts that differ, alone or beside chunks.
[[nodiscard]] bool has_uneven_contexts(const KernelShape& shape);

}  // namespace moesim
