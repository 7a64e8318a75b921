#include <doctest/doctest.h>

#include "scenarios/importer.h"
#include "scenarios/request_trace.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

const char* const kSample =
    "{\"timestamp\": 0, \"input_length\": 600, \"output_length\": 52, \"hash_ids\": [46, 47]}\n"
    "{\"timestamp\": 0, \"input_length\": 700, \"output_length\": 52, \"hash_ids\": [46, 48]}\n"
    "{\"timestamp\": 3000, \"input_length\": 512, \"output_length\": 26, \"hash_ids\": [46]}\n";

TEST_CASE("a Mooncake trace becomes a CSV and its blocks") {
  const TempFolder folder;
  const Importer::Result result =
      make<Importer>("mooncake")->convert({folder.write("conv.jsonl", kSample)});
  CHECK(result.files.size() == 2);
  CHECK(result.files[0].second ==
        "request_id,arrival_s,prompt_tokens,output_tokens\n"
        "0,0.000000,600,52\n"
        "1,0.000000,700,52\n"
        "2,3.000000,512,26\n");
  CHECK(result.files[1].first == ".blocks.jsonl");
  CHECK(result.files[1].second ==
        "{\"format\":\"request-prefix-blocks\",\"version\":1,\"trace\":\"conv\",\"block_tokens\":"
        "512}\n"
        "{\"request_id\":0,\"block_ids\":[0,1]}\n"
        "{\"request_id\":1,\"block_ids\":[0,2]}\n"
        "{\"request_id\":2,\"block_ids\":[0]}\n");
}

TEST_CASE("priorities are kept, and rows without an id get one that no other has") {
  const TempFolder folder;
  const std::string row = R"({"timestamp":0,"input_length":6,"output_length":2,"hash_ids":[7])";
  const auto file = folder.write("some.jsonl", row +
                                                   R"(,"request_id":"2","priority":-1})"
                                                   "\n" +
                                                   row +
                                                   R"(,"request_id":"a"})"
                                                   "\n" +
                                                   row + "}\n" + row +
                                                   R"(,"request_id":null})"
                                                   "\n");
  const Importer::Result result = make<Importer>("mooncake")->convert({file});
  CHECK(result.files[0].second ==
        "request_id,arrival_s,prompt_tokens,output_tokens,priority\n"
        "2,0.000000,6,2,-1\n"
        "a,0.000000,6,2,0\n"
        "4,0.000000,6,2,0\n"
        "3,0.000000,6,2,0\n");
  const Workload again = parse_request_trace({.trace = result.files[0].second,
                                              .trace_name = "some.csv",
                                              .blocks = result.files[1].second,
                                              .blocks_name = "some.blocks.jsonl"},
                                             {});
  CHECK(again.names == std::vector<std::string>{"2", "a", "4", "3"});
  CHECK(again.priority == std::vector<std::int32_t>{-1, 0, 0, 0});
}

TEST_CASE("a Mooncake trace without hash ids has no blocks, and one file is read at a time") {
  const TempFolder folder;
  const auto file =
      folder.write("conv.jsonl", "{\"timestamp\":0,\"input_length\":6,\"output_length\":2}\n");
  CHECK(make<Importer>("mooncake")->convert({file}).files.size() == 1);
  CHECK_THROWS_AS(static_cast<void>(make<Importer>("mooncake")->convert({file, file})), InputError);
}

}  // namespace
}  // namespace moesim
