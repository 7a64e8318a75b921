// --jobs: how many simulations run at a time changes no result.
#include <cstdio>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

/// Two instances with a balancer of their own, routing that drifts, replicas with other step times,
/// and variants that are priced otherwise.
const char* const kScenario = R"(schema_version: 1
name: jobs
model: mistralai/Mixtral-8x7B-v0.1
system: {nodes: [{profile: h200_sxm, gpus: 8}]}
engine: {enable_expert_parallel: true, all2all_backend: deepep_low_latency}
deployment: {instances: [{data_parallel_size: 4, count: 2}]}
routing: {kind: zipf, exponent: 0.8, drift: {kind: ar1, half_life_s: 20}}
placement: {eplb: {window_size: 30, step_interval: 60, num_redundant_experts: 4}}
uncertainty: {replicas: 3}
workload:
  arrival: {kind: poisson, request_rate: 20}
  synthetic: {num_prompts: 16, input_tokens: {uniform: [20, 300]}, output_tokens: {uniform: [10, 50]}}
variants:
  - {name: exact, set: {routing.fidelity: exact}}
  - {name: capacity, set: {routing.capacity_factor: 1.25}}
)";

/// Drops what is measured, not simulated.
void drop_wall_times(json& value) {
  if (value.is_array() || value.is_object()) {
    for (auto& item : value) drop_wall_times(item);
  }
  if (value.is_object()) value.erase("simulator");
}

json run(const fs::path& folder, int jobs) {
  const std::string out = (folder / ("out" + std::to_string(jobs))).string();
  const std::string command = std::string(MOESIM_PROGRAM) + " run " +
                              (folder / "jobs.yaml").string() + " --format json --jobs " +
                              std::to_string(jobs) + " > " + out;
  REQUIRE(std::system(command.c_str()) == 0);
  std::ifstream in(out);
  json report = json::parse(in);
  drop_wall_times(report);
  return report;
}

}  // namespace

TEST_CASE("as many jobs as one likes, the same reports to the last digit") {
  const fs::path folder = fs::temp_directory_path() / "moesim_jobs_test";
  fs::create_directories(folder);
  std::ofstream(folder / "jobs.yaml") << kScenario;
  const json one = run(folder, 1);
  REQUIRE(one.dump().find("copy_ms") != std::string::npos);  // experts were rebalanced
  CHECK(one == run(folder, 1));
  for (const int jobs : {2, 4, 9}) {  // nine: replicas of one case side by side
    CAPTURE(jobs);
    CHECK(one == run(folder, jobs));
  }
  fs::remove_all(folder);
}
