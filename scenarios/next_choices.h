#pragma once

#include <cstdint>

#include "scenarios/expert_routing.h"

namespace moesim {

/// How many further experts a token may be asked for behind its top-k: as many again, or what the
/// groups it keeps have left.
[[nodiscard]] int next_choices_of(const RoutingShape& shape);

/// What the tokens of `own`, a table of this routing, would choose next where an expert has no
/// room: row by row and layer by layer `next_choices_of(shape)` experts, in order, none of them
/// among the token's own. The choices themselves are not touched, so that room for all changes
/// nothing.
///
/// A kind that ranks all experts says it itself (ExpertRouting::ranks_all). For the others a token
/// goes on with what other tokens of the layer chose, in their order, passing over its own. Where
/// tokens choose independently by weight that is exact: choices by weight are arrivals at
/// exponential times of these rates (ExpertChooser), so those behind the k-th are by weight again
/// among the experts left, which is what another token's arrivals are once the own are left out.
/// Precondition: routing.knows_next(shape).
[[nodiscard]] RoutingTable next_choices(const ExpertRouting& routing, const RoutingTable& own,
                                        const RoutingShape& shape, const TableSize& size,
                                        std::uint64_t seed, std::uint64_t epoch);

}  // namespace moesim
