// What a trace reader must refuse, with the line, the column and the advice.

#include <doctest/doctest.h>

#include "scenarios/request_trace.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

const char* const kHeader = "request_id,arrival_s,prompt_tokens,output_tokens\n";
const char* const kCsv =
    "request_id,arrival_s,prompt_tokens,output_tokens\n0,0,600,10\n1,1,100,10\n";
const char* const kBlocksHeader =
    "{\"format\":\"request-prefix-blocks\",\"version\":1,\"trace\":\"t\",\"block_tokens\":512}\n";

std::vector<Diagnostic> mistakes(const TraceText& text, const TraceSpec& spec = {}) {
  try {
    static_cast<void>(parse_request_trace(text, spec));
  } catch (const InputError& error) {
    return error.diagnostics();
  }
  return {};
}

struct Case {
  const char* why;
  std::string text;
  std::vector<Expected> expected;
};

TEST_CASE("times that no run reaches are refused") {
  TraceSpec slow;
  slow.rate_scale = 0.5;
  const std::string late = std::string(kHeader) + "0,0,1,1\n1,6e8,1,1\n";
  CHECK(mistakes({late, "t.csv", "", ""}).empty());
  const std::vector<Diagnostic> found = mistakes({late, "t.csv", "", ""}, slow);
  REQUIRE(found.size() == 1);
  CHECK(found[0].where.line == 3);
  CHECK(found[0].key == "arrival_s");
}

TEST_CASE("CSV traces that are refused") {
  const std::string header = kHeader;
  const Case cases[] = {
      {"nothing at all", "", {{1, "", "the trace is empty", "header"}}},
      {"blank lines only", "\n\r\n\n", {{1, "", "the trace is empty", "header"}}},
      {"a header only", header, {{1, "", "no rows", "add requests"}}},
      {"no arrivals",
       "request_id,prompt_tokens,output_tokens\n0,1,1\n",
       {{1, "arrival_s", "missing column", "header names"}}},
      {"no prompts",
       "request_id,arrival_s,output_tokens\n0,1,1\n",
       {{1, "prompt_tokens", "missing column", ""}}},
      {"no outputs",
       "request_id,arrival_s,prompt_tokens\n0,1,1\n",
       {{1, "output_tokens", "missing column", ""}}},
      {"no ids",
       "arrival_s,prompt_tokens,output_tokens\n0,1,1\n",
       {{1, "request_id", "missing column", ""}}},
      {"no header",
       "0,0.0,10,10\n",
       {{1, "request_id", "missing column", ""},
        {1, "arrival_s", "missing column", ""},
        {1, "prompt_tokens", "missing column", ""},
        {1, "output_tokens", "missing column", ""}}},
      {"names in capitals",
       "REQUEST_ID,arrival_s,prompt_tokens,output_tokens\n0,0,1,1\n",
       {{1, "request_id", "missing column", ""}}},
      {"a column twice",
       "request_id,arrival_s,prompt_tokens,output_tokens,arrival_s\n0,0,1,1,0\n",
       {{1, "arrival_s", "column given twice", "remove"}}},
      {"back in time",
       header + "0,5,1,1\n1,4.999999,1,1\n",
       {{3, "arrival_s", "before the row above", "sort"}}},
      {"before the start",
       header + "0,-1,1,1\n",
       {{2, "arrival_s", "'-1' is not a time", "seconds"}}},
      {"never", header + "0,inf,1,1\n", {{2, "arrival_s", "'inf' is not a time", ""}}},
      {"not a number", header + "0,nan,1,1\n", {{2, "arrival_s", "'nan' is not a time", ""}}},
      {"a clock time", header + "0,12:30,1,1\n", {{2, "arrival_s", "'12:30'", ""}}},
      {"an empty time", header + "0,,1,1\n", {{2, "arrival_s", "''", ""}}},
      {"an empty prompt",
       header + "0,0,0,1\n",
       {{2, "prompt_tokens", "'0' is not a number of tokens", "from 1"}}},
      {"an empty answer",
       header + "0,0,1,0\n",
       {{2, "output_tokens", "'0' is not a number of tokens", "from 1"}}},
      {"fewer than none", header + "0,0,-5,1\n", {{2, "prompt_tokens", "'-5'", ""}}},
      {"half a token", header + "0,0,1.5,1\n", {{2, "prompt_tokens", "'1.5'", ""}}},
      {"a word", header + "0,0,1,many\n", {{2, "output_tokens", "'many'", ""}}},
      {"too many",
       header + "0,0,99999999999999999999,1\n",
       {{2, "prompt_tokens", "99999999999999999999", "1e8"}}},
      {"a field too few",
       header + "0,0,1\n",
       {{2, "", "3 fields, the header has 4", "one field a column"}}},
      {"a field too many", header + "0,0,1,1,1\n", {{2, "", "5 fields, the header has 4", ""}}},
      {"semicolons",
       "request_id;arrival_s;prompt_tokens;output_tokens\n",
       {{1, "request_id", "missing", ""},
        {1, "arrival_s", "missing", ""},
        {1, "prompt_tokens", "missing", ""},
        {1, "output_tokens", "missing", ""}}},
      {"a priority in words",
       "request_id,arrival_s,prompt_tokens,output_tokens,priority\n0,0,1,1,high\n",
       {{2, "priority", "'high' is not a whole number", "more urgent"}}},
      {"lines count with any ending",
       header + "0,0,1,1\r\n\r\n1,1,0,1\r2,0,1,1\n",
       {{4, "prompt_tokens", "'0'", ""}, {5, "arrival_s", "before the row above", ""}}},
      {"one id for several requests",
       header + "a,0,1,1\nb,0,1,1\na,1,1,1\n7,1,1,1\nb,2,1,1\na,3,1,1\n",
       {{4, "request_id", "'a' stands in line 2 already", "id of its own"},
        {6, "request_id", "'b' stands in line 3 already", ""},
        {7, "request_id", "'a' stands in line 2 already", ""}}},
      {"a number twice",
       header + "0,0,1,1\n1,0,1,1\n1,1,1,1\n",
       {{4, "request_id", "'1' stands in line 3 already", ""}}},
      {"several at once",
       header + "0,0,0,0\n1,x,1,1\n",
       {{2, "prompt_tokens", "'0'", ""},
        {2, "output_tokens", "'0'", ""},
        {3, "arrival_s", "'x'", ""}}},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    CHECK(
        compare(mistakes({.trace = c.text, .trace_name = "t.csv", .blocks = {}, .blocks_name = {}}),
                c.expected) == "");
  }
}

