#include <doctest/doctest.h>

#include "scenarios/importer.h"
#include "scenarios/request_trace.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

// The first rows of the published conversation trace, two of them changed: one without output, one
// over midnight.
const char* const kSample =
    "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    "2023-11-16 18:15:46.6805900,374,44\r\n"
    "2023-11-16 18:15:50.9951690,396,109\r\n"
    "2023-11-16 18:15:51.2224670,879,0\r\n"
    "2023-11-16 18:15:51.3910000,91,16\r\n"
    "2023-11-17 00:00:00,100,1\r\n";

Importer::Result convert(const std::string& text) {
  const TempFolder folder;
  return make<Importer>("azure_llm")->convert({folder.write("azure.csv", text)});
}

TEST_CASE("Azure rows become requests since the first, without those that produced nothing") {
  const Importer::Result result = convert(kSample);
  CHECK(result.files.size() == 1);
  CHECK(result.files[0].first == "");
  CHECK(result.files[0].second ==
        "request_id,arrival_s,prompt_tokens,output_tokens\n"
        "0,0.000000,374,44\n"
        "1,4.314579,396,109\n"
        "2,4.710410,91,16\n"
        "3,20653.319410,100,1\n");
  CHECK(result.notes.back() == "1 rows with 0 tokens left out");
}

TEST_CASE("Azure files that are refused") {
  const auto first = [](const std::string& text) -> Diagnostic {
    try {
      static_cast<void>(convert(text));
    } catch (const InputError& error) {
      return error.diagnostics()[0];
    }
    return {};
  };
  const std::string header = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
  CHECK(first("a,b,c\n").problem == "not the header of an Azure LLM inference trace");
  CHECK(first(header).problem == "no requests");
  for (const char* row :
       {"2023-11-16,1,1\n", "2023-13-16 18:15:46.6,1,1\n", "2023-11-16 18:15:46x,1,1\n",
        "2023-11-16 18:15:46.6,-1,1\n", "2023-11-16 18:15:46.6,1\n"}) {
    CAPTURE(std::string(row));
    CHECK(first(header + row).where.line == 2);
    CHECK(first(header + row).problem.find("not a row") != std::string::npos);
  }
  CHECK(first(header + "2023-11-16 18:15:46.6,1,1\n2023-11-16 18:15:46.5,1,1\n").where.line == 3);
}

}  // namespace
}  // namespace moesim
