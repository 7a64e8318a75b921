#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "scenarios/load.h"
#include "sim/base/files.h"
#include "sim/build.h"
#include "sim/cli/cases.h"
#include "sim/cli/commands.h"
#include "sim/cli/exit_codes.h"
#include "sim/cli/interrupt.h"
#include "sim/cli/progress.h"
#include "sim/cli/strict.h"
#include "sim/kernel_log.h"
#include "sim/report/compare.h"
#include "sim/report/report.h"
#include "sim/report/timeline.h"
#include "sim/uncertainty.h"

namespace moesim {
namespace {

namespace fs = std::filesystem;

/// The base scenario or one variant, and what came of it.
struct Case {
  std::string name;  ///< empty for the base
  Scenario scenario;
  Deployment deployment;
  std::optional<fs::path> save_dir;
  std::optional<RunResult> result;
  RequestSamples samples;
  std::vector<MetricValues> replicas;
  KernelLog kernel_log;  ///< under --strict
  bool interrupted = false;

  /// Why it cannot run; empty if it can.
  [[nodiscard]] std::string infeasible() const {
    for (const InstanceInfo& instance : deployment.instances) {
      if (!instance.memory.feasible) return instance.memory.reason;
    }
    return "";
  }
};

Case load_case(const Arguments& args, const VariantSpec* variant) {
  Case out;
  if (variant != nullptr) {
    out.name = variant->name;
    out.scenario = load_variant(args, *variant);
  } else {
    out.scenario = load_scenario(args.inputs.front(), args.overrides);
  }
  out.deployment = lay_out(out.scenario);
  if (args.save_dir) out.save_dir = *args.save_dir / out.name;
  return out;
}

/// The base first, then its variants.
std::vector<Case> load_cases(const Arguments& args) {
  std::vector<Case> cases;
  cases.push_back(load_case(args, nullptr));
  const std::vector<VariantSpec> variants = cases.front().scenario.variants;
  for (const VariantSpec& variant : variants) cases.push_back(load_case(args, &variant));
  return cases;
}

/// What variants have recorded is read before the first case runs; a run without any reads its own.
Recordings read_recordings(const std::vector<Case>& cases) {
  if (cases.size() == 1) return {};
  std::vector<const Scenario*> scenarios;
  scenarios.reserve(cases.size());
  for (const Case& run : cases) scenarios.push_back(&run.scenario);
  return Recordings(scenarios);
}

/// Wall time and CPU time of this thread since construction.
class Stopwatch {
 public:
  [[nodiscard]] Timings elapsed() const {
    const std::chrono::duration<double, std::milli> wall = std::chrono::steady_clock::now() - wall_;
    return {wall.count(), cpu_ms() - cpu_};
  }

 private:
  static double cpu_ms() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
  }
  std::chrono::steady_clock::time_point wall_ = std::chrono::steady_clock::now();
  double cpu_ = cpu_ms();
};

template <class Write>
void save(const fs::path& path, const Write& write) {
  std::ostringstream text;
  write(text);
  write_file(path, text.str());
}

std::string left_out_of_trace(const Timeline& timeline) {
  return fmt::format("trace.json holds the first steps; {} later ones are left out",
                     timeline.dropped_steps());
}

constexpr const char* kReport = "report.json";
constexpr const char* kMetrics = "metrics.prom";
constexpr const char* kRequests = "requests.jsonl";
constexpr const char* kTrace = "trace.json";
constexpr const char* kComparison = "comparison.json";

/// Removes what an earlier run wrote and this one does not, and nothing else: beside a new report
/// it would be taken for part of it. Ours has `sign` in its first bytes.
void remove_stale(const fs::path& file, std::string_view sign) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return;
  std::string head(2000, '\0');
  {
    std::ifstream in(file);
    in.read(head.data(), static_cast<std::streamsize>(head.size()));
  }
  if (head.find(sign) != std::string::npos) fs::remove(file, error);
}

void save_case(const Arguments& args, const Case& run, const RunView& view,
               const Timeline* timeline) {
  if (!run.save_dir) return;
  save(*run.save_dir / kReport, [&](std::ostream& out) { write_json(*run.result, out); });
  save(*run.save_dir / kMetrics, [&](std::ostream& out) { write_prometheus(*run.result, out); });
  if (args.per_request) {
    save(*run.save_dir / kRequests, [&](std::ostream& out) { write_requests(view, out); });
  } else {
    remove_stale(*run.save_dir / kRequests, "\"terminal_status\"");
  }
  if (timeline == nullptr) return remove_stale(*run.save_dir / kTrace, "\"dropped_steps\"");
  save(*run.save_dir / kTrace, [&](std::ostream& out) { timeline->write(out); });
  if (timeline->dropped_steps() > 0 && !args.quiet) {
    std::cerr << fmt::format("moesim: {}: {}\n", run.save_dir->string(),
                             left_out_of_trace(*timeline));
  }
}

/// What all cases of a command share.
struct Session {
  const Arguments& args;
  bool compares = false;
  int replica_jobs = 1;  ///< replicas of one case simulated at a time
  std::atomic<std::int64_t> completed{0}, requests{0};  ///< for the progress bar
};

