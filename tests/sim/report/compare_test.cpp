#include "sim/report/compare.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "report_support.h"
#include "sim/base/random.h"

using namespace moesim;
using doctest::Approx;

namespace {

/// 400 requests whose first token takes 100 ms on average, in waves; `change(i)` is added, in ms.
template <class Change>
HandMadeRun waves(int count, const Change& change) {
  HandMadeRun run;
  Rng rng(3, "compare_test");
  for (int i = 0; i < count; ++i) {
    const double arrival = 100.0 * i;
    const double first = arrival + 60 + 80 * rng.uniform() + change(i);
    run.complete({arrival, arrival, first, first + 200}, 10, 11);
  }
  return run;
}

/// One server, first come, first served, that is always busy; each request takes `service_ms` and
/// something random around it.
HandMadeRun queued(int count, double service_ms, double noise_ms) {
  HandMadeRun run;
  run.scenario.slo.e2el_ms = 1e9;
  run.scenario.gpu_hour_usd = {{"a100_sxm", 1.8}};
  Rng common(3, "compare_test");
  Rng own(4, "compare_test");
  double now = 0;
  for (int i = 0; i < count; ++i) {
    const double start = now;
    now += service_ms * (0.5 + common.uniform()) + noise_ms * (own.uniform() - 0.5);
    run.complete({50.0 * i, start, start + 1, now}, 10, 11);
  }
  return run;
}

const MetricDelta* find(const std::vector<MetricDelta>& deltas, const std::string& metric) {
  const auto found = std::find_if(deltas.begin(), deltas.end(),
                                  [&](const MetricDelta& delta) { return delta.metric == metric; });
  return found == deltas.end() ? nullptr : &*found;
}

using Replicas = std::vector<MetricValues>;

std::vector<MetricDelta> compared(const HandMadeRun& base, const HandMadeRun& variant,
                                  const Replicas& base_replicas = {},
                                  const Replicas& variant_replicas = {}) {
  const RunResult a = base.result();
  const RunResult b = variant.result();
  return compare({a, request_samples(base.view()), base_replicas},
                 {b, request_samples(variant.view()), variant_replicas}, 1);
}

/// Headlines of `run` in 16 replicas, each times e to `spread` times that replica's deviation.
Replicas replicas_of(const HandMadeRun& run, double spread, int count = 16) {
  Replicas out;
  for (int r = 0; r < count; ++r) {
    MetricValues values = headlines(run.result());
    const double z = -1.8 + 3.6 * ((r * 7) % count) / (count - 1.0);
    for (auto& [name, value] : values) value *= std::exp(spread * z);
    out.push_back(values);
  }
  return out;
}

}  // namespace

TEST_CASE("a constant shift is seen through noise that both runs share") {
  const HandMadeRun base = waves(400, [](int) { return 0.0; });
  const HandMadeRun slower = waves(400, [](int) { return 1.0; });
  const std::vector<MetricDelta> deltas = compared(base, slower);
  for (const char* metric : {"mean_ttft_ms", "p50_ttft_ms", "p90_ttft_ms", "p99_ttft_ms"}) {
    CAPTURE(metric);
    const MetricDelta* delta = find(deltas, metric);
    REQUIRE(delta != nullptr);
    // The noise of a single run is 23 ms; the paired difference is exactly 1 ms for every request.
    CHECK(delta->abs == Approx(1).epsilon(1e-6));
    CHECK(*delta->p10 == Approx(1).epsilon(1e-6));
    CHECK(*delta->p90 == Approx(1).epsilon(1e-6));
    CHECK(*delta->significant);
    CHECK(*delta->rel == Approx(delta->abs / delta->base));
  }
}

TEST_CASE("a difference that other step times would undo is not significant") {
  const HandMadeRun base = waves(400, [](int) { return 0.0; });
  const HandMadeRun slower = waves(400, [](int) { return 1.0; });
  const char* const metric = "mean_ttft_ms";
  REQUIRE(*find(compared(base, slower), metric)->significant);  // requests alone are certain
  struct Case {
    std::string why;
    double base_spread, variant_spread;
    bool significant;
  };
  const Case cases[] = {
      {"step times are certain", 0, 0, true},
      {"both are wrong alike: it cancels", 0.3, 0.3, true},
      {"the variant stands on kernels nobody has measured", 0, 0.3, false},
      {"the base does", 0.3, 0, false},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const std::vector<MetricDelta> deltas = compared(base, slower, replicas_of(base, c.base_spread),
                                                     replicas_of(slower, c.variant_spread));
    const MetricDelta* delta = find(deltas, metric);
    CHECK(*delta->significant == c.significant);
    CHECK(*delta->p10 <= delta->abs + 1e-9);
    CHECK(*delta->p90 >= delta->abs - 1e-9);
    if (!c.significant) CHECK(*delta->p90 - *delta->p10 > 10);  // ms: 0.3 of 100 and more
  }
}

