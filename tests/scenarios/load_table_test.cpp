#include "scenarios/load_table.h"

#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "sim/base/diagnostic.h"
#include "tests/scenarios/scenarios_support.h"

using namespace moesim;

namespace {

std::string mistakes_of_table(const std::string& content) {
  const TempFolder folder;
  try {
    static_cast<void>(read_load_table(folder.write("loads.csv", content), {2, 3, 2, 0, 0}));
  } catch (const InputError& error) {
    std::string text;
    for (const Diagnostic& d : error.diagnostics())
      text += std::to_string(d.where.line) + " " + d.key + ": " + d.problem + "\n";
    return text;
  }
  return "";
}

}  // namespace

TEST_CASE("a table of loads: columns in any order, absent experts have none") {
  const TempFolder folder;
  const auto loads = read_load_table(
      folder.write("loads.csv", "count,note,layer,expert\n7,x,1,2\n5,,0,0\n2.5,,0,1\n1,,1,0\n"),
      {2, 3, 2, 0, 0});
  CHECK(loads == std::vector<std::vector<double>>{{5, 2.5, 0}, {1, 0, 7}});
}

TEST_CASE("the steps of a step-load trace are summed") {
  const TempFolder folder;
  const auto loads = read_load_table(
      folder.write("steps.csv",
                   "# format=moe-routing-trace version=1 mode=step_load model=m n_layers=1 "
                   "n_experts=3 top_k=2 ids=logical\n"
                   "step,t_us,prefill_tokens,decode_tokens,layer,expert,count\n"
                   "0,0,0,2,0,0,2\n0,0,0,2,0,1,2\n1,10,0,1,0,0,1\n1,10,0,1,0,2,1\n"),
      {1, 3, 2, 0, 0});
  CHECK(loads == std::vector<std::vector<double>>{{3, 2, 1}});
}

TEST_CASE("mistakes of a table of loads, all at once and at their line") {
  CHECK(mistakes_of_table("layer,expert,count\n2,0,1\n0,3,1\n0,0.5,1\n0,0,-1\n0,1,many\n") ==
        "2 layer: '2' is not one of the model's 2\n3 expert: '3' is not one of the model's 3\n"
        "4 expert: '0.5' is not one of the model's 3\n5 count: '-1' is not a count\n"
        "6 count: 'many' is not a count\n");
  CHECK(mistakes_of_table("layer,expert,count\n0,1,2\n0,1,3\n") ==
        "3 layer: layer 0, expert 1 is given twice\n");
  CHECK(mistakes_of_table("layer,tokens\n0,1\n") ==
        "1 expert: missing column\n1 count: missing column\n");
  CHECK(mistakes_of_table("layer,expert,count\n0,0,1\n0,1,1\n1,0,9\n") ==
        "0 : layer 1 has load on 1 experts, tokens choose 2\n");
  CHECK(mistakes_of_table(
            "# format=moe-routing-trace version=1 mode=step_load model=m n_layers=1 n_experts=3 "
            "top_k=2 ids=logical\nstep,t_us,prefill_tokens,decode_tokens,layer,expert,count\n"
            "0,0,0,1,0,0,1\n0,0,0,1,0,1,1\n") ==
        "0 : holds 1 layers of 3 experts, the model has 2 of 3\n");
}
