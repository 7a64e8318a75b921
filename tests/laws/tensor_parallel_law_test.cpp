// Cut layers meet over the links there are, wherever their GPUs lie.
#include <doctest/doctest.h>
#include <map>
#include <string>

#include "sim/moesim.h"
#include "tests/laws/law_support.h"

using namespace moesim;
using namespace moesim::laws;

namespace {

/// Mean milliseconds of a decode step and of its all-reduces, two GPUs cutting every layer.
struct Decode {
  double tpot_ms = 0, all_reduce_ms = 0;
  bool custom = false;  ///< the engine's own all-reduce answered
};
Decode decode_on(const std::string& system) {
  World world = build(
      scenario_of("arrival: {kind: closed_loop, max_concurrency: 8}, synthetic: {num_prompts: 16, "
                  "input_tokens: 64, output_tokens: 32}",
                  "deployment: {instances: [{tensor_parallel_size: 2}]}\n", {{"system", system}}));
  const RunResult result = simulate(world);
  Decode out;
  out.tpot_ms = result.latency.time_per_output_token->mean;
  for (const PhaseBreakdown& phase : result.breakdown) {
    if (phase.phase == "decode")
      out.all_reduce_ms = phase.term_ms[static_cast<std::size_t>(Term::kAllReduce)];
  }
  for (const KernelOrigin& origin : result.kernels)
    out.custom = out.custom || origin.op == "custom_allreduce";
  return out;
}

std::string apart(const std::string& link) {
  return "{nodes: [{profile: h100_sxm, gpus: 1, count: 2}], network: {preset: leaf_spine, link: " +
         link + "}}";
}

}  // namespace

TEST_CASE("a group over two nodes waits for the network, the longer the slower it is") {
  const Decode inside = decode_on("{nodes: [{profile: h100_sxm, gpus: 2}]}");
  const Decode infiniband = decode_on(apart("ndr_400g")), tcp = decode_on(apart("tcp_25g"));
  CHECK(inside.custom);
  CHECK_FALSE(infiniband.custom);
  CHECK(inside.all_reduce_ms * 2 < infiniband.all_reduce_ms);
  CHECK(infiniband.all_reduce_ms * 2 < tcp.all_reduce_ms);
  CHECK(inside.tpot_ms < infiniband.tpot_ms);
  CHECK(infiniband.tpot_ms < tcp.tpot_ms);
}
