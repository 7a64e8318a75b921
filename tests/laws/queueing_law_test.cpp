// Queueing theory where it is exact: known waits in degenerate clusters, Little's law in the whole
// program's reports, and no idle GPU beside runnable work.
#include <algorithm>
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "sim/moesim.h"
#include "tests/laws/law_support.h"

using namespace moesim;
using namespace moesim::laws;

namespace {

constexpr SimTime kGpu = 1'000'000, kSchedule = 100'000, kPrepare = 150'000, kOutput = 50'000;
constexpr SimTime kService = kGpu + kSchedule + kPrepare + kOutput;

/// Engines that serve one request of one token at a time, host and GPU taking turns.
SmallCluster servers(int count) {
  SmallCluster cluster;
  cluster.instances = count;
  cluster.limits.max_num_seqs = 1;
  cluster.formula.step_ns = static_cast<double>(kGpu);
  cluster.host = {100, 0, 0, 0, 150, 0, 50, 0};
  return cluster;
}

Workload poisson(double mean_gap_ns, int requests) {
  Rng rng(1, "arrivals");
  std::vector<Ask> asks;
  double now = 0;
  for (int r = 0; r < requests; ++r) {
    now += rng.exponential() * mean_gap_ns;
    asks.push_back({static_cast<SimTime>(now), 4, 1});
  }
  return asked(asks);
}

double mean_wait(const RequestTable& table) {
  double sum = 0;
  for (std::size_t r = 0; r < table.size(); ++r) {
    sum += static_cast<double>(table.first_scheduled[r] - table.arrival[r]);
  }
  return sum / static_cast<double>(table.size());
}

}  // namespace

