#pragma once

#include <string>

#include "sim/build.h"
#include "sim/report/run_view.h"
#include "tests/laws/law_support.h"

// A burst of requests over experts of several ranks.

namespace moesim::laws {

inline const std::string kBurst =
    "arrival: {kind: closed_loop, max_concurrency: 24}, synthetic: {num_prompts: 60, "
    "input_tokens: {uniform: [20, 400]}, output_tokens: {uniform: [10, 60]}}";

[[nodiscard]] inline std::string layout(const std::string& degrees, const std::string& engine,
                                        const std::string& routing, const std::string& more = "") {
  return "deployment: {instances: [{" + degrees + "}]}\nengine: {" + engine + "}\nrouting: {" +
         routing + "}\n" + more;
}

/// The view points into the world.
[[nodiscard]] inline RunView finish(World& world) {
  world.run(nullptr);
  return world.view();
}

[[nodiscard]] inline MoeStats stats_of(const Scenario& scenario) {
  World world = build(scenario, {.check = true});
  return finish(world).moe.front().stats;
}

}  // namespace moesim::laws
