#include "sim/validation/validate_runs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <system_error>
#include <utility>

#include "sim/base/diagnostic.h"
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
  std::ranges::sort(runs);
  if (runs.empty()) {
    throw_input_error({{folder.string(), 0, 0},
                       "",
                       "no recorded run: a folder with engine.json, requests.csv, measured.csv",
                       "name such a folder, or one that holds them"});
  }
  return runs;
}

struct Statistic {
  const char* name;
  double Summary::*value;
};
constexpr std::array kStatistics = {
    Statistic{"mean", &Summary::mean}, Statistic{"p50", &Summary::p50},
    Statistic{"p90", &Summary::p90}, Statistic{"p95", &Summary::p95},
    Statistic{"p99", &Summary::p99}};

/// Adds the values of one run, a group each.
class RunComparison {
 public:
  RunComparison(const RecordedRun& run, Validation& out) : run_(run), out_(out) {}

  void compare(const PredictedRun& predicted) {
    add_all("ttft", run_.ttft_ms, predicted.ttft_ms);
    add_all("tpot", run_.tpot_ms, predicted.tpot_ms);
    add_all("e2e", run_.e2e_ms, predicted.e2e_ms);
    if (run_.kv_blocks)
      add("kv_blocks", *run_.kv_blocks, static_cast<double>(predicted.num_gpu_blocks), 1);
  }

 private:
  void add_all(const std::string& quantity, const Summary& measured,
               const std::optional<Summary>& predicted) {
    if (measured.count == 0 || !predicted) return;
    for (const Statistic& statistic : kStatistics) {
      add(quantity + "_" + statistic.name, measured.*statistic.value, *predicted.*statistic.value,
          measured.count);
    }
  }

  void add(const std::string& metric, double measured, double predicted, std::size_t n) {
    ComparedValue value;
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

Validation validate_runs(const std::vector<fs::path>& paths, int jobs) {
  std::vector<RecordedRun> runs;
  for (const fs::path& path : paths) {
    for (const fs::path& folder : runs_in(path)) runs.push_back(read_recorded_run(folder));
  }
  std::vector<PredictedRun> predicted(runs.size());
  for_each_index(runs.size(), jobs, [&](std::size_t i) {
    if (!runs[i].problem.empty()) return;
    predicted[i] =
        predict(*runs[i].scenario, {.workload = nullptr, .length_is_free = runs[i].length_is_free});
    if (!predicted[i].assumed.empty()) runs[i].assumed.push_back(predicted[i].assumed);
  });
  Validation out;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const std::string& problem = runs[i].problem.empty() ? predicted[i].problem : runs[i].problem;
    if (problem.empty()) {
      RunComparison(runs[i], out).compare(predicted[i]);
    } else {
      out.unsupported.push_back({runs[i].name, problem});
    }
  }
  out.goals = run_goals(out);
  return out;
}

}  // namespace moesim