TEST_CASE("replicas alone are the interval of what requests cannot say") {
  HandMadeRun base, quicker;
  for (int i = 0; i < 64; ++i) base.complete({0, 0, 10, 1000}, 10, 11);
  for (int i = 0; i < 64; ++i) quicker.complete({0, 0, 10, 800}, 10, 11);
  const char* const metric = "output_throughput";
  REQUIRE_FALSE(find(compared(base, quicker), metric)->significant);
  for (const bool certain : {true, false}) {
    CAPTURE(certain);
    const auto deltas =
        compared(base, quicker, replicas_of(base, 0.1), replicas_of(quicker, certain ? 0.1 : 0.6));
    REQUIRE(find(deltas, metric)->significant);
    CHECK(*find(deltas, metric)->significant == certain);
  }
  const auto unpaired =
      compared(base, quicker, replicas_of(base, 0.1), replicas_of(quicker, 0.1, 8));
  CHECK_FALSE(find(unpaired, metric)->p10);  // replica r of one is not replica r of the other
}

TEST_CASE("differences that cancel are not significant") {
  const HandMadeRun base = waves(400, [](int) { return 0.0; });
  Rng rng(9, "compare_test");
  const HandMadeRun other = waves(400, [&](int) { return 4 * rng.normal(); });
  const MetricDelta delta = *find(compared(base, other), "mean_ttft_ms");
  CHECK_FALSE(*delta.significant);
  CHECK(*delta.p10 < 0);
  CHECK(*delta.p90 > 0);
}

TEST_CASE("neighbours are resampled together: one bad stretch is no trend") {
  const HandMadeRun base = waves(400, [](int) { return 0.0; });
  // One block in twenty is slow. Single requests resampled would call the mean difference certain.
  const HandMadeRun stretch = waves(400, [](int i) { return i >= 100 && i < 120 ? 200.0 : 0.0; });
  CHECK_FALSE(*find(compared(base, stretch), "mean_ttft_ms")->significant);
}

TEST_CASE("runs whose requests cannot be paired have no intervals") {
  const HandMadeRun base = waves(400, [](int) { return 0.0; });
  const HandMadeRun shorter = waves(300, [](int) { return 0.0; });
  const std::vector<MetricDelta> deltas = compared(base, shorter);
  CHECK_FALSE(find(deltas, "mean_ttft_ms")->p10);
  CHECK_FALSE(find(deltas, "mean_ttft_ms")->significant);
  CHECK_FALSE(find(deltas, "request_throughput")->significant);
  CHECK_FALSE(find(deltas, "request_throughput")->exact);
  CHECK_FALSE(find(compared(base, base), "mean_itl_ms"));
}

TEST_CASE("rates of a whole run have intervals around the reported difference") {
  const HandMadeRun base = queued(400, 100, 0);
  struct Case {
    std::string why;
    double service_ms, noise_ms;
    bool significant;
  };
  const Case cases[] = {
      {"nothing changed", 100, 0, false},
      {"a tenth faster", 90, 0, true},
      {"a tenth slower", 110, 0, true},
      {"as fast on average, other requests gain and lose", 100, 40, false},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const std::vector<MetricDelta> deltas = compared(base, queued(400, c.service_ms, c.noise_ms));
    for (const char* metric :
         {"request_throughput", "output_throughput", "total_token_throughput",
          "output_throughput_per_gpu", "request_goodput", "usd_per_million_output_tokens"}) {
      CAPTURE(std::string(metric));
      const MetricDelta* delta = find(deltas, metric);
      REQUIRE(delta != nullptr);
      REQUIRE(delta->significant);
      CHECK(*delta->significant == c.significant);
      const double slack = 1e-9 * delta->base;
      CHECK(*delta->p10 <= delta->abs + slack);
      CHECK(*delta->p90 >= delta->abs - slack);
    }
  }
}

