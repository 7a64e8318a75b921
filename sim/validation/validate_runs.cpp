#include "sim/validation/validate_runs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <system_error>
#include <utility>

#include "sim/base/diagnostic.h"
#include "sim/base/stats.h"
#include "sim/uncertainty.h"
#include "sim/validation/goals.h"
#include "sim/validation/predicted_run.h"
#include "sim/validation/recorded_run.h"

namespace moesim {
namespace {

namespace fs = std::filesystem;

bool is_run(const fs::path& folder) {
  std::error_code error;
  return fs::is_regular_file(folder / "engine.json", error);
}

/// The folder itself, or the runs in it, by name.
std::vector<fs::path> runs_in(const fs::path& folder) {
  if (is_run(folder)) return {folder};
  std::vector<fs::path> runs;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    if (is_run(entry.path())) runs.push_back(entry.path());
  }
  if (error) {
    throw_input_error({{folder.string(), 0, 0},
                       "",
                       "cannot be opened: " + error.message(),
                       "check the path and its permissions"});
  }
  std::ranges::sort(runs);
  if (runs.empty()) {
    throw_input_error({{folder.string(), 0, 0},
                       "",
                       "no recorded run: a folder with engine.json, requests.csv, measured.csv",
                       "name such a folder, or one that holds them"});
  }
  return runs;
}

constexpr const char* kNoBlocks =
    "kv_blocks: not recorded; engine.json has no kv_cache.num_gpu_blocks";

constexpr int kReplicas = 16;  ///< the default of `uncertainty.replicas`

struct Statistic {
  const char* name;
  double Summary::*value;
};
constexpr std::array kStatistics = {
    Statistic{"mean", &Summary::mean}, Statistic{"p50", &Summary::p50},
    Statistic{"p90", &Summary::p90}, Statistic{"p95", &Summary::p95},
    Statistic{"p99", &Summary::p99}};

/// A run at nominal step times, and with others.
struct SimulatedRun {
  PredictedRun nominal;
  std::vector<PredictedRun> replicas;
  int missing = 0;  ///< simulations not begun
};

/// Simulates each run and its replicas, `jobs` simulations at a time.
std::vector<SimulatedRun> simulated(const std::vector<RecordedRun>& runs, int jobs,
                                    const std::atomic<bool>* stop) {
  const std::vector<FamilyNoise> noise = replica_noise(kReplicas);
  const std::size_t each = noise.size() + 1;
  std::vector<std::optional<PredictedRun>> predicted(runs.size() * each);
  for_each_index(
      predicted.size(), jobs,
      [&](std::size_t i) {
        const RecordedRun& run = runs[i / each];
        const std::size_t replica = i % each;
        PredictOptions options{.workload = nullptr, .length_is_free = run.length_is_free};
        if (replica > 0) options.noise = noise[replica - 1];
        predicted[i] = run.problem.empty() ? predict(*run.scenario, options) : PredictedRun{};
      },
      stop);
  std::vector<SimulatedRun> out(runs.size());
  for (std::size_t i = 0; i < predicted.size(); ++i) {
    SimulatedRun& run = out[i / each];
    if (!predicted[i]) {
      ++run.missing;
    } else if (i % each == 0) {
      run.nominal = std::move(*predicted[i]);
    } else if (predicted[i]->problem.empty()) {
      run.replicas.push_back(std::move(*predicted[i]));
    }
  }
  return out;
}

/// Over each run's statistics, and over all of them.
std::vector<IntervalCoverage> coverage_of(const std::vector<ComparedValue>& rows) {
  std::vector<IntervalCoverage> out;
  IntervalCoverage pooled{"pooled", "statistics", 0, 0};
  for (const ComparedValue& row : rows) {
    if (!row.p10 || !row.p90) continue;
    if (out.empty() || out.back().name != row.id) out.push_back({row.id, "statistics", 0, 0});
    for (IntervalCoverage* group : {&out.back(), &pooled}) {
      ++group->n;
      group->share += *row.p10 <= row.measured && row.measured <= *row.p90 ? 1 : 0;
    }
  }
  if (pooled.n > 0) out.push_back(pooled);
  for (IntervalCoverage& group : out) group.share /= static_cast<double>(group.n);
  return out;
}

/// Adds the values of one run, a group each.
class RunComparison {
 public:
  RunComparison(const RecordedRun& run, Validation& out) : run_(run), out_(out) {}

