#pragma once

#include <cstdint>
#include <string>

#include "scenarios/workload.h"
#include "tests/reference/engine_run.h"
#include "tests/reference/plain_scheduler.h"

namespace moesim::reference {

struct RandomScenario {
  PlainConfig config;
  Workload workload;
  FormulaPricer::Terms price;
};

/// A small scenario meant to hurt: pools that hold one or two requests, shared and repeated
/// prompts, windows, priorities, every mode of the loop. Same seed, same scenario.
[[nodiscard]] RandomScenario random_scenario(std::uint64_t seed);

[[nodiscard]] std::string describe(const RandomScenario& scenario);

}  // namespace moesim::reference
