// Changes of a scenario that must not change what happens, or change it in a known way.
#include <algorithm>
#include <doctest/doctest.h>
#include <string>

#include "tests/reference/engine_run.h"
#include "tests/reference/random_scenario.h"

using namespace moesim;
using namespace moesim::reference;

namespace {

constexpr std::uint64_t kScenarios = 500;

PlainResult run(const RandomScenario& scenario) {
  FormulaPricer pricer(scenario.price, scenario.config.limits.pipeline_stages);
  return run_engine(scenario.config, scenario.workload, pricer);
}

std::int64_t scaled(SimTime time, std::int64_t factor) {
  return time == kNever ? kNever : time * factor;
}

}  // namespace

TEST_CASE("the same scenario gives the same run") {
  for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
    CAPTURE(seed);
    const RandomScenario scenario = random_scenario(seed);
    CHECK(first_difference(scenario.config, run(scenario), run(scenario)).empty());
  }
}

TEST_CASE("if everything takes three times as long, everything happens three times as late") {
  for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
    CAPTURE(seed);
    const RandomScenario scenario = random_scenario(seed);
    RandomScenario slow = scenario;
    for (std::int64_t& arrival : slow.workload.arrival_ns) arrival *= 3;
    HostCost& host = slow.config.host;
    for (double* cost : {&host.s0_us, &host.s1_us, &host.s2_us, &host.s3_us, &host.p0_us,
                         &host.p1_us, &host.o0_us, &host.o1_us}) {
      *cost *= 3;
    }
    FormulaPricer::Terms& price = slow.price;
    for (double* term : {&price.step_ns, &price.decode_ns, &price.context_ns, &price.prompt_ns,
                         &price.attention_ns, &price.row_ns, &price.stage_ns}) {
      *term *= 3;
    }
    // Host costs of fractions of a nanosecond are rounded.
    if (scenario.config.host.s0_us > 0 && scenario.config.host.s0_us < 1) continue;
    const PlainResult fast_run = run(scenario);
    const PlainResult slow_run = run(slow);
    REQUIRE(fast_run.calls.size() == slow_run.calls.size());
    for (std::size_t i = 0; i < fast_run.calls.size(); ++i) {
      CHECK(slow_run.calls[i].scheduled == 3 * fast_run.calls[i].scheduled);
      CHECK(slow_run.calls[i].parts == fast_run.calls[i].parts);
    }
    for (std::size_t r = 0; r < fast_run.requests.size(); ++r) {
      CHECK(slow_run.requests[r].first_token == scaled(fast_run.requests[r].first_token, 3));
      CHECK(slow_run.requests[r].finish == scaled(fast_run.requests[r].finish, 3));
    }
  }
}

TEST_CASE("with room for everybody nobody is preempted, and more room changes nothing") {
  for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
    CAPTURE(seed);
    RandomScenario scenario = random_scenario(seed);
    const Limits& limits = scenario.config.limits;
    scenario.config.usable_blocks = std::int64_t{limits.max_model_len} *
                                    static_cast<std::int64_t>(scenario.config.groups.size()) *
                                    static_cast<std::int64_t>(scenario.workload.size());
    const PlainResult enough = run(scenario);
    CHECK(enough.preemptions == 0);
    CHECK(enough.calls.back().evicted == 0);
    scenario.config.usable_blocks *= 2;
    const PlainResult plenty = run(scenario);
    CHECK(enough.digest == plenty.digest);
    CHECK(enough.calls.size() == plenty.calls.size());
  }
}

TEST_CASE("prefix caching changes nothing while no content is shared and nobody is preempted") {
  for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
    CAPTURE(seed);
    RandomScenario scenario = random_scenario(seed);
    scenario.workload.chain.clear();
    scenario.workload.chain_begin.clear();
    scenario.config.host.s3_us = 0;
    scenario.config.prefix_caching = false;
    const PlainResult without = run(scenario);
    if (without.preemptions > 0) continue;
    scenario.config.prefix_caching = true;
    const PlainResult with = run(scenario);
    CHECK(first_difference(scenario.config, without, with).empty());
  }
}

TEST_CASE("numbering the contents otherwise changes nothing") {
  for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
    CAPTURE(seed);
    RandomScenario scenario = random_scenario(seed);
    const PlainResult before = run(scenario);
    for (ChainElement& element : scenario.workload.chain) {
      element.id = scenario.workload.chain_ids - 1 - element.id;
    }
    CHECK(first_difference(scenario.config, before, run(scenario)).empty());
  }
}
