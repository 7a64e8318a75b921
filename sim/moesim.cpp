#include "sim/moesim.h"

#include <chrono>
#include <ctime>

#include "sim/report/metrics.h"

namespace moesim {

RunResult simulate(World& world) {
  const auto wall = std::chrono::steady_clock::now();
  const std::clock_t cpu = std::clock();
  Metrics metrics(world.instance_count(), world.scenario(), world.workload());
  world.run(&metrics);
  const std::chrono::duration<double, std::milli> wall_ms = std::chrono::steady_clock::now() - wall;
  const double cpu_ms = 1e3 * static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC;
  return make_result(world.view(), metrics, {wall_ms.count(), cpu_ms});
}

}  // namespace moesim
