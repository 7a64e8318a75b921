// Laws of comparisons: both sides stand on the same requests and the same errors of step times.
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "sim/build.h"
#include "sim/report/compare.h"
#include "sim/report/report.h"
#include "sim/uncertainty.h"
#include "tests/laws/law_support.h"

using namespace moesim;
using namespace moesim::laws;

namespace {

/// A run, its requests and its replicas.
struct Compared {
  RunResult result;
  RequestSamples samples;
  std::vector<MetricValues> replicas;
};

Compared run(const std::vector<Override>& overrides) {
  const Scenario scenario = scenario_of(
      "arrival: {kind: poisson, request_rate: 4}, "
      "synthetic: {num_prompts: 60, input_tokens: 300, output_tokens: 20}",
      "", overrides);
  const Deployment deployment = lay_out(scenario);
  World world(scenario, deployment, {});
  Metrics metrics(world.instance_count(), scenario, world.workload());
  world.run(&metrics);
  Compared out{make_result(world.view(), metrics, {}), request_samples(world.view()), {}};
  out.replicas =
      estimate_uncertainty(scenario, deployment, world.workload(), 1, nullptr).value().replicas;
  return out;
}

std::vector<MetricDelta> deltas(const Compared& base, const Compared& variant) {
  return compare({base.result, base.samples, base.replicas},
                 {variant.result, variant.samples, variant.replicas}, 1);
}

}  // namespace

TEST_CASE("identical variants differ by exactly nothing, whatever is uncertain") {
  const Compared base = run({});
  const Compared same = run({});
  REQUIRE(base.replicas.size() == 16);
  CHECK(base.replicas[0] != base.replicas[1]);
  for (const MetricDelta& delta : deltas(base, same)) {
    CAPTURE(delta.metric);
    CHECK(delta.abs == 0);
    REQUIRE(delta.p10);
    CHECK(*delta.p10 == 0);
    CHECK(*delta.p90 == 0);
    CHECK_FALSE(*delta.significant);
  }
}

TEST_CASE("an interval of a difference is narrower than the runs' own, and wider than requests'") {
  const Compared base = run({});
  Compared variant = run({{"engine.max_num_batched_tokens", "256", "--set"}});
  const auto width = [](const MetricDelta& delta) { return *delta.p90 - *delta.p10; };
  const auto find = [](const std::vector<MetricDelta>& all) {
    for (const MetricDelta& delta : all) {
      if (delta.metric == "mean_e2el_ms") return delta;
    }
    return MetricDelta{};
  };
  const MetricDelta both = find(deltas(base, variant));
  REQUIRE(both.p10);
  // Replicas of one side only: nothing cancels.
  Compared certain = base;
  for (MetricValues& replica : certain.replicas) replica = headlines(certain.result);
  const MetricDelta apart = find(deltas(certain, variant));
  CHECK(width(both) < 0.7 * width(apart));
  Compared bare = base;
  bare.replicas.clear();
  variant.replicas.clear();
  CHECK(width(both) > width(find(deltas(bare, variant))));
}
