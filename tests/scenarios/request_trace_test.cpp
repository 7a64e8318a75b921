#include "scenarios/request_trace.h"

#include <doctest/doctest.h>

#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

const char* const kCsv =
    "request_id,arrival_s,prompt_tokens,output_tokens\n"
    "0,0.000000,600,10\n"
    "1,0.500000,512,20\n"
    "2,0.500000,1100,30\n"
    "3,2.250000,40,40\n";

const char* const kBlocks =
    "{\"format\":\"request-prefix-blocks\",\"version\":1,\"trace\":\"t\",\"block_tokens\":512}\n"
    "{\"request_id\":0,\"block_ids\":[7,8]}\n"
    "{\"request_id\":1,\"block_ids\":[7]}\n"
    "{\"request_id\":2,\"block_ids\":[7,9,8]}\n"
    "{\"request_id\":3,\"block_ids\":[11]}\n";

Workload parse(const std::string& csv, const TraceSpec& spec = {}) {
  return parse_request_trace({.trace = csv, .trace_name = "t.csv", .blocks = {}, .blocks_name = {}},
                             spec);
}

Workload parse_both(const std::string& csv, const std::string& blocks, const TraceSpec& spec = {}) {
  return parse_request_trace(
      {.trace = csv, .trace_name = "t.csv", .blocks = blocks, .blocks_name = "t.blocks.jsonl"},
      spec);
}

using Column = std::vector<std::uint32_t>;
using Times = std::vector<std::int64_t>;