TEST_CASE("blocks files that are refused") {
  const std::string header = kBlocksHeader;
  const std::string first = "{\"request_id\":0,\"block_ids\":[1,2]}\n";
  const std::string second = "{\"request_id\":1,\"block_ids\":[1]}\n";
  const Case cases[] = {
      {"nothing", "", {{1, "", "blocks file is empty", "header"}}},
      {"no header",
       first + second,
       {{1, "", "not the header of a blocks file", "request-prefix-blocks"}}},
      {"another version",
       "{\"format\":\"request-prefix-blocks\",\"version\":2,\"block_tokens\":512}\n",
       {{1, "", "version 1", ""}}},
      {"blocks of nothing",
       "{\"format\":\"request-prefix-blocks\",\"version\":1,\"block_tokens\":0}\n",
       {{1, "", "not the header", ""}}},
      {"a line too few", header + first, {{2, "", "1 lines for 2 requests", "one line a request"}}},
      {"a line too many",
       header + first + second + second,
       {{4, "", "more lines than the trace has requests, 2", ""}}},
      {"a list too short",
       header + "{\"request_id\":0,\"block_ids\":[1]}\n" + second,
       {{2, "block_ids", "1 block ids for 600 prompt tokens", "2 blocks of 512"}}},
      {"a list too long",
       header + first + "{\"request_id\":1,\"block_ids\":[1,2]}\n",
       {{3, "block_ids", "2 block ids for 100 prompt tokens", "1 blocks of 512"}}},
      {"out of order",
       header + second + first,
       {{2, "request_id", "'1' stands where the trace has '0'", "trace's order"},
        {3, "request_id", "'0' stands where", ""}}},
      {"a negative id",
       header + "{\"request_id\":0,\"block_ids\":[1,-2]}\n" + second,
       {{2, "", "not a line of block ids", "[0,1,2]"}}},
      {"a text for an id",
       header + "{\"request_id\":0,\"block_ids\":[1,\"a\"]}\n" + second,
       {{2, "", "not a line of block ids", ""}}},
      {"an open list",
       header + "{\"request_id\":0,\"block_ids\":[1,2}\n" + second,
       {{2, "", "not a line of block ids", ""}}},
      {"a comma at the end",
       header + "{\"request_id\":0,\"block_ids\":[1,2,]}\n" + second,
       {{2, "", "not a line of block ids", ""}}},
      {"no list",
       header + "{\"request_id\":0}\n" + second,
       {{2, "", "not a line of block ids", ""}}},
      {"text after the object",
       header + "{\"request_id\":0,\"block_ids\":[1,2]} x\n" + second,
       {{2, "", "not a line of block ids", ""}}},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    CHECK(compare(mistakes({.trace = kCsv,
                            .trace_name = "t.csv",
                            .blocks = c.text,
                            .blocks_name = "t.blocks.jsonl"}),
                  c.expected) == "");
  }
}