/// Simulates one case and saves what it wrote. `requests`: as they were read; null: read or draw
/// them.
void simulate_case(Session& session, Case& run, const Workload* requests) {
  const Arguments& args = session.args;
  const Stopwatch stopwatch;
  World world(run.scenario, run.deployment,
              {.check = args.check,
               .stop = &stop_requested(),
               .completed = &session.completed,
               .workload = requests,
               .kernel_log = args.strict ? &run.kernel_log : nullptr});
  session.requests += static_cast<std::int64_t>(world.workload().size());
  Metrics metrics(world.instance_count(), run.scenario, world.workload());
  std::optional<Timeline> timeline;
  if (args.timeline) timeline.emplace(run.scenario.model, run.deployment, metrics);
  if (timeline) {
    world.run(&*timeline);
  } else {
    world.run(&metrics);
  }
  RunView view = world.view();
  if (timeline && timeline->dropped_steps() > 0)
    view.warnings.push_back(left_out_of_trace(*timeline));
  run.interrupted = view.interrupted;
  run.result = make_result(view, metrics, stopwatch.elapsed());
  if (session.compares) run.samples = request_samples(view);
  if (!run.interrupted) {
    auto study = estimate_uncertainty(run.scenario, run.deployment, world.workload(),
                                      session.replica_jobs, &stop_requested());
    if (study) {
      run.result->uncertainty = std::move(study->section);
      run.replicas = std::move(study->replicas);
    }
  }
  save_case(args, run, view, timeline ? &*timeline : nullptr);
}

/// Runs every case that fits, `jobs` at a time. Results do not depend on how many.
void simulate_cases(const Arguments& args, const Recordings& recordings, std::vector<Case>& cases) {
  const int replica_jobs = std::max(1, args.jobs / static_cast<int>(cases.size()));
  Session session{args, cases.size() > 1, replica_jobs, {}, {}};
  std::optional<ProgressBar> bar;
  if (!args.quiet && ProgressBar::is_wanted())
    bar.emplace(cases.front().scenario.name, session.completed, session.requests);
  std::atomic<std::size_t> next{0};
  std::vector<std::exception_ptr> failures(cases.size());
  const auto work = [&] {
    for (std::size_t i = next++; i < cases.size() && !stop_requested(); i = next++) {
      try {
        if (cases[i].infeasible().empty()) simulate_case(session, cases[i], recordings.requests(i));
      } catch (...) {
        failures[i] = std::current_exception();
      }
    }
  };
  std::vector<std::thread> helpers;
  const std::size_t workers = std::min(cases.size(), static_cast<std::size_t>(args.jobs));
  for (std::size_t i = 1; i < workers; ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

Comparison compare_cases(const std::vector<Case>& cases) {
  const Case& base = cases.front();
  Comparison out;
  out.baseline = base.scenario.name;
  for (std::size_t i = 1; i < cases.size(); ++i) {
    const Case& run = cases[i];
    VariantComparison variant;
    variant.name = run.name;
    variant.changes = variant_changes(base.scenario, base.scenario.variants[i - 1]);
    variant.infeasible = run.infeasible();
    if (variant.infeasible.empty()) {
      if (!run.result || run.interrupted) continue;
      variant.delta = compare({*base.result, base.samples, base.replicas},
                              {*run.result, run.samples, run.replicas}, base.scenario.seed);
    }
    out.variants.push_back(std::move(variant));
  }
  return out;
}

/// The memory table says by how much it does not fit, and what would help.
int report_infeasible(const Arguments& args, const Case& run) {
  const MemoryReport report = make_memory_report(run.scenario, run.deployment);
  if (args.format == OutputFormat::kJson) {
    write_json(report, std::cout);
  } else {
    write_text(report, std::cout);
  }
  return kExitNothingFeasible;
}

/// Under --strict: says which cases leave the calibrated range and how; whether one does.
bool leaves_calibration(const std::vector<Case>& cases) {
  bool leaves = false;
  for (const Case& run : cases) {
    if (!run.result) continue;
    const std::string text = refusal(run.name.empty() ? run.scenario.name : run.name, run.scenario,
                                     *run.result, run.kernel_log);
    std::cerr << text;
    leaves = leaves || !text.empty();
  }
  return leaves;
}

void print(const Arguments& args, const RunResult& base, const Comparison* comparison) {
  if (args.format == OutputFormat::kJson) {
    if (comparison != nullptr) {
      write_json(base, *comparison, std::cout);
    } else {
      write_json(base, std::cout);
    }
    return;
  }
  write_text(base, std::cout);
  if (comparison != nullptr) write_text(*comparison, std::cout);
}

}  // namespace

int run_command(const Arguments& args) {
  std::vector<Case> cases = load_cases(args);
  if (!cases.front().infeasible().empty()) return report_infeasible(args, cases.front());
  const Recordings recordings = read_recordings(cases);
  catch_interrupts();
  simulate_cases(args, recordings, cases);
  if (!cases.front().result) return kExitInterrupted;
  if (args.strict && leaves_calibration(cases)) return kExitOutsideCalibration;
  if (cases.size() > 1) {
    const Comparison comparison = compare_cases(cases);
    if (args.save_dir) {
      save(*args.save_dir / kComparison, [&](std::ostream& out) { write_json(comparison, out); });
    }
    print(args, *cases.front().result, &comparison);
  } else {
    if (args.save_dir) remove_stale(*args.save_dir / kComparison, "\"tool_version\"");
    print(args, *cases.front().result, nullptr);
  }
  return stop_requested() ? kExitInterrupted : kExitOk;
}

}  // namespace moesim