// Wait of M/D/1: rho s / (2 (1 - rho)) (F. Pollaczek 1930, A. Khinchine 1932). Host costs are part
// of the service where the engine works synchronously.
TEST_CASE("M/D/1: an engine with one place waits as Pollaczek and Khinchine say") {
  struct Case {
    double load, tolerance;
  };
  for (const Case& c : {Case{0.5, 0.02}, Case{0.8, 0.03}}) {
    CAPTURE(c.load);
    const auto service = static_cast<double>(kService);
    const SmallRun run(servers(1), poisson(service / c.load, 400'000), false);
    const double expect = c.load * service / (2 * (1 - c.load));
    CHECK(mean_wait(run.table()) == doctest::Approx(expect).epsilon(c.tolerance));
    // Poisson arrivals see time averages (R. Wolff 1982): 1 - rho of them find the engine idle.
    double idle = 0;
    for (std::size_t r = 0; r < run.table().size(); ++r) {
      idle += run.table().first_scheduled[r] == run.table().arrival[r] ? 1 : 0;
    }
    CHECK(idle / static_cast<double>(run.table().size()) ==
          doctest::Approx(1 - c.load).epsilon(0.01));
  }
}

// J. Kiefer and J. Wolfowitz, Trans. AMS 78, 1955: the next request starts when it has come and the
// first of c servers is free (c = 1: D. Lindley 1952). With equal service times, taking the servers
// in turn is taking the first free one.
TEST_CASE("M/D/c: round robin over engines with one place starts every request when c servers do") {
  for (const int count : {1, 2, 5}) {
    CAPTURE(count);
    const Workload workload = poisson(static_cast<double>(kService) / (0.9 * count), 5000);
    const SmallRun run(servers(count), workload);
    std::vector<SimTime> free(static_cast<std::size_t>(count), 0);
    for (std::size_t r = 0; r < workload.size(); ++r) {
      const auto first = std::min_element(free.begin(), free.end());
      const SimTime start = std::max(workload.arrival_ns[r], *first);
      *first = start + kService;
      REQUIRE(run.table().first_scheduled[r] == start);
      REQUIRE(run.table().finish[r] == *first);
    }
  }
}

// J. Little, Operations Research 9(3), 1961. The means in the report's utilization are integrals
// over steps, its latencies come from the request table: two ways to the same product. What
// arrives during a step is seen by the next one, hence the tolerance.
TEST_CASE("Little's law holds in the reports of whole runs") {
  const std::string lengths =
      "input_tokens: {lognormal: {mean: 400, p99: 2500}}, output_tokens: {uniform: [20, 300]}";
  struct Case {
    std::string why;
    std::string workload, more;
  };
  const Case cases[] = {
      {"light load",
       "arrival: {kind: poisson, request_rate: 4}, synthetic: {num_prompts: 500, " + lengths + "}",
       ""},
      {"a queue, for want of places",
       "arrival: {kind: poisson, request_rate: 14}, synthetic: {num_prompts: 900, " + lengths + "}",
       "engine: {max_num_seqs: 20}\ndeployment: {instances: [{tensor_parallel_size: 2}]}\n"},
      {"overload: the queue grows to the end",
       "arrival: {kind: poisson, request_rate: 60}, synthetic: {num_prompts: 900, " + lengths + "}",
       "engine: {max_num_seqs: 32}\ndeployment: {instances: [{tensor_parallel_size: 2}]}\n"},
      {"a full cache: preemptions",
       "arrival: {kind: poisson, request_rate: 25}, synthetic: {num_prompts: 500, " + lengths + "}",
       "engine: {num_gpu_blocks_override: 600, max_model_len: 6000}\n"
       "deployment: {instances: [{tensor_parallel_size: 2}]}\n"},
      {"everybody at once",
       "arrival: {kind: all_at_once}, synthetic: {num_prompts: 600, " + lengths + "}", ""},
      {"a closed loop",
       "arrival: {kind: closed_loop, max_concurrency: 24}, synthetic: {num_prompts: 600, " +
           lengths + "}",
       ""},
      {"a pipeline",
       "arrival: {kind: poisson, request_rate: 8}, synthetic: {num_prompts: 500, " + lengths + "}",
       "deployment: {instances: [{pipeline_parallel_size: 2, tensor_parallel_size: 2}]}\n"},
      {"four instances",
       "arrival: {kind: gamma, request_rate: 40, burstiness: 0.4}, synthetic: {num_prompts: 900, " +
           lengths + "}",
       "deployment: {instances: [{count: 4, tensor_parallel_size: 2}], request_router: "
       "least_loaded}\n"},
      {"static batches",
       "arrival: {kind: all_at_once}, synthetic: {num_prompts: 200, " + lengths + "}",
       "engine: {backend: static_batch, max_num_seqs: 16}\n"
       "deployment: {instances: [{tensor_parallel_size: 2}]}\n"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    // The law is of the engine: a request behind the API server neither runs nor waits there.
    Scenario scenario = scenario_of(c.workload, c.more);
    for (InstanceSpec& instance : scenario.instances) instance.engine.profile.api = {};
    World world = build(scenario);
    const RunResult result = simulate(world);
    REQUIRE(result.latency.request_latency);
    const double rate = static_cast<double>(result.summary.completed) / result.summary.duration;
    const double in_system = rate * result.latency.request_latency->mean * 1e-3;
    const UtilizationSection& use = result.utilization;
    CHECK(use.running_mean + use.waiting_mean == doctest::Approx(in_system).epsilon(0.005));
  }
}

TEST_CASE("a synchronous engine with something to do starts the next step at once") {
  constexpr SimTime kBefore = 700, kAfter = 300;  // schedule and prepare; output
  for (const std::string scheduler : {"vllm_v1", "static_batch"}) {
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
      CAPTURE(scheduler);
      CAPTURE(seed);
      ClusterLoad load = random_load(seed, {.one_stage = true});
      load.cluster.scheduler = scheduler;
      load.cluster.limits.async = false;
      load.cluster.host = {0.5, 0, 0, 0, 0.2, 0, 0.3, 0};
      if (scheduler == "static_batch") load.cluster.blocks = 10'000;
      const SmallRun run(load.cluster, load.workload);
      const RequestTable& table = run.table();
      for (std::size_t i = 0; i < run.simulation().instances().size(); ++i) {
        const std::vector<StepRecord> steps = run.recorder().steps_of(i);
        for (std::size_t k = 1; k < steps.size(); ++k) {
          const SimTime ready = steps[k - 1].out_done;
          SimTime first_work = kNever;  // who is here, or comes next
          for (std::size_t r = 0; r < table.size(); ++r) {
            const bool mine =
                table.instance[r] == i && table.status[r] == RequestStatus::kCompleted;
            if (mine && table.finish[r] > ready)
              first_work = std::min(first_work, table.arrival[r]);
          }
          CHECK(ready == steps[k - 1].gpu_end + kAfter);
          CHECK(steps[k].scheduled == std::max(ready, first_work));
          CHECK(steps[k].gpu_start == steps[k].scheduled + kBefore);
          // A request that the last one's end lets in comes in that instant: nobody waited for the
          // host.
          if (first_work == ready) continue;
          CHECK(steps[k].gap == (first_work < ready ? kAfter + kBefore : 0));
        }
      }
    }
  }
}

TEST_CASE("with async scheduling the GPU never idles longer than the host works") {
  std::int64_t idle_steps = 0, hidden = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    ClusterLoad load = random_load(seed, {.one_stage = true});
    load.cluster.limits.async = true;
    load.cluster.host = {0.5, 0, 0, 0, 0.2, 0, 0.3, 0};
    // Output of the step before and of the last one - a call between them may find nothing to run,
    // because all tokens are in flight - then schedule and prepare.
    constexpr SimTime kMost = 2 * 300 + 700;
    const SmallRun run(load.cluster, load.workload);
    const RequestTable& table = run.table();
    for (std::size_t i = 0; i < run.simulation().instances().size(); ++i) {
      const std::vector<StepRecord> steps = run.recorder().steps_of(i);
      for (std::size_t k = 1; k < steps.size(); ++k) {
        const StepRecord& before = steps[k - 1];
        SimTime first_work = kNever;
        for (std::size_t r = 0; r < table.size(); ++r) {
          const bool mine = table.instance[r] == i && table.status[r] == RequestStatus::kCompleted;
          if (mine && table.finish[r] > before.out_done) {
            first_work = std::min(first_work, table.arrival[r]);
          }
        }
        if (first_work == kNever) {  // found too late that everybody had ended
          CHECK(steps[k].tokens_out == 0);
          continue;
        }
        const SimTime since = std::max(before.gpu_end, first_work);
        CHECK(steps[k].gpu_start <= since + kMost);
        ++(steps[k].gpu_start > before.gpu_end ? idle_steps : hidden);
      }
    }
  }
  CHECK(hidden > 0);
  CHECK(idle_steps > 0);
}