TEST_CASE("a plain CSV becomes columns") {
  const Workload workload = parse(kCsv);
  CHECK(workload.arrival_ns == Times{0, 500'000'000, 500'000'000, 2'250'000'000});
  CHECK(workload.prompt_tokens == Column{600, 512, 1100, 40});
  CHECK(workload.output_tokens == Column{10, 20, 30, 40});
  CHECK(workload.names.empty());
  CHECK(workload.session.empty());
  CHECK(workload.chain_begin.empty());
  CHECK(workload.description == "4 requests of t.csv");
}

TEST_CASE("columns may be in any order, with others between, quotes, spaces and any line ending") {
  const std::string csv =
      "\xef\xbb\xbfoutput_tokens, model ,prompt_tokens,arrival_s,request_id\r\n"
      "10,\"a, b\",600,0,0\r\n"
      "\r\n"
      "20,\"c \"\"d\"\"\",512, 0.5 ,1\r"
      "30,e,1100,5e-1,2\n"
      "40,,40,2.25,3";
  const Workload workload = parse(csv);
  CHECK(workload.arrival_ns == Times{0, 500'000'000, 500'000'000, 2'250'000'000});
  CHECK(workload.prompt_tokens == Column{600, 512, 1100, 40});
  CHECK(workload.output_tokens == Column{10, 20, 30, 40});
}

TEST_CASE("ids of their own, sessions and priorities are kept") {
  const Workload workload = parse(
      "request_id,arrival_s,prompt_tokens,output_tokens,session_id,priority\n"
      "a-1,0,1,1,35,0\n"
      "a-2,1,1,1,7,-2\n"
      "a-3,2,1,1,35,5\n");
  CHECK(workload.names == std::vector<std::string>{"a-1", "a-2", "a-3"});
  CHECK(workload.session == Column{0, 1, 0});
  CHECK(workload.session_names == std::vector<std::string>{"35", "7"});
  CHECK(workload.priority == std::vector<std::int32_t>{0, -2, 5});
}

TEST_CASE("what a trace does not say is not made up, but every request has an id") {
  const Workload workload = parse(
      R"({"timestamp":0,"input_length":1,"output_length":1,"session_id":"s1","slo_class":"chat"}
{"timestamp":1,"input_length":1,"output_length":1,"request_id":"b","session_id":null}
{"timestamp":2,"input_length":1,"output_length":1,"session_id":"s0","slo_class":"batch"}
{"timestamp":3,"input_length":1,"output_length":1,"session_id":"s1","slo_class":"chat"}
)");
  CHECK(workload.names == std::vector<std::string>{"0", "b", "2", "3"});
  CHECK(workload.session == Column{0, kNoSession, 1, 0});
  CHECK(session_name(workload, 0) == "s1");
  CHECK_FALSE(session_name(workload, 1));
  CHECK(session_name(workload, 2) == "s0");
  CHECK(workload.slo_class == std::vector<std::uint16_t>{0, kNoSloClass, 1, 0});
  CHECK(workload.slo_class_names == std::vector<std::string>{"chat", "batch"});
  CHECK(write_request_csv(workload) ==
        "request_id,arrival_s,prompt_tokens,output_tokens,session_id,slo_class\n"
        "0,0.000000,1,1,s1,chat\nb,0.001000,1,1,,\n2,0.002000,1,1,s0,batch\n"
        "3,0.003000,1,1,s1,chat\n");
}

TEST_CASE("a number with zeros before it is a name") {
  const Workload workload = parse("request_id,arrival_s,prompt_tokens,output_tokens\n00,0,1,1\n");
  CHECK(workload.names == std::vector<std::string>{"00"});
}

TEST_CASE("domains are kept by name, and a row may have none") {
  const char* const csv =
      "request_id,arrival_s,prompt_tokens,output_tokens,domain\n"
      "0,0.000000,1,1,math\n"
      "1,1.000000,1,1,\n"
      "2,2.000000,1,1,code\n"
      "3,3.000000,1,1,math\n";
  const Workload workload = parse(csv);
  CHECK(workload.domain == std::vector<std::uint16_t>{0, kNoDomain, 1, 0});
  CHECK(workload.domain_names == std::vector<std::string>{"math", "code"});
  CHECK(write_request_csv(workload) == csv);
  // Names count from the window on.
  TraceSpec late;
  late.start_s = 2;
  CHECK(parse(csv, late).domain_names == std::vector<std::string>{"code", "math"});
  const Workload mooncake = parse(
      "{\"timestamp\":0,\"input_length\":1,\"output_length\":1,\"domain\":\"law\"}\n"
      "{\"timestamp\":1,\"input_length\":1,\"output_length\":1}\n");
  CHECK(mooncake.domain == std::vector<std::uint16_t>{0, kNoDomain});
  std::string many = "request_id,arrival_s,prompt_tokens,output_tokens,domain\n";
  for (int i = 0; i < 5000; ++i) many += std::to_string(i) + ",0,1,1,d" + std::to_string(i) + "\n";
  CHECK_THROWS_AS(parse(many), InputError);
}

TEST_CASE("block ids are a chain: an identity is the block and all before it") {
  const Workload workload = parse_both(kCsv, kBlocks);
  CHECK(workload.block_tokens == 512);
  CHECK(workload.chain_begin == Column{0, 2, 3, 6, 7});
  Column ids, ends;
  for (const ChainElement& element : workload.chain) {
    ids.push_back(element.id);
    ends.push_back(element.end);
  }
  // 7, 7-8 | 7 | 7, 7-9, 7-9-8 (not 7-8) | 11
  CHECK(ids == Column{0, 1, 0, 0, 2, 3, 4});
  CHECK(ends == Column{512, 600, 512, 512, 1024, 1100, 40});
  CHECK(workload.chain_ids == 5);
}

TEST_CASE("block ids of any size are taken") {
  std::string blocks = kBlocks;
  for (std::size_t at = blocks.find("[7"); at != std::string::npos; at = blocks.find("[7", at)) {
    blocks.replace(at, 2, "[18446744073709551615");
  }
  const Workload workload = parse_both(kCsv, blocks);
  CHECK(workload.chain_ids == 5);
  CHECK(workload.chain[0].id == workload.chain[2].id);
}

TEST_CASE("a window keeps the rows inside it and counts from its start") {
  TraceSpec spec;
  spec.start_s = 0.5;
  const Workload tail = parse_both(kCsv, kBlocks, spec);
  CHECK(tail.arrival_ns == Times{0, 0, 1'750'000'000});
  CHECK(tail.prompt_tokens == Column{512, 1100, 40});
  CHECK(tail.names == std::vector<std::string>{"1", "2", "3"});
  CHECK(tail.chain_begin == Column{0, 1, 4, 5});
  CHECK(tail.chain_ids == 4);
  spec.end_s = 2.25;  // not included
  CHECK(parse(kCsv, spec).size() == 2);
  spec.start_s = 0;
  spec.end_s = 0.5;
  CHECK(parse(kCsv, spec).size() == 1);
}

TEST_CASE("twice as fast halves the times") {
  TraceSpec spec;
  spec.rate_scale = 2;
  spec.start_s = 0.25;
  CHECK(parse(kCsv, spec).arrival_ns == Times{125'000'000, 125'000'000, 1'000'000'000});
}

TEST_CASE("a window without requests says where the trace lies") {
  TraceSpec spec;
  spec.start_s = 3;
  try {
    static_cast<void>(parse(kCsv, spec));
    CHECK(false);
  } catch (const InputError& error) {
    CHECK(error.diagnostics()[0].key == "workload.trace.start_s");
    CHECK(error.diagnostics()[0].hint == "the trace runs from 0 to 2.25 s");
  }
}

TEST_CASE("blocks lie beside the CSV unless the scenario says otherwise") {
  const TempFolder folder;
  TraceSpec spec;
  spec.path = folder.write("t.csv", kCsv);
  CHECK(read_request_trace(spec).chain.empty());
  folder.write("t.blocks.jsonl", kBlocks);
  CHECK(read_request_trace(spec).chain.size() == 7);
  spec.ignore_blocks = true;
  CHECK(read_request_trace(spec).chain.empty());
  spec.ignore_blocks = false;
  spec.path = folder.write("u.csv", kCsv);
  spec.blocks = folder.path() / "t.blocks.jsonl";
  CHECK(read_request_trace(spec).chain.size() == 7);
}

TEST_CASE("what is written reads back the same") {
  const Workload workload = parse_both(kCsv, kBlocks);
  CHECK(write_request_csv(workload) == kCsv);
  const std::string blocks = write_blocks_jsonl(workload, "t");
  CHECK(
      blocks.starts_with("{\"format\":\"request-prefix-blocks\",\"version\":1,\"trace\":\"t\","
                         "\"block_tokens\":512}\n"));
  const Workload again = parse_both(write_request_csv(workload), blocks);
  CHECK(again.arrival_ns == workload.arrival_ns);
  CHECK(again.chain_begin == workload.chain_begin);
  CHECK(again.chain_ids == workload.chain_ids);
  CHECK(write_blocks_jsonl(again, "t") == blocks);
  CHECK(write_blocks_jsonl(parse(kCsv), "t").empty());
  const Workload sessions =
      parse("request_id,arrival_s,prompt_tokens,output_tokens,session_id\nx,0.0000014,1,1,s\n");
  CHECK(write_request_csv(sessions) ==
        "request_id,arrival_s,prompt_tokens,output_tokens,session_id\nx,0.000001,1,1,s\n");
}

}  // namespace
}  // namespace moesim
