#include "scenarios/expert_tiers.h"

#include <doctest/doctest.h>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "scenarios/load.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

/// Instances of two GPUs each on one node of H100.
Scenario scenario_of(int gpus, int instances, const std::string& tier) {
  return load_scenario_text(
      "schema_version: 1\nname: tiers\nmodel: mistralai/Mixtral-8x7B-v0.1\n"
      "system: {nodes: [{profile: h100_sxm, gpus: " +
          std::to_string(gpus) +
          "}]}\n"
          "deployment: {instances: [{tensor_parallel_size: 2, count: " +
          std::to_string(instances) +
          "}]}\n"
          "workload: {arrival: {kind: all_at_once}, synthetic: {num_prompts: 1, input_tokens: 9, "
          "output_tokens: 9}}\n"
          "offload: {experts: {resident_fraction: 0.5, tier: " +
          tier + "}}\n",
      "tiers.yaml", ".");
}

TierLink link_of(const Scenario& scenario) {
  const Layout layout = lay_out(scenario.cluster, scenario.instances);
  const auto link = tier_link(scenario, layout, layout.gpus.front());
  REQUIRE(link);
  return *link;
}

TEST_CASE("host memory: a PCIe link each, and an even share of the node's 2 TB") {
  const TierLink link = link_of(scenario_of(8, 2, "host"));
  CHECK(link.bandwidth.value() == doctest::Approx(64e9 * 0.76));
  CHECK(link.latency.value() == doctest::Approx(1.5e-6));
  CHECK(link.room == Bytes(500'000'000'000));
}

// DGX H100: 563.2 GB/s, 0.60 of it, and 14.34 TFLOPS, for four busy GPUs of eight.
TEST_CASE("the CPU's bandwidth and peak are shared by the GPUs that run an instance") {
  const TierLink link = link_of(scenario_of(8, 2, "host"));
  CHECK(link.cpu_bandwidth.value() == doctest::Approx(563.2e9 * 0.60 / 4));
  CHECK(link.cpu_flops.value() == doctest::Approx(14.34e12 / 4));
  CHECK(link_of(scenario_of(8, 2, "peer")).cpu_bandwidth.value() == 0);
}

TEST_CASE("stages of a pipeline that take turns share nothing") {
  Scenario scenario = scenario_of(8, 1, "host");
  InstanceSpec& spec = scenario.instances.front();
  spec.parallel.tp = 1;
  spec.parallel.pp = 2;
  spec.engine.max_num_seqs = 1;
  CHECK(link_of(scenario).cpu_bandwidth.value() == doctest::Approx(563.2e9 * 0.60));
  spec.engine.max_num_seqs = 16;
  scenario.workload.synthetic.num_prompts = 100;
  CHECK(link_of(scenario).cpu_bandwidth.value() == doctest::Approx(563.2e9 * 0.60 / 2));
  scenario.workload.arrival.max_concurrency = 1;
  CHECK(link_of(scenario).cpu_bandwidth.value() == doctest::Approx(563.2e9 * 0.60));
}

TEST_CASE("a system that does not state its memory has no limit") {
  Scenario scenario = scenario_of(8, 2, "host");
  scenario.cluster.nodes[0].system.node.host_mem_capacity = Bytes(0);
  CHECK(link_of(scenario).room == Bytes(0));
}

TEST_CASE("peers: as many readers each as whole GPUs can be dealt out") {
  struct Case {
    const char* why;
    int gpus, instances, readers;
  };
  for (const Case& c :
       {Case{"two GPUs, six peers", 8, 1, 1}, Case{"four and four", 8, 2, 1},
        Case{"four, three peers: one has two readers", 7, 2, 2}, Case{"six, one peer", 7, 3, 6}}) {
    CAPTURE(std::string(c.why));
    const Scenario scenario = scenario_of(c.gpus, c.instances, "peer");
    const TierLink link = link_of(scenario);
    CHECK(link.bandwidth.value() == doctest::Approx(450e9 * 0.73 / c.readers));
    CHECK(link.room.value() ==
          scenario.cluster.nodes[0].system.gpu.reported_capacity.value() / c.readers);
  }
}

TEST_CASE("a system that does not say how fast its host is names the key") {
  const TempFolder folder;
  std::ifstream file(std::string(MOESIM_ROOT) + "/hardware/systems/rtx_4090.yaml");
  std::ostringstream shipped;
  shipped << file.rdbuf();
  for (const std::string key : {"host_mem_bw", "host_flops", "host_memory"}) {
    CAPTURE(key);
    std::string text = shipped.str();
    const std::size_t at = text.find("  " + key + ":");
    text.erase(at, text.find('\n', at) + 1 - at);
    const std::string path = folder.write(key + ".yaml", text).string();
    const std::string problem = "the system " + key +
                                (key == "host_memory" ? " has no efficiency." : " has no node.") +
                                key;
    const std::vector<Diagnostic> found =
        mistakes_of(with_line(19, "offload: {experts: {resident_fraction: 0.5, compute: cpu}}"),
                    {{"system.nodes.0.profile", path}});
    CHECK(compare(found, {{19, "offload.experts", problem.c_str(), "write compute: gpu"}}) == "");
  }
}

TEST_CASE("idle GPUs that hold experts are not reported as idle") {
  CHECK(scenario_of(8, 2, "peer").warnings.size() + 1 == scenario_of(8, 2, "host").warnings.size());
}

TEST_CASE("uniform routing has no hot experts to pin: the run says so") {
  const Scenario scenario = scenario_of(4, 2, "host");
  REQUIRE(scenario.warnings.size() == 1);
  CHECK(scenario.warnings[0].find("none hotter") != std::string::npos);
}

}  // namespace
}  // namespace moesim
