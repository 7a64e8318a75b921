#include "sim/validation/predicted_run.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <fmt/format.h>
#include <thread>
#include <utility>
#include <vector>

#include "sim/base/diagnostic.h"
#include "sim/build.h"
#include "sim/report/report.h"

namespace moesim {
namespace {

void take_report(const RunResult& result, PredictedRun& run) {
  run.ttft_ms = result.latency.time_to_first_token;
  run.tpot_ms = result.latency.time_per_output_token;
  run.itl_ms = result.latency.inter_token_latency;
  run.e2e_ms = result.latency.request_latency;
  run.output_tok_s = result.summary.output_throughput;
  run.total_tok_s = result.summary.total_token_throughput;
  run.completed = result.summary.completed;
  run.failed = result.summary.failed;
}

/// Why a deployment cannot start; empty if it can.
std::string infeasible(const Deployment& deployment) {
  for (const InstanceInfo& instance : deployment.instances) {
    if (!instance.memory.feasible) return "does not fit: " + instance.memory.reason;
  }
  return "";
}

/// Tokens of the longest request, prompt and output.
int longest_request(const Workload& workload) {
  std::uint32_t longest = 1;
  for (std::size_t r = 0; r < workload.size(); ++r)
    longest = std::max(longest, workload.prompt_tokens[r] + workload.output_tokens[r]);
  return static_cast<int>(longest);
}

/// Serves nothing longer than the load needs; whether that changes anything.
bool shorten(Scenario& scenario, const Workload& workload) {
  bool changed = false;
  const int longest = longest_request(workload);
  for (InstanceSpec& instance : scenario.instances) {
    changed = changed || longest < instance.engine.max_model_len;
    instance.engine.max_model_len = std::min(longest, instance.engine.max_model_len);
  }
  return changed;
}

PredictedRun simulated(Scenario scenario, const PredictOptions& options) {
  const Workload workload = options.workload != nullptr
                                ? *options.workload
                                : make_workload(scenario.workload, scenario.seed);
  Deployment deployment = lay_out(scenario);
  PredictedRun run;
  run.problem = infeasible(deployment);
  if (!run.problem.empty() && options.length_is_free && shorten(scenario, workload)) {
    deployment = lay_out(scenario);
    run.problem = infeasible(deployment);
    run.assumed = "max_model_len as long as the longest request";
  }
  run.infeasible = !run.problem.empty();
  if (run.infeasible) return run;
  run.num_gpu_blocks = deployment.instances.front().memory.num_gpu_blocks;
  World world(scenario, std::move(deployment), {.noise = options.noise, .workload = &workload});
  Metrics metrics(world.instance_count(), scenario, world.workload());
  world.run(&metrics);
  take_report(make_result(world.view(), metrics, {}), run);
  if (run.failed > 0)
    run.problem = fmt::format("{} of {} requests are refused or unfinished", run.failed,
                              run.failed + run.completed);
  return run;
}

}  // namespace

PredictedRun predict(const Scenario& scenario, const PredictOptions& options) {
  try {
    return simulated(scenario, options);
  } catch (const InputError& error) {
    const Diagnostic& first = error.diagnostics().front();
    PredictedRun run;
    run.problem =
        first.key.empty() ? first.problem : fmt::format("{}: {}", first.key, first.problem);
    return run;
  }
}

void for_each_index(std::size_t count, int jobs, const std::function<void(std::size_t)>& work,
                    const std::atomic<bool>* stop) {
  std::atomic<std::size_t> next{0};
  std::vector<std::exception_ptr> failures(count);
  const auto take_all = [&] {
    for (std::size_t i = next++; i < count; i = next++) {
      if (stop != nullptr && *stop) return;
      try {
        work(i);
      } catch (...) {
        failures[i] = std::current_exception();
      }
    }
  };
  std::vector<std::thread> helpers;
  const std::size_t workers = std::min(count, static_cast<std::size_t>(std::max(jobs, 1)));
  for (std::size_t i = 1; i < workers; ++i) helpers.emplace_back(take_all);
  take_all();
  for (std::thread& helper : helpers) helper.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace moesim
