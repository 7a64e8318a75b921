#include <cmath>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "report_support.h"

using namespace moesim;
using nlohmann::json;

namespace {

std::set<std::string> keys(const json& object) {
  std::set<std::string> result;
  for (const auto& [key, value] : object.items()) result.insert(key);
  return result;
}

/// One run with everything a report can have under tensor parallelism.
HandMadeRun full_run() {
  HandMadeRun run(2);
  run.scenario.slo.ttft_ms = 100;
  run.scenario.gpu_hour_usd = {{"a100_sxm", 1.8}};
  run.scenario.warnings = {"a warning"};
  for (int i = 0; i < 20; ++i) {
    const double t = 500.0 * i;
    run.complete({t, t + 1, t + 90 + i, t + 400}, 100, 11, static_cast<std::uint16_t>(i % 2));
  }
  return run;
}

json full_report() {
  const HandMadeRun run = full_run();
  Metrics metrics(2, run.scenario, run.workload);
  TermTimes terms{};
  terms.fill(1e6 / 3);
  for (std::uint32_t i = 0; i < 2; ++i) {
    StepRecord step = hand_made_step(0, 0, 6, terms);
    step.instance = {i};
    metrics.step(step);
    metrics.inter_token({i}, ms(5), 4);
  }
  return json::parse(json_of(run.result(metrics)));
}

void check_digits(const json& node, const std::string& path) {
  if (node.is_number_float()) {
    CAPTURE(path);
    const double value = node.get<double>();
    CHECK(std::stod(fmt::format("{:.6g}", value)) == value);
  }
  if (!node.is_structured()) return;
  for (const auto& [key, child] : node.items()) check_digits(child, path + "." + key);
}

}  // namespace

TEST_CASE("a report has the sections of the glossary that apply, and no other") {
  const json report = full_report();
  // moe, energy and uncertainty have no model behind them yet: absent, not zero.
  CHECK(keys(report) ==
        std::set<std::string>{
            "schema_version", "tool_version",  "run_id",    "seed",       "digest",
            "scenario",       "system",        "model",     "engine",     "summary",
            "latency",        "throughput",    "slo",       "saturation", "memory",
            "utilization",    "communication", "breakdown", "cost",       "provenance",
            "warnings",       "simulator",     "reproduce"});
}

TEST_CASE("the summary has vLLM bench's names") {
  std::set<std::string> expected{"duration",
                                 "completed",
                                 "failed",
                                 "total_input_tokens",
                                 "total_output_tokens",
                                 "request_throughput",
                                 "request_goodput",
                                 "output_throughput",
                                 "total_token_throughput",
                                 "max_output_tokens_per_s",
                                 "max_concurrent_requests",
                                 "output_throughput_per_gpu",
                                 "output_token_throughput_per_user",
                                 "gpu_hours"};
  for (const std::string metric : {"ttft_ms", "tpot_ms", "itl_ms", "e2el_ms"}) {
    for (const std::string prefix : {"mean_", "median_", "std_", "p50_", "p90_", "p95_", "p99_"})
      expected.insert(prefix + metric);
  }
  CHECK(keys(full_report()["summary"]) == expected);
}

