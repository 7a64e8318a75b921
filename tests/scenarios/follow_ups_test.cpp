// One mistake is one message: what follows from a value that could not be read is not told, and the
// keys beside it are.

#include <doctest/doctest.h>

#include "tests/scenarios/line_cases.h"

namespace moesim {
namespace {

void check(const std::vector<LineCase>& cases) {
  CHECK(differences(cases) == "");
}

TEST_CASE("a mistyped choice hides no mistake beside it, and makes none") {
  check({
      {"a preset, and a link that exists",
       7,
       "    - {profile: a100_sxm, count: 2}\n  network: {preset: leaf_spin, link: ndr_400g}",
       {{8, "system.network.preset", "'leaf_spin'", "leaf_spine"}}},
      {"a preset, a link and a number",
       7,
       "    - {profile: a100_sxm, count: 2}\n"
       "  network: {preset: leaf_spin, link: ndr_400, oversubscription: 0}",
       {{8, "system.network.preset", "'leaf_spin'", "leaf_spine"},
        {8, "system.network.link", "unknown link type 'ndr_400'", "ndr_400g"},
        {8, "system.network.oversubscription", "outside", ""}}},
      {"a kind of arrivals and its numbers",
       14,
       "  arrival: {kind: poison, request_rate: -4, max_concurrency: many}",
       {{14, "workload.arrival.kind", "'poison'", "'poisson'"},
        {14, "workload.arrival.request_rate", "outside", ""},
        {14, "workload.arrival.max_concurrency", "expected a whole number", ""}}},
      {"a kind of arrivals and good numbers of several kinds",
       14,
       "  arrival: {kind: gama, request_rate: inf, burstiness: 2}",
       {{14, "workload.arrival.kind", "'gama'", "'gamma'"}}},
      {"a backend, and a key of that backend's steps",
       9,
       "  backend: static_bach\n  max_num_batched_tokens: 2048\n  max_num_seqs: 4096",
       {{9, "engine.backend", "'static_bach'", "static_batch"}}},
      {"a backend, and a key that only it has",
       9,
       "  backend: sglan\n  page_size: 16",
       {{9, "engine.backend", "'sglan'", "sglang"}}},
      {"targets of adapters, and what one of them takes",
       4,
       "lora: {adapters: 2, targets: hot_expert, hot_experts: 4}",
       {{4, "lora.targets", "'hot_expert'", "hot_experts"}}},
      {"a number of adapters, and their rank",
       4,
       "lora: {adapters: -1, rank: 8}",
       {{4, "lora.adapters", "outside", ""}}},
  });
}

TEST_CASE("all mistakes of a graph are told, each at its own place") {
  const std::string nodes =
      "    - {profile: a100_sxm, count: 2}\n  network:\n    preset: explicit\n"
      "    link: ndr_400g\n    graph:\n      vertices: [leaf0, leaf0]\n      edges:\n";
  const std::string two = nodes +
                          "        - {from: node0, to: leaf9}\n"
                          "        - {from: node3, to: leaf0}";
  const std::string link = nodes +
                           "        - {from: node0, to: leaf0, link: ndr_40}\n"
                           "        - {from: node1, to: leaf9}";
  check({
      {"a vertex twice, two unknown",
       7,
       two.c_str(),
       {{12, "system.network.graph.vertices.1", "'leaf0' appears twice", ""},
        {14, "system.network.graph.edges.0.to", "unknown vertex 'leaf9'", "leaf0"},
        {15, "system.network.graph.edges.1.from", "unknown vertex 'node3'", "node"}}},
      {"an edge without a link is none without bandwidth",
       7,
       link.c_str(),
       {{12, "system.network.graph.vertices.1", "'leaf0' appears twice", ""},
        {14, "system.network.graph.edges.0.link", "unknown link type", "ndr_400g"},
        {15, "system.network.graph.edges.1.to", "unknown vertex 'leaf9'", "leaf0"}}},
  });
}

TEST_CASE("a value out of range is not judged by the value taken instead") {
  check({
      {"a size of a graph",
       9,
       "  cudagraph_capture_sizes: [4, 2, 0]",
       {{9, "engine.cudagraph_capture_sizes.2", "outside", ""}}},
      {"sizes that are no list",
       9,
       "  cudagraph_capture_sizes: 1,2,4",
       {{9, "engine.cudagraph_capture_sizes", "expected a list", ""}}},
      {"no turns",
       16,
       "    num_prompts: 100\n    turns: 0\n    think_time_s: 1",
       {{17, "workload.synthetic.turns", "outside", ""}}},
      {"turns of a distribution",
       16,
       "    num_prompts: 100\n    turns: {uniform: [1, 1e18]}\n    think_time_s: 1",
       {{17, "workload.synthetic.turns.uniform.1", "outside", ""}}},
      {"the end of a uniform distribution",
       17,
       "    input_tokens: {uniform: [1, 1e18]}",
       {{17, "workload.synthetic.input_tokens.uniform.1", "outside", ""}}},
      {"the tail of a lognormal one",
       17,
       "    input_tokens: {lognormal: {mean: 10, p99: 1e8}}",
       {{17, "workload.synthetic.input_tokens.lognormal.p99", "outside", ""}}},
      {"the name of a distribution",
       17,
       "    input_tokens: {uniforn: [1, 10]}",
       {{17, "workload.synthetic.input_tokens.uniforn", "unknown key", "uniform"}}},
      {"a target without its unit, and a percentile",
       19,
       "seed: 1\nslo: {ttft: 3, percentile: 101}",
       {{20, "slo.ttft", "unknown key", "did you mean 'ttft_ms'"},
        {20, "slo.percentile", "outside", ""}}},
      {"a target without its unit, and a good percentile",
       19,
       "seed: 1\nslo: {ttft: 3, percentile: 95}",
       {{20, "slo.ttft", "unknown key", "did you mean 'ttft_ms'"}}},
      {"a number of nodes",
       7,
       "    - {profile: a100_sxm, count: 0}\n  network: {preset: leaf_spine, link: ndr_400g}",
       {{7, "system.nodes.0.count", "outside", ""}}},
      {"a degree",
       12,
       "    - {tensor_parallel_size: 0, pipeline_parallel_size: 1000}",
       {{12, "deployment.instances.0.tensor_parallel_size", "outside", ""}}},
      {"how many instances",
       12,
       "    - {tensor_parallel_size: 2, count: 0}\n  request_router: least_loaded",
       {{12, "deployment.instances.0.count", "outside", ""}}},
      {"the length of the run",
       13,
       "workload:\n  warmup_s: 10\n  duration_s: 0",
       {{15, "workload.duration_s", "outside", ""}}},
  });
}

TEST_CASE("what is told to do can be done") {
  check({
      {"a plain loop does not chunk",
       9,
       "  backend: static_batch\n  max_num_batched_tokens: 512",
       {{10, "engine.max_num_batched_tokens", "prompts are not chunked",
         "raise it, or lower max_model_len"}}},
  });
  const std::vector<Override> blocks = {{"model", "MiniMaxAI/MiniMax-M2.5"},
                                        {"system.nodes.0.profile", "h100_sxm"},
                                        {"system.nodes.0.gpus", "8"},
                                        {"deployment.instances.0.tensor_parallel_size", "8"}};
  CHECK(compare(mistakes_of(small_scenario(), blocks),
                {{0, "deployment.instances.0.tensor_parallel_size", "fp8 block of 128",
                  "write engine.enable_expert_parallel: true"}}) == "");
}

}  // namespace
}  // namespace moesim
