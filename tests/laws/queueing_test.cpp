#include <doctest/doctest.h>
#include <string>

#include "sim/base/random.h"
#include "sim/engine/instance.h"
#include "tests/reference/engine_run.h"
#include "tests/reference/random_scenario.h"
#include "tests/reference/step_table.h"

using namespace moesim;
using namespace moesim::reference;

namespace {

/// Mean time in the queue, in service times, of a server that takes one request at a time.
double mean_wait(double load, int requests, bool async) {
  constexpr SimTime kService = 1'000'000;
  Situation s;
  s.limits.max_num_seqs = 1;
  s.limits.async = async;
  PlainConfig config = config_of(s);
  Workload workload;
  Rng rng(1, "arrivals");
  double time = 0;
  for (int r = 0; r < requests; ++r) {
    time += rng.exponential() * static_cast<double>(kService) / load;
    workload.arrival_ns.push_back(static_cast<SimTime>(time));
    workload.prompt_tokens.push_back(8);
    workload.output_tokens.push_back(1);
  }
  RequestTable table = make_table(workload, config.limits);
  FormulaPricer pricer({.step_ns = static_cast<double>(kService),
                        .decode_ns = 0,
                        .context_ns = 0,
                        .prompt_ns = 0,
                        .attention_ns = 0,
                        .row_ns = 0,
                        .stage_ns = 0},
                       1);
  Instance instance(instance_config(config), workload, table, make_scheduler("vllm_v1"), pricer);
  run_to_end(instance, workload, nullptr);
  double sum = 0;
  for (std::size_t r = 0; r < table.size(); ++r) {
    sum += static_cast<double>(table.first_scheduled[r] - table.arrival[r]);
  }
  return sum / static_cast<double>(kService) / requests;
}

}  // namespace

// One request at a time, one token, equal service times, Poisson arrivals: the mean wait is rho /
// (2 (1 - rho)) service times (Pollaczek 1930, Khinchine 1932).
TEST_CASE("in the degenerate case the engine is an M/D/1 queue") {
  struct Case {
    double load, tolerance;
  };
  for (const Case& c : {Case{0.3, 0.01}, Case{0.6, 0.015}, Case{0.8, 0.03}}) {
    CAPTURE(c.load);
    const double expect = c.load / (2 * (1 - c.load));
    CHECK(mean_wait(c.load, 200'000, false) == doctest::Approx(expect).epsilon(c.tolerance));
    CHECK(mean_wait(c.load, 200'000, true) == doctest::Approx(expect).epsilon(c.tolerance));
  }
}

// J. Little, Operations Research 9(3), 1961. Exact on every path that ends empty: the integral of
// the number in the system is the sum of the times spent in it.
TEST_CASE("Little's law holds in every run, to the nanosecond") {
  int checked = 0;
  for (std::uint64_t seed = 1; seed <= 600; ++seed) {
    CAPTURE(seed);
    const RandomScenario scenario = random_scenario(seed);
    const Workload& workload = scenario.workload;
    RequestTable table = make_table(workload, scenario.config.limits);
    FormulaPricer pricer(scenario.price, scenario.config.limits.pipeline_stages);
    Instance instance(instance_config(scenario.config), workload, table, make_scheduler("vllm_v1"),
                      pricer);
    std::int64_t integral = 0;
    std::int64_t present = 0;
    SimTime last = 0;
    run_to_end(
        instance, workload, nullptr,
        [&](SimTime now) {
          integral += present * (now - last);
          present = instance.waiting() + instance.running();
          last = now;
        },
        4000);
    if (instance.waiting() + instance.running() > 0) continue;
    std::int64_t sojourn = 0;
    for (std::size_t r = 0; r < table.size(); ++r) sojourn += table.finish[r] - table.arrival[r];
    CHECK(integral == sojourn);
    ++checked;
  }
  CHECK(checked > 500);
}
