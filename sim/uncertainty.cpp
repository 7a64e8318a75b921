#include "sim/uncertainty.h"

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <exception>
#include <numeric>
#include <thread>
#include <utility>

#include "sim/base/random.h"
#include "sim/base/stats.h"
#include "sim/build.h"
#include "sim/report/metrics.h"
#include "sim/report/report.h"

namespace moesim {

namespace {

using Headlines = std::vector<std::pair<std::string, double>>;

void add(const char* metric, const std::optional<Summary>& summary, Headlines& out) {
  if (!summary) return;
  const std::string tail = std::string("_") + metric + "_ms";
  out.emplace_back("mean" + tail, summary->mean);
  out.emplace_back("p50" + tail, summary->p50);
  out.emplace_back("p90" + tail, summary->p90);
  out.emplace_back("p99" + tail, summary->p99);
}

double squared_correlation(const std::vector<double>& x, const std::vector<double>& y) {
  const auto n = static_cast<double>(x.size());
  const double mean_x = std::accumulate(x.begin(), x.end(), 0.0) / n;
  const double mean_y = std::accumulate(y.begin(), y.end(), 0.0) / n;
  double xx = 0, yy = 0, xy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
  }
  return xx > 0 && yy > 0 ? xy * xy / (xx * yy) : 0;
}

std::vector<HeadlineInterval::Driver> drivers_of(const std::vector<FamilyNoise>& noise,
                                                 const std::vector<double>& values) {
  std::vector<HeadlineInterval::Driver> drivers;
  double all = 0;
  for (int family = 0; family < kFamilyCount; ++family) {
    std::vector<double> z;
    z.reserve(noise.size());
    for (const FamilyNoise& replica : noise) z.push_back(replica[static_cast<std::size_t>(family)]);
    const double share = squared_correlation(z, values);
    drivers.push_back({family_name(static_cast<OperatorFamily>(family)), share});
    all += share;
  }
  if (all <= 0) return {};
  for (auto& driver : drivers) driver.share /= all;
  std::ranges::stable_sort(drivers, std::greater{}, &HeadlineInterval::Driver::share);
  return drivers;
}

RunResult run_replica(const Scenario& scenario, const Deployment& deployment,
                      const FamilyNoise& noise, const std::atomic<bool>* stop) {
  World world(scenario, deployment, {.stop = stop, .noise = noise});
  Metrics metrics(world.instance_count(), scenario, world.workload());
  world.run(&metrics);
  return make_result(world.view(), metrics, {});
}

}  // namespace

std::vector<FamilyNoise> replica_noise(int replicas) {
  const boost::math::normal_distribution<double> normal;
  std::vector<FamilyNoise> noise(static_cast<std::size_t>(replicas));
  for (int family = 0; family < kFamilyCount; ++family) {
    std::vector<double> quantiles;
    quantiles.reserve(noise.size());
    for (int i = 0; i < replicas; ++i)
      quantiles.push_back(boost::math::quantile(normal, (i + 0.5) / replicas));
    Rng random(0, "uncertainty", static_cast<std::uint64_t>(family));
    for (std::size_t i = quantiles.size(); i > 1; --i)
      std::swap(quantiles[i - 1], quantiles[random.below(static_cast<std::uint32_t>(i))]);
    for (std::size_t i = 0; i < noise.size(); ++i)
      noise[i][static_cast<std::size_t>(family)] = quantiles[i];
  }
  return noise;
}

Headlines headlines(const RunResult& result) {
  Headlines out;
  const auto add_rate = [&out](const char* name, const std::optional<double>& rate) {
    if (rate) out.emplace_back(name, *rate);
  };
  add_rate("request_throughput", result.summary.request_throughput);
  add_rate("output_throughput", result.summary.output_throughput);
  add_rate("total_token_throughput", result.summary.total_token_throughput);
  add("ttft", result.latency.time_to_first_token, out);
  add("tpot", result.latency.time_per_output_token, out);
  add("itl", result.latency.inter_token_latency, out);
  add("e2el", result.latency.request_latency, out);
  return out;
}

UncertaintySection summarize_replicas(const std::vector<FamilyNoise>& noise,
                                      const std::vector<RunResult>& results) {
  UncertaintySection section;
  section.replicas = static_cast<int>(results.size());
  section.method = "replicas with a log-normal factor per operator family";
  std::vector<Headlines> values;
  values.reserve(results.size());
  for (const RunResult& result : results) values.push_back(headlines(result));
  if (values.empty()) return section;
  for (std::size_t h = 0; h < values.front().size(); ++h) {
    std::vector<double> samples;
    for (const Headlines& replica : values) {
      if (h < replica.size()) samples.push_back(replica[h].second);
    }
    if (samples.size() != values.size()) continue;  // nothing completed in some replica
    HeadlineInterval interval;
    interval.headline = values.front()[h].first;
    interval.drivers = drivers_of(noise, samples);
    std::ranges::sort(samples);
    interval.p10 = percentile(samples, 10);
    interval.p50 = percentile(samples, 50);
    interval.p90 = percentile(samples, 90);
    section.intervals.push_back(std::move(interval));
  }
  return section;
}

std::optional<UncertaintySection> estimate_uncertainty(const Scenario& scenario,
                                                       const Deployment& deployment, int jobs,
                                                       const std::atomic<bool>* stop) {
  const int replicas = scenario.uncertainty_replicas;
  if (replicas < 2) return std::nullopt;
  const std::vector<FamilyNoise> noise = replica_noise(replicas);
  std::vector<RunResult> results(noise.size());
  std::vector<std::exception_ptr> failures(noise.size());
  std::atomic<std::size_t> next{0};
  const auto stopped = [stop] { return stop != nullptr && *stop; };
  const auto work = [&] {
    for (std::size_t i = next++; i < noise.size() && !stopped(); i = next++) {
      try {
        results[i] = run_replica(scenario, deployment, noise[i], stop);
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
  return summarize_replicas(noise, results);
}

}  // namespace moesim