TEST_CASE("every other section has the glossary's keys") {
  const json report = full_report();
  CHECK(keys(report["saturation"]) == std::set<std::string>{"verdict", "offered_rps",
                                                            "completed_rps", "rate_deficit",
                                                            "latency_trend", "still_queued",
                                                            "still_running", "dropped_unservable"});
  CHECK(keys(report["slo"]) ==
        std::set<std::string>{"targets", "attainment_ratio", "goodput_rps", "good_request_count"});
  CHECK(keys(report["slo"]["targets"]) == std::set<std::string>{"ttft_ms"});
  CHECK(keys(report["memory"]) == std::set<std::string>{"per_gpu", "kv"});
  CHECK(keys(report["memory"]["kv"]) == std::set<std::string>{"num_gpu_blocks", "block_size",
                                                              "num_kv_tokens", "bytes_per_token",
                                                              "max_concurrency_at_max_model_len"});
  CHECK(keys(report["memory"]["per_gpu"]) ==
        std::set<std::string>{"capacity_bytes", "usable_bytes", "weights", "kv_cache_bytes",
                              "activation_peak_bytes", "cuda_graph_bytes", "comm_buffer_bytes",
                              "framework_bytes", "free_bytes"});
  CHECK(keys(report["memory"]["per_gpu"]["weights"]) ==
        std::set<std::string>{"attention", "dense_ffn", "routed_experts", "redundant_experts",
                              "shared_experts", "router", "embedding", "lm_head", "lora", "other"});
  for (const char* metric :
       {"time_to_first_token", "time_to_second_token", "inter_token_latency", "request_latency",
        "output_sequence_length", "input_sequence_length"}) {
    CAPTURE(metric);
    CHECK(keys(report["latency"][metric]) ==
          std::set<std::string>{"unit", "count", "mean", "std", "min", "max", "p1", "p5", "p25",
                                "p50", "p75", "p90", "p95", "p99"});
  }
  CHECK(keys(report["provenance"]) == std::set<std::string>{"roofline", "assumed"});
  for (const char* key : {"wall_time_ms", "cpu_time_ms", "steps", "events", "events_per_s"})
    CHECK(report["simulator"].contains(key));
}

TEST_CASE("every term of a breakdown has the glossary's name, and they add up") {
  const json decode = full_report()["breakdown"]["decode"];
  CHECK(keys(decode) == std::set<std::string>{"unit",           "step_time",     "attention",
                                              "attention_proj", "router",        "dispatch",
                                              "expert_gemm",    "shared_expert", "combine",
                                              "dense_ffn",      "all_reduce",    "pp_send_recv",
                                              "embedding",      "lm_head",       "sampling",
                                              "elementwise",    "expert_copy",   "launch_overhead",
                                              "exposed_wait",   "overlapped",    "cpu_gap"});
  double sum = 0;
  for (const auto& [key, value] : decode.items()) {
    if (key != "unit" && key != "step_time" && key != "cpu_gap") sum += value.get<double>();
  }
  CHECK(sum == doctest::Approx(decode["step_time"].get<double>()).epsilon(1e-12));
}

TEST_CASE("the parts of a GPU's memory sum to its capacity exactly") {
  const json gpu = full_report()["memory"]["per_gpu"];
  std::int64_t sum = 0;
  for (const auto& [key, value] : gpu["weights"].items()) sum += value.get<std::int64_t>();
  for (const char* part : {"kv_cache_bytes", "activation_peak_bytes", "cuda_graph_bytes",
                           "comm_buffer_bytes", "framework_bytes", "free_bytes"})
    sum += gpu[part].get<std::int64_t>();
  CHECK(sum == gpu["capacity_bytes"].get<std::int64_t>());
}

TEST_CASE("numbers have at most six significant digits; counts are exact") {
  HandMadeRun run;
  run.complete({0, 0, 1234.56789, 98765.4321}, 123'456'789, 2);
  const json report = json::parse(json_of(run.result()));
  CHECK(report["summary"]["mean_ttft_ms"] == 1234.57);
  CHECK(report["summary"]["total_input_tokens"] == 123'456'789);
  check_digits(report, "report");
  check_digits(full_report(), "report");
}

TEST_CASE("what has no value is absent, not zero") {
  HandMadeRun run;
  run.leave(0, RequestStatus::kDropped);
  const json report = json::parse(json_of(run.result()));
  CHECK(report["summary"]["completed"] == 0);
  CHECK(report["summary"]["failed"] == 1);
  for (const char* key : {"output_throughput", "mean_ttft_ms", "request_goodput", "gpu_hours"}) {
    CAPTURE(key);
    CHECK_FALSE(report["summary"].contains(key));
  }
  for (const char* section : {"slo", "cost", "communication", "moe", "energy", "uncertainty"}) {
    CAPTURE(section);
    CHECK_FALSE(report.contains(section));
  }
  CHECK(report["saturation"]["verdict"] == "overloaded");
}

