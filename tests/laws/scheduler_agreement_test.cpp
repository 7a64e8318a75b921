#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <doctest/doctest.h>
#include <string>

#include "reference/effort.h"
#include "tests/reference/engine_run.h"
#include "tests/reference/plain_scheduler.h"
#include "tests/reference/random_scenario.h"

using namespace moesim;
using namespace moesim::reference;

namespace {

std::uint64_t environment(const char* name, std::uint64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

/// Names the scenario in which an invariant of the engine failed (checks abort).
volatile std::uint64_t current_seed = 0;
extern "C" void name_seed(int) {
  std::fprintf(stderr, "scenario MOESIM_FIRST_SEED=%llu\n",
               static_cast<unsigned long long>(current_seed));
}

}  // namespace

// performance.md 4.1: lazy counters are an order of evaluation, not an approximation.
// MOESIM_SEEDS sets how many scenarios, MOESIM_FIRST_SEED where to begin.
TEST_CASE("the engine makes every call of schedule as the plain walk makes it") {
  const std::uint64_t seeds = environment("MOESIM_SEEDS", some_of(20'000));
  const std::uint64_t first = environment("MOESIM_FIRST_SEED", 1);
  int failures = 0;
  std::signal(SIGABRT, name_seed);
  for (std::uint64_t seed = first; seed < first + seeds && failures < 3; ++seed) {
    CAPTURE(seed);
    current_seed = seed;
    const RandomScenario scenario = random_scenario(seed);
    FormulaPricer for_plain(scenario.price, scenario.config.limits.pipeline_stages);
    FormulaPricer for_engine(scenario.price, scenario.config.limits.pipeline_stages);
    const PlainResult plain = run_plain(scenario.config, scenario.workload, for_plain);
    const PlainResult engine = run_engine(scenario.config, scenario.workload, for_engine);
    const std::string difference = first_difference(scenario.config, plain, engine);
    if (difference.empty()) continue;
    ++failures;
    FAIL_CHECK(difference << "\n" << describe(scenario));
  }
}
