#include <doctest/doctest.h>
#include <string>

#include "scenarios/importer.h"
#include "tests/scenarios/routing_support.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

const std::string kHeader = "layer_id,expert_id,count\n";

TEST_CASE("counts of all ranks are added, experts without tokens are zero") {
  const TempFolder folder;
  const Importer::Result result =
      make<Importer>("sglang_experts")
          ->convert({folder.write("rank0.csv", kHeader + "3,0,5\n3,2,1\n5,1,4\n"),
                     folder.write("rank1.csv", kHeader + "3,0,2\n")});
  CHECK(result.files[0].second ==
        "# format=moe-routing-trace version=1 mode=step_load model=unknown n_layers=2 n_experts=3 "
        "top_k=1 ids=logical sum=free\n"
        "step,t_us,prefill_tokens,decode_tokens,layer,expert,count\n"
        "0,0,0,6,0,0,7\n0,0,0,6,0,2,1\n0,0,0,6,1,1,4\n");
  CHECK(result.notes.size() == 2);
}

TEST_CASE("recorder files that are refused") {
  const auto mistake = [](const std::string& text) {
    const TempFolder folder;
    return first_mistake([&] {
      static_cast<void>(make<Importer>("sglang_experts")->convert({folder.write("a.csv", text)}));
    });
  };
  CHECK(mistake("layer,expert_id,count\n").key == "layer_id");
  CHECK(mistake(kHeader).problem == "no counts");
  CHECK(mistake(kHeader + "1,2\n").where.line == 2);
  CHECK(mistake(kHeader + "1,-2,3\n").where.line == 2);
  CHECK(mistake(kHeader + "1,70000,3\n").where.line == 2);
}

}  // namespace
}  // namespace moesim
