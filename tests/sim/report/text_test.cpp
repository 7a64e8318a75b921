#include <doctest/doctest.h>
#include <string>

#include "tests/sim/report/report_support.h"

namespace moesim {
namespace {

std::string first_line(const HandMadeRun& run) {
  const std::string text = text_of(run.result());
  return text.substr(0, text.find('\n'));
}

TEST_CASE("the first line lists the kinds of engines") {
  HandMadeRun run(4);
  for (InstanceInfo& instance : run.deployment.instances) {
    instance.engine.backend = "vllm";
    instance.engine.backend_version = "0.21";
  }
  const auto ends_with = [&](const std::string& end) { return first_line(run).ends_with(end); };
  CHECK(ends_with(", vllm 0.21 on 4 x a100_sxm, 4 engines of TP1"));

  run.deployment.instances[0].parallel.tp = 2;
  CHECK(ends_with(", vllm 0.21 on 4 x a100_sxm, 4 engines: TP2 + 3 x TP1"));
  CHECK(json_of(run.result()).find("\"backend\": \"vllm\"") != std::string::npos);

  run.deployment.instances[2].engine.backend = "sglang";
  run.deployment.instances[2].engine.backend_version = "0.5.9";
  CHECK(first_line(run) ==
        "hand-made: test/small-moe on 4 x a100_sxm, 4 engines: vllm 0.21 TP2 + 2 x vllm 0.21 TP1 + "
        "sglang 0.5.9 TP1");
  const std::string json = json_of(run.result());
  CHECK(json.find("\"backend\": \"sglang\"") != std::string::npos);
  CHECK(json.find("\"backend\": \"sglang\"") > json.find("\"instance\": "));
}

}  // namespace
}  // namespace moesim
