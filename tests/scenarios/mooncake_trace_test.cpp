#include <doctest/doctest.h>

#include "scenarios/request_trace.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

Workload parse(const std::string& jsonl, const TraceSpec& spec = {}) {
  return parse_request_trace(
      {.trace = jsonl, .trace_name = "m.jsonl", .blocks = {}, .blocks_name = {}}, spec);
}

using Column = std::vector<std::uint32_t>;
using Times = std::vector<std::int64_t>;

TEST_CASE("Mooncake lines have milliseconds, lengths and hash ids of 512 tokens") {
  const Workload workload = parse(
      "{\"timestamp\": 27000, \"input_length\": 600, \"output_length\": 52, \"hash_ids\": [46, "
      "47]}\n"
      "{\"timestamp\": 30000, \"input_length\": 512, \"output_length\": 26, \"hash_ids\": [46]}\n");
  CHECK(workload.arrival_ns == Times{0, 3'000'000'000});  // since the first
  CHECK(workload.prompt_tokens == Column{600, 512});
  CHECK(workload.output_tokens == Column{52, 26});
  CHECK(workload.block_tokens == 512);
  CHECK(workload.chain_begin == Column{0, 2, 3});
  CHECK(workload.chain[1].end == 600);
  CHECK(workload.chain[2].id == workload.chain[0].id);
  CHECK(workload.names.empty());
}

TEST_CASE("synonyms and optional keys are understood, others ignored") {
  const Workload workload = parse(
      "{\"created_time\":1.5,\"input_tokens\":3,\"output_tokens\":4,\"request_id\":\"r1\","
      "\"session_id\":\"s\","
      "\"priority\":2,\"slo_class\":\"gold\",\"delay_ms\":0,\"other\":[true]}\n"
      "{\"created_time\":2.5,\"input_tokens\":3,\"output_tokens\":4,\"request_id\":\"r2\","
      "\"session_id\":\"t\"}\n");
  CHECK(workload.arrival_ns == Times{0, 1'000'000});
  CHECK(workload.names == std::vector<std::string>{"r1", "r2"});
  CHECK(workload.session == Column{0, 1});
  CHECK(workload.priority == std::vector<std::int32_t>{2, 0});
  CHECK(workload.chain_begin.empty());
}

TEST_CASE("the scenario may give the tokens of a hash id") {
  TraceSpec spec;
  spec.block_tokens = 16;
  spec.block_tokens_given = true;
  const Workload workload =
      parse("{\"timestamp\":0,\"input_length\":20,\"output_length\":1,\"hash_ids\":[1,2]}", spec);
  CHECK(workload.block_tokens == 16);
  CHECK(workload.chain[0].end == 16);
  CHECK(workload.chain[1].end == 20);
}

}  // namespace
}  // namespace moesim
