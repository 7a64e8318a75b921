#include <doctest/doctest.h>
#include <string>

#include "scenarios/importer.h"
#include "scenarios/routing_trace.h"
#include "sim/base/files.h"
#include "tests/scenarios/routing_support.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

StepLoads loads_of(const std::string& content) {
  const TempFolder folder;
  const Importer::Result result =
      make<Importer>("expert_loads")->convert({folder.write("a.txt", content)});
  return std::get<StepLoads>(parse_routing_trace(result.files[0].second, "out.csv"));
}

TEST_CASE("a table, a matrix as CSV and a matrix as JSON say the same") {
  const std::vector<std::uint32_t> expected = {3, 0, 1, 2, 2, 0};
  for (const char* text :
       {"layer,expert,count\n0,0,3\n0,2,1\n1,0,2\n1,1,2\n1,2,0\n", "# counts\n3,0,1\n2,2,0\n",
        "[[3, 0, 1], [2, 2, 0]]", "{\"weight\": [[3.0, 0, 1], [2, 2, 0]]}"}) {
    CAPTURE(std::string(text));
    const StepLoads loads = loads_of(text);
    CHECK(loads.counts == expected);
    CHECK(loads.free_sum);
    CHECK(loads.steps[0].decode_tokens == 4);
  }
}

TEST_CASE("the real OLMoE and Mixtral counts are read") {
  const auto path = routing_data("deepseek_sglang_16_experts.csv");
  if (is_missing(path)) return;
  // One layer's local experts, without a layer column: named as missing.
  CHECK(first_mistake([&] {
          static_cast<void>(make<Importer>("expert_loads")->convert({path}));
        }).key == "layer");
  // Two models in one table.
  const Diagnostic mixed = first_mistake([] {
    static_cast<void>(
        make<Importer>("expert_loads")->convert({routing_data("olmoe_mixtral_expert_counts.csv")}));
  });
  CHECK(mixed.key == "model");
  CHECK(mixed.hint.find("split the file") != std::string::npos);
}

TEST_CASE("rows of one model add up, those of two do not") {
  const std::string one = "model,layer,expert,count\na,0,0,3\na,0,1,1\n";
  CHECK(loads_of(one).counts == std::vector<std::uint32_t>{3, 1});
  CHECK_THROWS_AS(static_cast<void>(loads_of(one + "b,0,1,1\n")), InputError);
}

TEST_CASE("loads that are refused") {
  const auto problem = [](const std::string& content) {
    return first_mistake([&] { static_cast<void>(loads_of(content)); }).problem;
  };
  CHECK(problem("") == "no counts");
  CHECK(problem("[[1, 2], [3]]") == "is no matrix of counts");
  CHECK(problem("[[1, -2]]") == "is no count");
  CHECK(problem("[[1, 2.5]]") == "is no count");
  CHECK(problem("{\"x\": 1}") == "is no matrix of counts");
  CHECK(problem("1,2\n3\n") == "'3' is no row of counts");
  CHECK(problem("layer,expert,count\n0,0,9999999999\n").find("no row of counts") !=
        std::string::npos);
}

}  // namespace
}  // namespace moesim
