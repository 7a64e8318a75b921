#include <algorithm>
#include <doctest/doctest.h>
#include <set>
#include <sstream>
#include <string>

#include "report_support.h"

using namespace moesim;

namespace {

std::string exposition(const HandMadeRun& run, const Metrics& metrics) {
  std::ostringstream out;
  write_prometheus(run.result(metrics), out);
  return out.str();
}

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("the exposition has the glossary's metrics") {
  HandMadeRun run;
  run.complete({0, 0, 10, 20}, 5, 2);
  CHECK(exposition(run, Metrics(1, 0, 0)).find("prefix_cache") == std::string::npos);
  run.workload.chain = {{0, 1}};
  run.totals[0].prefix_query_tokens = 5;
  std::istringstream in(exposition(run, Metrics(1, 0, 0)));
  std::set<std::string> names;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("# TYPE ")) names.insert(line.substr(7, line.find(' ', 7) - 7));
  }
  CHECK(names == std::set<std::string>{
                     "vllm:num_requests_running", "vllm:num_requests_waiting",
                     "vllm:kv_cache_usage_perc", "vllm:num_preemptions_total",
                     "vllm:prompt_tokens_total", "vllm:generation_tokens_total",
                     "vllm:request_success_total", "vllm:prefix_cache_queries_total",
                     "vllm:prefix_cache_hits_total", "vllm:time_to_first_token_seconds",
                     "vllm:inter_token_latency_seconds",
                     "vllm:request_time_per_output_token_seconds",
                     "vllm:e2e_request_latency_seconds", "vllm:request_queue_time_seconds",
                     "vllm:request_prefill_time_seconds", "vllm:request_decode_time_seconds"});
}

TEST_CASE("experts: imbalance and active ones are means of layers, dropped assignments a sum") {
  HandMadeRun run;
  run.complete({0, 0, 10, 20}, 5, 2);
  RunResult result = run.result(Metrics(1, 0, 0));
  std::ostringstream dense;
  result.moe.reset();
  write_prometheus(result, dense);
  CHECK(dense.str().find("moesim:") == std::string::npos);
  result.moe.emplace();
  for (const double scale : {1.0, 3.0}) {
    MoeLayerReport layer;
    layer.rank_imbalance_mean = scale;
    layer.active_experts_mean = 2 * scale;
    layer.assignments = 100;
    layer.dropped_ratio = 0.1 * scale;
    result.moe->layers.push_back(layer);
  }
  std::ostringstream out;
  write_prometheus(result, out);
  CHECK(out.str().find("moe_dropped") == std::string::npos);  // no expert has a capacity
  result.moe->capacity_factor = 1.25;
  write_prometheus(result, out);
  const std::string label = R"({model_name="test/small-moe"} )";
  CHECK(has_line(out.str(), "moesim:moe_rank_imbalance" + label + "2"));
  CHECK(has_line(out.str(), "moesim:moe_active_experts" + label + "4"));
  CHECK(has_line(out.str(), "moesim:moe_dropped_assignments_total" + label + "40"));
}

TEST_CASE("buckets are cumulative, by engine, and end with all") {
  HandMadeRun run(2);
  run.complete({0, 0, 15, 100}, 5, 3, 0);  // first token 0.015 s
  run.complete({0, 0, 20, 100}, 5, 3, 0);  // 0.02 s: at the bound, counts below it
  run.complete({0, 0, 3000, 3100}, 7, 3, 1);
  Metrics metrics(2, 0, 0);
  TermTimes terms{};
  metrics.step(hand_made_step(0, 0, 1, terms));
  metrics.inter_token({0}, ms(30), 5);
  const std::string text = exposition(run, metrics);
  const std::string first = R"({model_name="test/small-moe",engine="0")";
  const std::string second = R"({model_name="test/small-moe",engine="1")";
  CHECK(has_line(text, "vllm:time_to_first_token_seconds_bucket" + first + R"(,le="0.01"} 0)"));
  CHECK(has_line(text, "vllm:time_to_first_token_seconds_bucket" + first + R"(,le="0.02"} 2)"));
  CHECK(has_line(text, "vllm:time_to_first_token_seconds_bucket" + first + R"(,le="+Inf"} 2)"));
  CHECK(has_line(text, "vllm:time_to_first_token_seconds_sum" + first + "} 0.035"));
  CHECK(has_line(text, "vllm:time_to_first_token_seconds_bucket" + second + R"(,le="2.5"} 0)"));
  CHECK(has_line(text, "vllm:time_to_first_token_seconds_bucket" + second + R"(,le="5"} 1)"));
  CHECK(has_line(text, "vllm:inter_token_latency_seconds_bucket" + first + R"(,le="0.025"} 0)"));
  CHECK(has_line(text, "vllm:inter_token_latency_seconds_bucket" + first + R"(,le="0.05"} 5)"));
  CHECK(has_line(text, "vllm:prompt_tokens_total" + first + "} 10"));
  CHECK(has_line(text, "vllm:generation_tokens_total" + second + "} 3"));
  CHECK(has_line(text, "vllm:request_success_total" + first + "} 2"));
}

TEST_CASE("a value counts in its own bucket, whatever came before it") {
  // First tokens in milliseconds: bounds, their neighbours, below the first and beyond the last.
  std::vector<double> times{20, 10, 10.001, 1, 0.5, 3e6, 2560e3, 20, 20.001, 4.999};
  for (int order = 0; order < 2; ++order) {
    CAPTURE(order);
    HandMadeRun run(1);
    for (const double time : times) run.complete({0, 0, time, 4e6}, 5, 3);
    const std::string text = exposition(run, Metrics(1, 0, 0));
    const std::string start =
        R"(vllm:time_to_first_token_seconds_bucket{model_name="test/small-moe",engine="0",le=")";
    CHECK(has_line(text, start + R"(0.001"} 2)"));
    CHECK(has_line(text, start + R"(0.005"} 3)"));
    CHECK(has_line(text, start + R"(0.01"} 4)"));
    CHECK(has_line(text, start + R"(0.02"} 7)"));
    CHECK(has_line(text, start + R"(0.04"} 8)"));
    CHECK(has_line(text, start + R"(640"} 8)"));
    CHECK(has_line(text, start + R"(2560"} 9)"));
    CHECK(has_line(text, start + R"(+Inf"} 10)"));
    std::reverse(times.begin(), times.end());
  }
}
