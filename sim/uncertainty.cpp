#include "sim/uncertainty.h"

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <exception>
#include <fmt/format.h>
#include <numeric>
#include <thread>
#include <tuple>
#include <utility>

#include "sim/base/random.h"
#include "sim/base/stats.h"
#include "sim/build.h"
#include "sim/report/metrics.h"
#include "sim/report/report.h"

namespace moesim {

namespace {

constexpr std::size_t kFamilies = kFamilyCount;
/// A coefficient a family, one for the mean, and one degree of freedom for what they do not
/// explain.
constexpr std::size_t kFewestForDrivers = kFamilies + 2;

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

/// Deviations by family, replica by replica: all of one family have the same sum (0) and the same
/// sum of squares, in another order.
using Columns = std::array<std::vector<double>, kFamilies>;

/// Sum of squared products over pairs of families; 0 if none correlates with another.
double correlation_of(const Columns& columns) {
  double sum = 0;
  for (std::size_t a = 0; a < kFamilies; ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      const double product = dot(columns[a], columns[b]);
      sum += product * product;
    }
  }
  return sum;
}

/// `quantiles`, which ascend, in the order of `values`.
std::vector<double> in_order_of(const std::vector<double>& values,
                                const std::vector<double>& quantiles) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return values[i]; });
  std::vector<double> out(values.size());
  for (std::size_t rank = 0; rank < order.size(); ++rank) out[order[rank]] = quantiles[rank];
  return out;
}

/// Owen's rearrangement: take from a column what the others explain, put the quantiles in the order
/// of what remains, again and again; the least correlated columns met on the way are kept.
Columns decorrelated(Columns columns, const std::vector<double>& quantiles) {
  constexpr int kPasses = 50;
  Columns best = columns;
  double least = correlation_of(best);
  for (int pass = 0; pass < kPasses; ++pass) {
    for (std::size_t a = 0; a < kFamilies; ++a) {
      std::vector<double> rest = columns[a];
      for (std::size_t b = 0; b < kFamilies; ++b) {
        if (b == a) continue;
        const double share = dot(rest, columns[b]) / dot(columns[b], columns[b]);
        for (std::size_t i = 0; i < rest.size(); ++i) rest[i] -= share * columns[b][i];
      }
      columns[a] = in_order_of(rest, quantiles);
    }
    const double now = correlation_of(columns);
    if (now < least) std::tie(best, least) = std::pair(columns, now);
  }
  return best;
}

/// Part of the variance that each family makes, by least squares on all of them at once.
std::vector<HeadlineInterval::Driver> drivers_of(const std::vector<FamilyNoise>& noise,
                                                 const std::vector<double>& values) {
  constexpr double kMostUnexplained = 0.5;  // with more, the families are not what moves it
  constexpr double kRounding = 1e-9;
  const std::size_t n = values.size();
  if (n < kFewestForDrivers) return {};
  constexpr auto kColumns = static_cast<Eigen::Index>(kFamilies + 1);
  Eigen::MatrixXd factors(static_cast<Eigen::Index>(n), kColumns);
  for (std::size_t i = 0; i < n; ++i) {
    const auto row = static_cast<Eigen::Index>(i);
    for (std::size_t f = 0; f < kFamilies; ++f)
      factors(row, static_cast<Eigen::Index>(f)) = noise[i][f];
    factors(row, kColumns - 1) = 1;
  }
  const Eigen::Map<const Eigen::VectorXd> y(values.data(), static_cast<Eigen::Index>(n));
  const Eigen::VectorXd slopes = factors.colPivHouseholderQr().solve(y);
  const double residual =
      (y - factors * slopes).squaredNorm() / static_cast<double>(n - kFamilies - 1);
  std::vector<HeadlineInterval::Driver> drivers;
  const double variance =
      (y.array() - y.mean()).matrix().squaredNorm() / static_cast<double>(n - 1);
  if (std::sqrt(variance) <= kRounding * std::abs(y.mean())) return {};
  if (residual > kMostUnexplained * variance) return {};
  double all = 0;
  for (std::size_t f = 0; f < kFamilies; ++f) {
    const auto column = static_cast<Eigen::Index>(f);
    const double by_chance = residual / factors.col(column).squaredNorm();
    const double share = std::max(0.0, slopes(column) * slopes(column) - by_chance);
    drivers.push_back({family_name(static_cast<OperatorFamily>(f)), share});
    all += share;
  }
  if (all <= 0) return {};
  for (auto& driver : drivers) driver.share /= all;
  std::ranges::stable_sort(drivers, std::greater{}, &HeadlineInterval::Driver::share);
  return drivers;
}

