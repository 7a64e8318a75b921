#pragma once

#include <string>
#include <vector>

#include "models/memory.h"
#include "models/sharding.h"
#include "scenarios/scenario.h"

namespace moesim {

/// One serving engine laid on the cluster.
struct InstanceInfo {
  std::string name;
  int spec = 0;  ///< index into Scenario::instances
  MemoryPlan memory;
  MemoryInputs
      memory_inputs;  ///< what `memory` was planned from; `find_remedies` plans again from it
  EngineSpec engine;
  Parallel parallel;
  std::vector<int> gpus;  ///< cluster GPU numbers, in rank order
};

/// Everything about a deployment that does not need a simulation.
struct Deployment {
  std::vector<InstanceInfo> instances;
  std::vector<std::string> warnings;
};

/// Places every instance on the cluster and plans its memory; simulates nothing. `memory.feasible`
/// tells whether an instance can start. Throws InputError if a layout does not divide the model.
[[nodiscard]] Deployment lay_out(const Scenario& scenario);

}  // namespace moesim