TEST_CASE("a rate has no interval when blocks share their time") {
  // All end together: that is one observation of the duration, not 64.
  const auto together = [](double end) {
    HandMadeRun run;
    for (int i = 0; i < 64; ++i) run.complete({0, 0, 10, end}, 10, 11);
    return run;
  };
  const MetricDelta delta = *find(compared(together(1000), together(800)), "request_throughput");
  CHECK(delta.abs == Approx(64 / 0.8 - 64));
  CHECK_FALSE(delta.significant);
  CHECK_FALSE(delta.p10);
}

TEST_CASE("what depends on no request says so") {
  HandMadeRun base = waves(40, [](int) { return 0.0; });
  HandMadeRun other = waves(40, [](int) { return 0.0; });
  other.deployment.instances[0].memory.num_kv_tokens = 800;
  CHECK(find(compared(base, other), "num_kv_tokens")->exact);
}

TEST_CASE("a comparison is the same every time") {
  const HandMadeRun base = waves(100, [](int) { return 0.0; });
  const HandMadeRun other = waves(100, [](int i) { return 0.1 * i; });
  const MetricDelta first = *find(compared(base, other), "p90_ttft_ms");
  const MetricDelta second = *find(compared(base, other), "p90_ttft_ms");
  CHECK(*first.p10 == *second.p10);
  CHECK(*first.p90 == *second.p90);
}

TEST_CASE("changes name the path, what it was and what it is") {
  HandMadeRun run;
  VariantSpec variant;
  variant.set = {{"engine.max_num_seqs", "4"}, {"precision.kv_cache", "fp8"}};
  const std::vector<Change> changes = variant_changes(run.scenario, variant);
  REQUIRE(changes.size() == 2);
  CHECK(*changes[0].from == "8");
  CHECK(changes[0].to == "4");
  CHECK_FALSE(changes[1].from);
}

TEST_CASE("comparison.json has the glossary's fields") {
  Comparison comparison;
  comparison.baseline = "base";
  comparison.variants.push_back({"quick", {{"engine.max_num_seqs", "8", "4"}}, {}, ""});
  comparison.variants[0].delta.push_back(
      {"mean_ttft_ms", 10, 8, -2, -0.2, -2.5, -1.5, true, false});
  comparison.variants[0].delta.push_back({"p99_ttft_ms", 10, 8, -2, -0.2, {}, {}, {}, false});
  comparison.variants[0].delta.push_back({"num_kv_tokens", 10, 8, -2, -0.2, {}, {}, {}, true});
  comparison.variants.push_back({"small", {}, {}, "weights do not fit"});
  comparison.variants.push_back(
      {"same", {}, {{"p99_ttft_ms", 10, 10, 0, 0, 0, 0, false, false}}, ""});
  comparison.variants.push_back(
      {"noise", {}, {{"p99_ttft_ms", 10, 11, 1, 0.1, 0, 2, false, false}}, ""});
  // A tail that moved in this run alone: its middle four fifths are nothing, it is not.
  comparison.variants.push_back(
      {"tail", {}, {{"p99_ttft_ms", 10, 13, 3, 0.3, 0, 0, false, false}}, ""});
  std::ostringstream out;
  write_json(comparison, out);
  const auto json = nlohmann::json::parse(out.str());
  CHECK(json["baseline"] == "base");
  CHECK(json["variants"][0] == nlohmann::json::parse(R"({"name": "quick",
      "changes": [{"path": "engine.max_num_seqs", "from": "8", "to": "4"}],
      "delta": {"mean_ttft_ms": {"abs": -2.0, "rel": -0.2, "p10": -2.5, "p90": -1.5,
                                 "significant": true},
                "p99_ttft_ms": {"abs": -2.0, "rel": -0.2},
                "num_kv_tokens": {"abs": -2.0, "rel": -0.2}}})"));
  CHECK(json["variants"][1]["infeasible"] == "weights do not fit");
  std::ostringstream text;
  write_text(comparison, text);
  CHECK(text.str().find("~ = may be chance; ? = no interval") != std::string::npos);
  CHECK(text.str().find("   ?-20.0 %    -20.0 %\n") != std::string::npos);
  CHECK(text.str().find("     +0.0 %          -\n") !=
        std::string::npos);  // no difference, and no chance
  CHECK(text.str().find("   ~+10.0 %          -\n") != std::string::npos);
  CHECK(text.str().find("   ~+30.0 %          -\n") != std::string::npos);
  CHECK(text.str().find("small                does not fit: weights do not fit") !=
        std::string::npos);
}
