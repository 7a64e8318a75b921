// A value that no scenario can hold gives one message wherever it stands: nothing is said of what
// would follow from its default.
#include <cstddef>
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "tests/scenarios/scenarios_support.h"

namespace moesim {
namespace {

/// Most sections, each with keys that others depend on.
const std::string kWide =
    "schema_version: 1\n"
    "name: wide\n"
    "model: Qwen/Qwen3-30B-A3B\n"
    "seed: 3\n"
    "engine: {backend: sglang, backend_version: 0.5.9, mem_fraction_static: 0.8, "
    "enable_expert_parallel: true}\n"
    "precision: {weights: fp8, kv_cache: fp8}\n"
    "system:\n"
    "  nodes: [{profile: h100_sxm, gpus: 8, count: 2}]\n"
    "  network: {preset: leaf_spine, link: ndr_400g, oversubscription: 2}\n"
    "deployment: {instances: [{data_parallel_size: 8, count: 2}], request_router: least_loaded}\n"
    "workload:\n"
    "  arrival: {kind: gamma, request_rate: 2, burstiness: 0.5}\n"
    "  synthetic: {num_prompts: 9, input_tokens: 90, output_tokens: {uniform: [1, 9]}, turns: 3, "
    "think_time_s: 2}\n"
    "routing: {kind: hash, vocabulary: 1000, exponent: 0.5, capacity_factor: 2, overflow: drop}\n"
    "lora: {adapters: 3, rank: 8, targets: hot_experts, hot_experts: 2}\n"
    "placement: {eplb: {num_redundant_experts: 8, step_interval: 3000}}\n"
    "slo: {ttft_ms: 900, tpot_ms: 50}\n"
    "variants: [{name: slow, set: {workload.arrival.request_rate: 1}}]\n";

struct Value {
  std::size_t begin, end;
  int line, column;
};

/// The scalars after ": ".
std::vector<Value> values_of(const std::string& text) {
  std::vector<Value> values;
  int line = 1;
  std::size_t line_begin = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\n') {
      ++line;
      line_begin = at + 1;
    }
    if (text.compare(at, 2, ": ") != 0) continue;
    const std::size_t begin = at + 2, end = text.find_first_of(",}]{[\n", begin);
    if (end == begin) continue;  // a mapping or a list
    values.push_back({begin, end, line, static_cast<int>(begin - line_begin) + 1});
  }
  return values;
}

void check_each(const std::string& text) {
  REQUIRE(mistakes_of(text).empty());
  const std::vector<Value> values = values_of(text);
  CHECK(values.size() >= 10);
  for (const Value& value : values) {
    for (const std::string bad : {".inf", "!x y", "*other"}) {
      std::string changed = text;
      changed.replace(value.begin, value.end - value.begin, bad);
      CAPTURE(changed);
      const std::vector<Diagnostic> mistakes = mistakes_of(changed);
      CHECK(mistakes.size() == 1);
      if (mistakes.empty()) continue;
      CHECK(mistakes.front().where.line == value.line);
      CHECK(mistakes.front().where.column == value.column);
    }
  }
}

TEST_CASE("a refused value gives one message in every place of a scenario") {
  check_each(small_scenario());
  check_each(kWide);
}

TEST_CASE("mistakes of other keys are reported beside a refused value") {
  const std::vector<Diagnostic> mistakes =
      mistakes_of(with_line(14, "  arrival: {kind: .inf, request_rate: 2, rate: 3}"));
  REQUIRE(mistakes.size() == 2);
  CHECK(mistakes[0].key == "workload.arrival.kind");
  CHECK(mistakes[1].key == "workload.arrival.rate");
}

}  // namespace
}  // namespace moesim
