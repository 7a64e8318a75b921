// Any text is either a scenario that loads again from its own JSON, or an InputError with a hint
// for every mistake. The shipped systems and models have targets of their own; reading one anew for
// each input would be most of the time, so here there is one small one of each (tests/fuzz/data).
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "scenarios/load.h"
#include "scenarios/workload.h"
#include "sim/base/check.h"
#include "sim/base/diagnostic.h"

namespace {

using moesim::InputError;
using moesim::Override;
using moesim::Scenario;

/// Loads a text; whether it is a scenario. Requests are drawn only where that is quick.
bool try_load(const std::string& text, const std::vector<Override>& overrides) {
  constexpr std::int64_t kFew = 64;
  const std::filesystem::path folder = "/nonexistent";
  try {
    const Scenario scenario = moesim::load_scenario_text(text, "fuzz.yaml", folder, overrides);
    if (!scenario.workload.trace && scenario.workload.synthetic.num_prompts <= kFew) {
      const moesim::Workload workload = moesim::make_workload(scenario.workload, scenario.seed);
      MOESIM_CHECK(
          workload.size() == static_cast<std::size_t>(scenario.workload.synthetic.num_prompts),
          "as many requests as asked");
    }
    if (overrides.empty()) {
      MOESIM_CHECK(try_load(scenario.resolved_json, {{"seed", "1", "--set"}}),
                   "a scenario's own JSON loads");
    }
    return true;
  } catch (const InputError& error) {
    MOESIM_CHECK(!error.diagnostics().empty(), "an error says why");
    for (const moesim::Diagnostic& diagnostic : error.diagnostics()) {
      MOESIM_CHECK(!diagnostic.hint.empty(), "an error says what to do");
    }
    // A warm-up longer than the requests is seen only once they are drawn.
    return error.diagnostics().front().key == "workload.warmup_s";
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  return setenv("MOESIM_DATA_DIR", MOESIM_FUZZ_DATA, 1);
}

/// Below the printable bytes the first one chooses a key of a good scenario that the rest is set
/// to.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string kGood =
      "schema_version: 1\nname: a\nmodel: m/m\n"
      "system: {nodes: [{profile: gpu, gpus: 2}]}\n"
      "deployment: {instances: [{tensor_parallel_size: 2}]}\n"
      "workload:\n  arrival: {kind: poisson, request_rate: 1}\n"
      "  synthetic: {num_prompts: 10, input_tokens: 10, output_tokens: 10}\n";
  static const char* const kPaths[] = {
      "engine", "workload.synthetic", "workload.arrival", "workload.trace", "deployment.instances",
      "system", "variants",           "precision",        "routing"};
  const std::string text(data, data + size);
  const std::size_t path = text.empty() ? std::size(kPaths) : data[0];
  if (path < std::size(kPaths)) {
    try_load(kGood, {{kPaths[path], text.substr(1), "--set"}});
  } else {
    try_load(text, {});
  }
  return 0;
}
