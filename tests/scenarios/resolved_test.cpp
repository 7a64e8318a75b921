// The scenario of a report is a scenario.
#include <doctest/doctest.h>
#include <string>

#include "scenarios/load.h"
#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

TEST_CASE("a resolved scenario resolves to itself, whatever the engine") {
  for (const std::string backend : {"vllm", "sglang", "trtllm", "static_batch"}) {
    CAPTURE(backend);
    const Scenario first =
        load_text(small_scenario(), {{"engine.backend", backend, "--set engine.backend"}});
    const Scenario again = load_text(first.resolved_json);
    CHECK(again.resolved_json == first.resolved_json);
  }
}

}  // namespace
}  // namespace moesim