TEST_CASE("GPUs that differ are listed, and the fullest one comes first") {
  HandMadeRun run(1);
  MemoryPlan& plan = run.deployment.instances[0].memory;
  plan.gpus = {hand_made_gpu(80'000), hand_made_gpu(80'000)};
  plan.gpus[1].rank = 1;
  plan.gpus[1].weights.lm_head = Bytes(100);
  plan.gpus[1].free -= Bytes(100);
  run.complete({0, 0, 1, 2}, 1, 2);
  const json memory = json::parse(json_of(run.result()))["memory"];
  CHECK(memory["per_gpu"]["weights"]["lm_head"] == 100);
  REQUIRE(memory["gpus"].size() == 2);
  CHECK(memory["gpus"][0]["instance"] == "0");
  CHECK(memory["gpus"][1]["rank"] == 1);
}

TEST_CASE("the id of a run depends on its scenario and seed alone") {
  HandMadeRun run;
  run.complete({0, 0, 1, 2}, 1, 2);
  const std::string id = run.result().run_id;
  run.complete({0, 0, 1, 3}, 1, 2);
  CHECK(run.result().run_id == id);
  run.scenario.resolved_json =
      R"({"engine": {"max_num_seqs": 8}, "name": "hand-made", "schema_version": 1})";
  CHECK(run.result().run_id == id);  // the same in another order
  run.scenario.resolved_json =
      R"({"engine": {"max_num_seqs": 9}, "name": "hand-made", "schema_version": 1})";
  CHECK(run.result().run_id != id);
  run = HandMadeRun();
  run.scenario.seed = 2;
  CHECK(run.result().run_id != id);
}

TEST_CASE("attainment is told by class of request, of those that have one and count") {
  HandMadeRun run;
  run.scenario.slo.ttft_ms = 100;
  run.scenario.workload.warmup_s = 1;
  run.complete({1000, 1000, 1010, 1020}, 5, 2);  // chat, good
  run.complete({1000, 1000, 1200, 1300}, 5, 2);  // batch, late
  run.complete({1000, 1000, 1200, 1300}, 5, 2);  // chat, late
  run.complete({1000, 1000, 1010, 2000}, 5, 2);  // none, good
  run.complete({0, 0, 10, 20}, 5, 2);            // chat, before the warm-up
  run.complete({0, 0, 10, 20}, 5, 2);            // the only one of its class, likewise
  run.workload.slo_class = {1, 0, 1, kNoSloClass, 1, 2};
  run.workload.slo_class_names = {"batch", "chat", "early"};
  const json slo = json::parse(json_of(run.result()))["slo"];
  CHECK(slo["attainment_ratio"] == 0.5);
  CHECK(slo["per_class"] == json::parse(R"({
      "batch": {"attainment_ratio": 0, "goodput_rps": 0, "good_request_count": 0,
                "request_count": 1},
      "chat": {"attainment_ratio": 0.5, "goodput_rps": 1, "good_request_count": 1,
               "request_count": 2}})"));
  run.workload.slo_class.clear();
  run.workload.slo_class_names.clear();
  CHECK_FALSE(json::parse(json_of(run.result()))["slo"].contains("per_class"));
}

TEST_CASE("each kind of instance has its own memory, the first one's stands where it always did") {
  HandMadeRun run(3);
  run.deployment.instances[2].spec = 1;
  run.deployment.instances[2].memory.gpus = {hand_made_gpu(40'000'000)};
  run.deployment.instances[2].memory.num_gpu_blocks = 700;
  const json memory = json::parse(json_of(run.result()))["memory"];
  CHECK(memory["kv"]["num_gpu_blocks"] == 100);
  CHECK(memory["per_gpu"]["capacity_bytes"] == 80'000);
  REQUIRE(memory["instances"].size() == 2);
  CHECK(memory["instances"][0]["instance"] == "0");
  CHECK(memory["instances"][0]["kv"] == memory["kv"]);
  CHECK(memory["instances"][0]["per_gpu"] == memory["per_gpu"]);
  CHECK(memory["instances"][1]["instance"] == "2");
  CHECK(memory["instances"][1]["kv"]["num_gpu_blocks"] == 700);
  CHECK(memory["instances"][1]["per_gpu"]["capacity_bytes"] == 40'000'000);
  const std::string text = text_of(run.result());
  CHECK(text.find("KV cache          0: 100 blocks of 16") != std::string::npos);
  CHECK(text.find("KV cache          2: 700 blocks of 16") != std::string::npos);
}
