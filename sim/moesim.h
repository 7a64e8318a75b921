#pragma once

#include "scenarios/load.h"
#include "sim/build.h"
#include "sim/report/report.h"

namespace moesim {

/// The public API: load_scenario (scenarios/load.h), lay_out and build (sim/build.h), simulate, and
/// the writers of sim/report/report.h.
///
///   World world = build(load_scenario("scenarios/01_quickstart.yaml"));
///   write_json(simulate(world), std::cout);
///
/// Runs a world to its end and returns what the report says. Call once per world.
[[nodiscard]] RunResult simulate(World& world);

}  // namespace moesim