MetricValues run_replica(const Scenario& scenario, const Deployment& deployment,
                         const Workload& requests, const FamilyNoise& noise,
                         const std::atomic<bool>* stop) {
  World world(scenario, deployment, {.stop = stop, .noise = noise, .workload = &requests});
  Metrics metrics(world.instance_count(), scenario, world.workload());
  world.run(&metrics);
  return headlines(make_result(world.view(), metrics, {}));
}

}  // namespace

std::vector<FamilyNoise> replica_noise(int replicas) {
  const boost::math::normal_distribution<double> normal;
  std::vector<double> quantiles;
  for (int i = 0; i < replicas; ++i)
    quantiles.push_back(boost::math::quantile(normal, (i + 0.5) / replicas));
  Columns columns;
  for (std::size_t family = 0; family < kFamilies; ++family) {
    columns[family] = quantiles;
    Rng random(0, "uncertainty", family);
    for (std::size_t i = quantiles.size(); i > 1; --i)
      std::swap(columns[family][i - 1],
                columns[family][random.below(static_cast<std::uint32_t>(i))]);
  }
  if (quantiles.size() >= kFewestForDrivers) columns = decorrelated(std::move(columns), quantiles);
  std::vector<FamilyNoise> noise(quantiles.size());
  for (std::size_t i = 0; i < noise.size(); ++i) {
    for (std::size_t family = 0; family < kFamilies; ++family)
      noise[i][family] = columns[family][i];
  }
  return noise;
}

UncertaintySection summarize_replicas(const std::vector<FamilyNoise>& noise,
                                      const std::vector<MetricValues>& results) {
  UncertaintySection section;
  section.replicas = static_cast<int>(results.size());
  section.method = "replicas with a log-normal factor per operator family";
  if (results.size() < kFewestForDrivers) {
    section.method +=
        fmt::format("; fewer than {} rank no drivers and bound little", kFewestForDrivers);
  }
  if (results.empty()) return section;
  for (const auto& [headline, first] : results.front()) {
    std::vector<double> samples;
    for (const MetricValues& replica : results) {
      const auto found = std::ranges::find(replica, headline, &MetricValues::value_type::first);
      if (found != replica.end()) samples.push_back(found->second);
    }
    if (samples.size() != results.size()) continue;  // nothing completed in some replica
    HeadlineInterval interval;
    interval.headline = headline;
    interval.drivers = drivers_of(noise, samples);
    std::ranges::sort(samples);
    interval.p10 = percentile(samples, 10);
    interval.p50 = percentile(samples, 50);
    interval.p90 = percentile(samples, 90);
    section.intervals.push_back(std::move(interval));
  }
  return section;
}

std::optional<ReplicaStudy> estimate_uncertainty(const Scenario& scenario,
                                                 const Deployment& deployment,
                                                 const Workload& requests, int jobs,
                                                 const std::atomic<bool>* stop) {
  const int replicas = scenario.uncertainty_replicas;
  if (replicas < 2) return std::nullopt;
  const std::vector<FamilyNoise> noise = replica_noise(replicas);
  std::vector<MetricValues> results(noise.size());
  std::vector<std::exception_ptr> failures(noise.size());
  std::atomic<std::size_t> next{0};
  const auto stopped = [stop] { return stop != nullptr && *stop; };
  const auto work = [&] {
    for (std::size_t i = next++; i < noise.size() && !stopped(); i = next++) {
      try {
        results[i] = run_replica(scenario, deployment, requests, noise[i], stop);
      } catch (...) {
        failures[i] = std::current_exception();
      }
    }
  };
  std::vector<std::thread> helpers;
  for (int i = 1; i < std::min(jobs, replicas); ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
  if (stopped()) return std::nullopt;
  ReplicaStudy study{summarize_replicas(noise, results), {}};
  study.replicas = std::move(results);
  return study;
}

}  // namespace moesim