TEST_CASE("a block size that contradicts the header") {
  TraceSpec spec;
  spec.block_tokens = 256;
  spec.block_tokens_given = true;
  const std::string blocks =
      std::string(kBlocksHeader) +
      "{\"request_id\":0,\"block_ids\":[1,2]}\n{\"request_id\":1,\"block_ids\":[1]}\n";
  CHECK(
      compare(mistakes({.trace = kCsv, .trace_name = "t.csv", .blocks = blocks, .blocks_name = "b"},
                       spec),
              {{1, "block_tokens", "512 here, 256 in the scenario", "leave"}}) == "");
}

TEST_CASE("a block size for a trace without blocks") {
  TraceSpec spec;
  spec.block_tokens_given = true;
  CHECK(compare(
            mistakes({.trace = kCsv, .trace_name = "t.csv", .blocks = {}, .blocks_name = {}}, spec),
            {{0, "workload.trace.block_tokens", "no effect", "leave it out"}}) == "");
}

TEST_CASE("Mooncake traces that are refused") {
  const Case cases[] = {
      {"not JSON", "{timestamp: 0}\n", {{1, "", "not a flat JSON object", "timestamp"}}},
      {"an open object", "{\"timestamp\":0", {{1, "", "not a flat JSON object", ""}}},
      {"no time",
       "{\"input_length\":1,\"output_length\":1}",
       {{1, "timestamp", "''", "milliseconds"}}},
      {"no prompt", "{\"timestamp\":0,\"output_length\":1}", {{1, "input_length", "''", ""}}},
      {"no answer",
       "{\"timestamp\":0,\"input_length\":1,\"output_length\":0}",
       {{1, "output_length", "'0'", ""}}},
      {"back in time",
       "{\"timestamp\":9,\"input_length\":1,\"output_length\":1}\n{\"timestamp\":8,\"input_"
       "length\":1,\"output_length\":1}",
       {{2, "timestamp", "before the row above", "sort"}}},
      {"too few hash ids",
       "{\"timestamp\":0,\"input_length\":600,\"output_length\":1,\"hash_ids\":[1]}",
       {{1, "block_ids", "1 block ids for 600", ""}}},
      {"hash ids that are texts",
       "{\"timestamp\":0,\"input_length\":1,\"output_length\":1,\"hash_ids\":[a]}",
       {{1, "hash_ids", "'[a]' is not a list", ""}}},
      {"one id for two requests",
       "{\"timestamp\":0,\"input_length\":1,\"output_length\":1,\"request_id\":\"a\"}\n"
       "{\"timestamp\":0,\"input_length\":1,\"output_length\":1}\n"
       "{\"timestamp\":0,\"input_length\":1,\"output_length\":1}\n"
       "{\"timestamp\":0,\"input_length\":1,\"output_length\":1,\"request_id\":\"a\"}\n",
       {{4, "request_id", "'a' stands in line 1 already", "id of its own"}}},
      {"requests that wait",
       "{\"timestamp\":0,\"input_length\":1,\"output_length\":1,\"wait_for\":[3]}",
       {{1, "wait_for", "waits for others is not modelled yet", "remove the key"}}},
      {"requests that wait for named ones",
       "{\"timestamp\":0,\"input_length\":1,\"output_length\":1,\"wait_for\":[\"a]\", \"b\"]}",
       {{1, "wait_for", "waits for others is not modelled yet", "think_time_s"}}},
      {"a pause after a turn",
       "{\"timestamp\":0,\"input_length\":1,\"output_length\":1,\"delay_ms\":20}",
       {{1, "delay_ms", "a pause after an earlier turn", "remove the key"}}},
      {"a list that does not end",
       "{\"timestamp\":0,\"input_length\":1,\"output_length\":1,\"wait_for\":[\"a}",
       {{1, "", "not a flat JSON object", ""}}},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    CHECK(compare(
              mistakes({.trace = c.text, .trace_name = "m.jsonl", .blocks = {}, .blocks_name = {}}),
              c.expected) == "");
  }
}

TEST_CASE("a JSONL trace takes no second file of blocks") {
  CHECK(compare(mistakes({.trace = "{\"timestamp\":0,\"input_length\":1,\"output_length\":1}",
                          .trace_name = "m",
                          .blocks = kBlocksHeader,
                          .blocks_name = "b"}),
                {{0, "", "holds its own block ids", "leave"}}) == "");
}

TEST_CASE("only the first twenty mistakes are spelled out") {
  std::string csv = kHeader;
  for (int i = 0; i < 50; ++i) csv += std::to_string(i) + ",0,0,1\n";
  const auto found =
      mistakes({.trace = csv, .trace_name = "t.csv", .blocks = {}, .blocks_name = {}});
  CHECK(found.size() == 21);
  CHECK(found.back().problem == "30 more mistakes");
}

}  // namespace
}  // namespace moesim
