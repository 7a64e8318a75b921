// Backends that carry tokens to experts, where they cannot run.
#include <algorithm>
#include <doctest/doctest.h>
#include <string>

#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

struct Site {
  std::string profile = "h100_sxm", network = "ndr_400g", engine = "";
  int nodes = 1, dp = 8;
};

std::string scenario(const Site& site, const std::string& backend) {
  const std::string network =
      site.nodes > 1 ? ", network: {preset: rail_optimized, link: " + site.network + "}" : "";
  return "schema_version: 1\nname: t\nmodel: Qwen/Qwen3-30B-A3B\nsystem: {nodes: [{profile: " +
         site.profile + ", gpus: 8, count: " + std::to_string(site.nodes) + "}]" + network +
         "}\nengine:\n  enable_expert_parallel: true\n  max_model_len: 4096\n  all2all_backend: " +
         backend + "\n" + site.engine +
         "deployment: {instances: [{data_parallel_size: " + std::to_string(site.dp) +
         "}]}\nworkload: {arrival: {kind: all_at_once}, synthetic: {num_prompts: 4, input_tokens: "
         "64, output_tokens: 4}}\n";
}

std::string problem(const Site& site, const std::string& backend) {
  const std::vector<Diagnostic> mistakes = mistakes_of(scenario(site, backend));
  if (mistakes.empty()) return "";
  CHECK(mistakes.size() == 1);
  CHECK(mistakes[0].key == "engine.all2all_backend");
  CHECK(mistakes[0].where.line == 8);
  CHECK(!mistakes[0].hint.empty());
  return mistakes[0].problem;
}

TEST_CASE("a backend's old name means its new one") {
  const Scenario old = load_text(scenario({}, "flashinfer_all2allv"));
  CHECK(old.instances[0].engine.all2all_backend == "flashinfer_nvlink_two_sided");
  CHECK(std::ranges::count_if(old.resolved, [](const ResolvedOption& option) {
          return option.key == "engine.all2all_backend" &&
                 option.value == "flashinfer_nvlink_two_sided";
        }) == 1);
}

TEST_CASE("a backend runs only where its messages can go") {
  const Site node, cards{.profile = "l40s"}, rails{.nodes = 2, .dp = 16};
  const Site sockets{.network = "tcp_100g", .nodes = 2, .dp = 16};
  const Site trtllm{.engine = "  backend: trtllm\n"};
  for (const std::string one : {"flashinfer_nvlink_one_sided", "flashinfer_nvlink_two_sided"}) {
    CAPTURE(one);
    CHECK(problem(node, one).empty());
    CHECK(problem(trtllm, one).empty());
    CHECK(problem(cards, one) == one + " needs NVLink, and GPUs of l40s have PCIe");
    CHECK(problem(rails, one) == one + " needs NVLink between all 16 ranks, and a node has 8");
  }
  for (const std::string one : {"deepep_low_latency", "deepep_high_throughput", "pplx"}) {
    CAPTURE(one);
    CHECK(problem(node, one).empty());
    CHECK(problem(rails, one).empty());
    // No such system runs, but how far it would be off is a question one may ask.
    CHECK(problem(sockets, one).empty());
    const Scenario asked = load_text(scenario(sockets, one));
    CHECK(std::ranges::count_if(asked.warnings, [&](const std::string& text) {
            return text.starts_with("engine.all2all_backend: " + one + " sends by RDMA");
          }) == 1);
  }
  CHECK(problem(cards, "deepep_high_throughput").find("needs NVLink") != std::string::npos);
  CHECK(problem(trtllm, "deepep_low_latency").empty());
  for (const std::string one : {"pplx", "mori_low_latency", "nixl_ep"}) {
    CAPTURE(one);
    CHECK(problem(trtllm, one) == "TensorRT-LLM has no " + one);
  }
  CHECK(problem(sockets, "allgather_reducescatter").empty());
}

TEST_CASE("balancers take their engine's interval, and words say how placements are written") {
  const std::string eplb = "placement: {eplb: {num_redundant_experts: 0}}\n";
  const auto interval = [&](const std::string& engine) {
    return load_text(scenario({.engine = engine}, "deepep_low_latency") + eplb)
        .placement.step_interval;
  };
  CHECK(interval("") == 3000);
  CHECK(interval("  backend: sglang\n") == 1000);
  const auto mistakes = mistakes_of(scenario({}, "deepep_low_latency") + "placement: eplb\n");
  REQUIRE(mistakes.size() == 1);
  CHECK(mistakes[0].key == "placement");
  CHECK(mistakes[0].hint == "write {eplb: {num_redundant_experts: 8}}");
}

}  // namespace
}  // namespace moesim
