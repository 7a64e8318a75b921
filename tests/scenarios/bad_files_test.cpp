// Files that a scenario names and that are not what they should be, and keys set to nothing.

#include <doctest/doctest.h>
#include <string>

#include "scenarios/request_trace.h"
#include "sim/base/files.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

TEST_CASE("a kernel profile of another system is refused, naming both") {
  const auto node = [](const std::string& profile) {
    return "    - {profile: a100_sxm, gpus: 2, kernels: " + profile + "}";
  };
  const std::string shipped = (data_dir() / "hardware" / "profiles").string();
  CHECK(mistakes_of(with_line(7, node(shipped + "/a100_sxm/vllm-0.14.json"))).empty());
  CHECK(compare(mistakes_of(with_line(7, node(shipped + "/h100_sxm/vllm-0.24.json"))),
                {{7, "system.nodes.0.kernels", "a profile of h100_sxm, and the node is a100_sxm",
                  "write auto"}}) == "");
  std::string text = read_file(shipped + "/a100_sxm/vllm-0.14.json");
  text.replace(text.find("a100_sxm"), 8, "nothing!");
  const TempFolder folder;
  CHECK(compare(mistakes_of(with_line(7, node(folder.write("own.json", text).string()))),
                {{7, "system.nodes.0.kernels", "a profile of nothing!, and the node is a100_sxm",
                  "name one of this system"}}) == "");
  // A file that is not there is one mistake among others.
  const std::string scenario = with_line(7, node("/none.json")) + "sed: 1\n";
  CHECK(compare(mistakes_of(scenario),
                {{7, "system.nodes.0.kernels", "there is no file '/none.json'", "start at"},
                 {20, "sed", "unknown key", "seed"}}) == "");
}

TEST_CASE("a model that looks like a path is told as a file that is not there") {
  const auto found = [](const std::string& model) {
    return mistakes_of(small_scenario(), {{"model", model, "--set"}});
  };
  for (const char* path : {"/nonexistent/config.json", "none/config.json", "./none", "../none"}) {
    CAPTURE(path);
    CHECK(compare(found(path), {{0, "model", "there is no file '", "--set at the current one"}}) ==
          "");
  }
  CHECK(compare(found("no/model"), {{0, "model", "unknown model 'no/model'", "config.json"}}) ==
        "");
}

TEST_CASE("an override with nothing is the mistake, not the line it overrides") {
  for (const char* path : {"name", "system.nodes", "model"}) {
    for (const char* nothing : {"", "null", "~"}) {
      CAPTURE(path);
      CAPTURE(nothing);
      const auto found = mistakes_of(small_scenario(), {{path, nothing, "--set"}});
      REQUIRE(found.size() == 1);
      CHECK(found[0].where.file == "--set");
      CHECK(found[0].where.line == 0);
      CHECK(found[0].key == path);
      CHECK(found[0].problem == "required key is missing");
    }
  }
  const std::string variant = "variants:\n  - {name: v, set: {model: null}}";
  CHECK(compare(mistakes_of(with_line(19, variant)),
                {{20, "model", "required key is missing (variant 'v')", "text"}}) == "");
}

TEST_CASE("priority scheduling asks for a trace with priorities") {
  const TempFolder folder;
  const auto scenario = [&](const std::string& name, const std::string& trace) {
    return "schema_version: 1\nname: small\nmodel: mistralai/Mixtral-8x7B-v0.1\n"
           "system: {nodes: [{profile: a100_sxm, gpus: 2}]}\n"
           "engine:\n  scheduling_policy: priority\n"
           "deployment: {instances: [{tensor_parallel_size: 2}]}\n"
           "workload: {trace: {path: " +
           folder.write(name, trace).string() + "}}\n";
  };
  const std::string header = "request_id,arrival_s,prompt_tokens,output_tokens";
  const std::string line = R"({"timestamp":0,"input_length":5,"output_length":5)";
  const auto mistakes = [](const std::string& text) -> std::vector<Diagnostic> {
    try {
      const Scenario loaded = load_text(text);
      static_cast<void>(make_workload(loaded.workload, loaded.seed));
    } catch (const InputError& error) {
      return error.diagnostics();
    }
    return {};
  };
  CHECK(mistakes(scenario("with.csv", header + ",priority\n0,0,5,5,1\n")).empty());
  CHECK(mistakes(scenario("with.jsonl", line + ",\"priority\":1}\n" + line + "}\n")).empty());
  const std::vector<Expected> none = {{6, "engine.scheduling_policy",
                                       "priority has no effect: requests of the trace have none",
                                       "a trace with a priority column"}};
  CHECK(compare(mistakes(scenario("without.csv", header + "\n0,0,5,5\n")), none) == "");
  CHECK(compare(mistakes(scenario("without.jsonl", line + "}\n")), none) == "");
}

TEST_CASE("a blocks file is told from a trace, and read by its own grammar") {
  const std::string header =
      R"({"format":"request-prefix-blocks","version":1,"trace":"t","block_tokens":512})"
      "\n";
  const std::string first = R"({"request_id":0,"block_ids":[0,1]})"
                            "\n";
  CHECK(is_blocks_file(header));
  CHECK_FALSE(is_blocks_file(first));
  CHECK_FALSE(is_blocks_file("request_id,arrival_s\n"));
  CHECK(check_blocks_file(header + first + R"({"request_id":"b","block_ids":[0]})", "b") == 2);
  struct Case {
    const char* why;
    std::string text;
    std::vector<Expected> expected;
  };
  const Case cases[] = {
      {"a version of later",
       R"({"format":"request-prefix-blocks","version":2})",
       {{1, "", "not the header of a blocks file, version 1", "block_tokens"}}},
      {"no blocks", header + R"({"request_id":0})", {{2, "", "not a line of block ids", "write"}}},
      {"a request twice",
       header + first + first,
       {{3, "request_id", "'0' stands in line 2 already", "one line a request"}}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    std::vector<Diagnostic> found;
    try {
      static_cast<void>(check_blocks_file(c.text, "b"));
    } catch (const InputError& error) {
      found = error.diagnostics();
    }
    CHECK(compare(found, c.expected) == "");
  }
  try {
    static_cast<void>(parse_request_trace(
        {.trace = header + first, .trace_name = "b", .blocks = {}, .blocks_name = {}}, {}));
    FAIL("a blocks file is no trace");
  } catch (const InputError& error) {
    CHECK(compare(error.diagnostics(), {{0, "", "holds the block ids of a trace",
                                         "NAME.blocks.jsonl is read with NAME.csv"}}) == "");
  }
}

TEST_CASE("variants are not called as the files of a run") {
  for (const char* name : {"report.json", "metrics.prom", "report.html", "requests.jsonl",
                           "trace.json", "comparison.json"}) {
    CAPTURE(name);
    const std::string variants = std::string("variants:\n  - {name: ") + name + ", set: {seed: 2}}";
    CHECK(compare(mistakes_of(with_line(19, variants)),
                  {{20, "variants.0.name", "is a file that a run writes", "another"}}) == "");
  }
}

}  // namespace
}  // namespace moesim
