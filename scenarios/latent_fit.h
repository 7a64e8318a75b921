#pragma once

#include <vector>

#include "scenarios/latent_parameters.h"
#include "scenarios/routing_table.h"

namespace moesim {

/// Shares of experts that two tokens have in common at a layer: of different sequences, anywhere in
/// one sequence, neighbours, and eight apart.
struct Overlaps {
  double apart = 0, same = 0, adjacent = 0, eight = 0;
};
/// Of each layer, over the first 200 rows of up to `sequences` sequences that are no repetition
/// loops and have nine rows or more. Empty if there are fewer than two of them. Throws InputError
/// if rows of a mapped file are damaged.
[[nodiscard]] std::vector<Overlaps> overlaps_of(const RoutingTable& table, int sequences);

/// Parameters by layer of the latent-logit generator (routing-traces.md 4.1) whose tokens overlap
/// like those of a trace, all four ways at every layer. In units of the logit, so that they may
/// serve another number of experts. What four numbers do not tell keeps the proportions of the
/// shipped fit: domain to sequence, class to slow process, class_stay. Two seconds for 24 layers of
/// 32 experts, four for 58 of 256. Precondition: the trace has overlaps.
[[nodiscard]] LatentParameters fit_latent(const RoutingTable& trace);

}  // namespace moesim
