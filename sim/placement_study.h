#pragma once

#include <vector>

#include "scenarios/scenario.h"
#include "sim/placement_verdict.h"

namespace moesim {

/// Compares placements for the scenario's first kind of instance: linear, round_robin where experts
/// come in groups, the scenario's own if it is a file, and EPLB with each number of redundant
/// experts (empty: none, and one more per rank). EPLB is planned on the load of the first half of
/// the routing's sequences (its first epoch, if it drifts; its first mix of domains, if those
/// change with time) and everything is judged by the second (the last mix). Where requests come at
/// times of their own, the two that the verdict compares also run with all of them at once, unless
/// domains change with those times. Throws InputError if experts are not whole on ranks.
[[nodiscard]] PlacementStudy study_placements(const Scenario& scenario,
                                              const std::vector<int>& redundant);

}  // namespace moesim
