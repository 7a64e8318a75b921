#include "sim/uncertainty.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <vector>

namespace moesim {

TEST_CASE("replicas cover every family evenly: a Latin hypercube of normal quantiles") {
  const std::vector<FamilyNoise> noise = replica_noise(16);
  REQUIRE(noise.size() == 16);
  for (std::size_t family = 0; family < kFamilyCount; ++family) {
    std::vector<double> z;
    double sum = 0;
    for (const FamilyNoise& replica : noise) {
      z.push_back(replica[family]);
      sum += replica[family];
    }
    std::ranges::sort(z);
    CHECK(std::abs(sum) < 1e-9);
    CHECK(z.front() == doctest::Approx(-1.8627).epsilon(0.001));  // quantile of 1/32
    for (std::size_t i = 1; i < z.size(); ++i) CHECK(z[i] > z[i - 1]);
  }
  CHECK(noise[0] != noise[1]);
}

TEST_CASE("an interval is of the replicas, and its drivers are the families that moved it") {
  const std::vector<FamilyNoise> noise = replica_noise(16);
  std::vector<RunResult> results;
  for (const FamilyNoise& z : noise) {
    RunResult result;
    const double attention = z[static_cast<std::size_t>(OperatorFamily::kAttention)];
    const double host = z[static_cast<std::size_t>(OperatorFamily::kHost)];
    result.summary.output_throughput = 1000 + 100 * attention + 10 * host;
    results.push_back(result);
  }
  const UncertaintySection section = summarize_replicas(noise, results);
  REQUIRE(section.intervals.size() == 1);
  const HeadlineInterval& interval = section.intervals[0];
  CHECK(interval.headline == "output_throughput");
  CHECK(interval.p10 == doctest::Approx(1000 - 128).epsilon(0.04));
  CHECK(interval.p90 == doctest::Approx(1000 + 128).epsilon(0.04));
  REQUIRE(!interval.drivers.empty());
  CHECK(interval.drivers[0].name == "attention");
  CHECK(interval.drivers[0].share > 0.6);
  double shares = 0;
  for (const auto& driver : interval.drivers) shares += driver.share;
  CHECK(shares == doctest::Approx(1));
}

}  // namespace moesim
