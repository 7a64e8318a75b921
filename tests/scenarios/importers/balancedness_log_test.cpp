#include <doctest/doctest.h>
#include <string>

#include "scenarios/importer.h"
#include "tests/scenarios/routing_support.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

Importer::Result convert(const std::string& text) {
  const TempFolder folder;
  return make<Importer>("balancedness_log")->convert({folder.write("server.log", text)});
}

TEST_CASE("log lines of both engines become rows, other lines are passed over") {
  const Importer::Result result = convert(
      "[2025-05-01 10:00:00] [Expert Balancedness] forward_pass_id=17 "
      "current_pass_balancedness=0.713 last_10_average_balancedness=0.700 "
      "gpu_physical_count_sum=4096\n"
      "INFO something else\n"
      "(EngineCore_DP0 pid=9) INFO EPLB step: avg_tokens=128.50, max_tokens=257, "
      "balancedness=0.5000\n"
      "INFO EPLB step: avg_tokens=1.00, max_tokens=2, balancedness=0.5000\n");
  CHECK(result.files[0].second ==
        "file,engine,pass,balancedness,mean_tokens,max_tokens\n"
        "server.log,sglang,17,0.713,,\n"
        "server.log,vllm,0,0.5,128.5,257\n"
        "server.log,vllm,1,0.5,1,2\n");
}

TEST_CASE("a log without such lines is refused") {
  CHECK(first_mistake([] { static_cast<void>(convert("INFO started\n")); }).problem ==
        "no line about expert balance");
}

}  // namespace
}  // namespace moesim
