#include "sim/uncertainty.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <string>
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

TEST_CASE("columns of the default replicas hardly correlate") {
  for (const int replicas : {8, 16, 64}) {
    CAPTURE(replicas);
    const std::vector<FamilyNoise> noise = replica_noise(replicas);
    // A random hypercube has 1/sqrt(n) per pair: 0.25 at 16, and twice that among fifteen pairs.
    const double most = replicas == 8 ? 0.35 : replicas == 16 ? 0.08 : 0.02;
    for (std::size_t a = 0; a < kFamilyCount; ++a) {
      for (std::size_t b = 0; b < a; ++b) {
        double ab = 0, aa = 0;
        for (const FamilyNoise& z : noise) {
          ab += z[a] * z[b];
          aa += z[a] * z[a];
        }
        CHECK(std::abs(ab / aa) < most);
      }
    }
  }
}

namespace {

/// `replicas` results whose output throughput is `value(deviations)`.
template <class Value>
HeadlineInterval interval_with(int replicas, const Value& value) {
  const std::vector<FamilyNoise> noise = replica_noise(replicas);
  std::vector<MetricValues> results;
  for (const FamilyNoise& z : noise) results.push_back({{"output_throughput", value(z)}});
  const UncertaintySection section = summarize_replicas(noise, results);
  REQUIRE(section.intervals.size() == 1);
  CHECK(section.replicas == replicas);
  CHECK((section.method.find("fewer than 8 rank no drivers") != std::string::npos) ==
        (replicas < 8));
  return section.intervals[0];
}

double share_of(const HeadlineInterval& interval, const std::string& family) {
  for (const auto& driver : interval.drivers) {
    if (driver.name == family) return driver.share;
  }
  return -1;
}

constexpr auto kExperts = static_cast<std::size_t>(OperatorFamily::kExperts);
constexpr auto kAttention = static_cast<std::size_t>(OperatorFamily::kAttention);
constexpr auto kHost = static_cast<std::size_t>(OperatorFamily::kHost);

}  // namespace

TEST_CASE("an interval is of the replicas, and drivers of a linear answer are exact") {
  for (const int replicas : {8, 16, 100}) {
    CAPTURE(replicas);
    const HeadlineInterval interval = interval_with(replicas, [](const FamilyNoise& z) {
      return 1000 + 100 * z[kAttention] + 50 * z[kHost] - 10 * z[kExperts];
    });
    CHECK(interval.headline == "output_throughput");
    CHECK(interval.p50 == doctest::Approx(1000).epsilon(0.05));
    // Variances 10000, 2500 and 100.
    CHECK(share_of(interval, "attention") == doctest::Approx(10000 / 12600.0));
    CHECK(share_of(interval, "host") == doctest::Approx(2500 / 12600.0));
    CHECK(share_of(interval, "experts") == doctest::Approx(100 / 12600.0));
    CHECK(share_of(interval, "gemm") == doctest::Approx(0).epsilon(1e-9));
    CHECK(interval.drivers[0].name == "attention");
  }
  const HeadlineInterval one =
      interval_with(16, [](const FamilyNoise& z) { return 1000 + 100 * z[kAttention]; });
  CHECK(one.p10 == doctest::Approx(1000 - 128).epsilon(0.04));
  CHECK(one.p90 == doctest::Approx(1000 + 128).epsilon(0.04));
}

TEST_CASE("a family that moves nothing drives nothing, though the answer is no straight line") {
  const auto step = [](const FamilyNoise& z) {
    return 5 * std::exp(0.2 * z[kExperts]) + 3 * std::exp(0.15 * z[kAttention]) + 1;
  };
  // Variances 1 and 0.2, a little more for the curvature.
  const HeadlineInterval few = interval_with(16, step);
  const HeadlineInterval many = interval_with(256, step);
  for (const char* family : {"gemm", "memory", "collective", "host"}) {
    CAPTURE(std::string(family));
    CHECK(share_of(few, family) < 0.01);
    CHECK(share_of(many, family) < 0.001);
  }
  CHECK(share_of(few, "experts") == doctest::Approx(share_of(many, "experts")).epsilon(0.03));
}

TEST_CASE("drivers are not named where replicas cannot tell") {
  const auto linear = [](const FamilyNoise& z) { return 1000 + 100 * z[kExperts]; };
  for (const int replicas : {2, 6, 7}) {
    CAPTURE(replicas);
    CHECK(interval_with(replicas, linear).drivers.empty());
    CHECK(interval_with(replicas, linear).p90 > 1050);
  }
  CHECK(interval_with(16, [](const FamilyNoise&) { return 1000.0; }).drivers.empty());
  // Something else moves it: queues that tip over, say.
  int next = 0;
  const auto chaotic = [&next](const FamilyNoise&) { return (next++ * 7) % 16 < 8 ? 1.0 : 2.0; };
  CHECK(interval_with(16, chaotic).drivers.empty());
}

}  // namespace moesim