  void compare(const SimulatedRun& simulated) {
    add_all("ttft", run_.ttft_ms, simulated, &PredictedRun::ttft_ms);
    add_all("tpot", run_.tpot_ms, simulated, &PredictedRun::tpot_ms);
    add_all("e2e", run_.e2e_ms, simulated, &PredictedRun::e2e_ms);
    if (run_.kv_blocks) {
      const auto blocks = static_cast<double>(simulated.nominal.num_gpu_blocks);
      add("kv_blocks", *run_.kv_blocks, blocks, 1, {});
    } else {
      out_.unsupported.push_back({run_.name, kNoBlocks, 0});
    }
  }

 private:
  using Quantity = std::optional<Summary> PredictedRun::*;

  void add_all(const std::string& quantity, const Summary& measured, const SimulatedRun& simulated,
               Quantity of) {
    const std::optional<Summary>& predicted = simulated.nominal.*of;
    if (measured.count == 0 || !predicted) return;
    for (const Statistic& statistic : kStatistics) {
      std::vector<double> replicas;
      for (const PredictedRun& replica : simulated.replicas) {
        if (const std::optional<Summary>& summary = replica.*of)
          replicas.push_back(*summary.*statistic.value);
      }
      add(quantity + "_" + statistic.name, measured.*statistic.value, *predicted.*statistic.value,
          measured.count, std::move(replicas));
    }
  }

  void add(const std::string& metric, double measured, double predicted, std::size_t n,
           std::vector<double> replicas) {
    ComparedValue value;
    if (!replicas.empty()) {
      std::ranges::sort(replicas);
      value.p10 = percentile(replicas, 10);
      value.p90 = percentile(replicas, 90);
    }
    value.id = run_.name;
    value.metric = metric;
    value.measured = measured;
    value.predicted = predicted;
    value.source = run_.name;
    value.gpu = run_.system;
    value.engine = run_.engine;
    value.moe = run_.moe;
    value.assumed = run_.assumed;
    const auto peer = std::ranges::find(run_.peer, metric, &RecordedRun::PeerError::metric);
    if (peer != run_.peer.end()) value.peer_error = peer->error;
    const double error = value.error();
    out_.groups.push_back({.name = run_.name,
                           .metric = metric,
                           .n = n,
                           .median_ape = std::abs(error),
                           .p90_ape = std::abs(error),
                           .median_pe = error});
    out_.rows.push_back(std::move(value));
  }

  const RecordedRun& run_;
  Validation& out_;
};

}  // namespace

Validation validate_runs(const std::vector<fs::path>& paths, int jobs,
                         const std::atomic<bool>* stop) {
  std::vector<RecordedRun> runs;
  for (const fs::path& path : paths) {
    for (const fs::path& folder : runs_in(path)) runs.push_back(read_recorded_run(folder));
  }
  const std::vector<SimulatedRun> predicted = simulated(runs, jobs, stop);
  Validation out;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const PredictedRun& nominal = predicted[i].nominal;
    const std::string& problem = runs[i].problem.empty() ? nominal.problem : runs[i].problem;
    if (predicted[i].missing > 0) {
      ++out.unreached;
    } else if (problem.empty()) {
      if (!nominal.assumed.empty()) runs[i].assumed.push_back(nominal.assumed);
      RunComparison(runs[i], out).compare(predicted[i]);
    } else {
      out.unsupported.push_back({runs[i].name, problem});
    }
  }
  out.coverage = coverage_of(out.rows);
  out.goals = run_goals(out);
  return out;
}

}  // namespace moesim
