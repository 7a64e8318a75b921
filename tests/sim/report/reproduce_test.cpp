#include "sim/report/reproduce.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "report_support.h"

using namespace moesim;

namespace {

std::string line_with(const HandMadeRun& run, const std::string& start) {
  const std::vector<std::string> lines = reproduce_commands(run.view());
  const auto found = std::find_if(lines.begin(), lines.end(),
                                  [&](const std::string& line) { return line.starts_with(start); });
  return found == lines.end() ? "" : *found;
}

HandMadeRun fixed_lengths() {
  HandMadeRun run;
  run.complete({0, 0, 10, 100}, 128, 16);
  run.complete({1000, 1000, 1010, 1100}, 128, 16);
  run.scenario.workload.synthetic.input_tokens = {Distribution::Kind::kFixed, 128, 0, 0, 0, {}};
  run.scenario.workload.synthetic.output_tokens = {Distribution::Kind::kFixed, 16, 0, 0, 0, {}};
  return run;
}

}  // namespace

TEST_CASE("the launch command has what differs from the defaults, and every size") {
  HandMadeRun run = fixed_lengths();
  CHECK(line_with(run, "vllm serve") ==
        "vllm serve test/small-moe --max-model-len 1024 --max-num-seqs 8 --max-num-batched-tokens "
        "512 "
        "--gpu-memory-utilization 0.9");
  InstanceSpec& spec = run.scenario.instances[0];
  spec.parallel.tp = 2;
  spec.parallel.pp = 2;
  spec.engine.block_size = 32;
  spec.engine.enable_prefix_caching = false;
  spec.engine.async_scheduling = false;
  spec.engine.enforce_eager = true;
  spec.engine.num_gpu_blocks_override = 77;
  run.scenario.model.precisions.kv_cache = NumberFormat::kFp8;
  run.scenario.lora.adapters = 4;
  run.scenario.resolved_json = R"({"precision": {"weights": "fp8"}})";
  CHECK(line_with(run, "vllm serve") ==
        "vllm serve test/small-moe --tensor-parallel-size 2 --pipeline-parallel-size 2 "
        "--max-model-len 1024 --max-num-seqs 8 --max-num-batched-tokens 512 "
        "--gpu-memory-utilization 0.9 --block-size 32 --no-enable-prefix-caching "
        "--no-async-scheduling --num-gpu-blocks-override 77 --enforce-eager --kv-cache-dtype fp8 "
        "--quantization fp8 --enable-lora --max-loras 4 --max-lora-rank 16");
}

TEST_CASE("a graph mode is a compilation setting, graphs that are not captured have no sizes") {
  HandMadeRun run = fixed_lengths();
  EngineSpec& engine = run.scenario.instances[0].engine;
  engine.cudagraph_mode = "NONE";
  engine.cudagraph_capture_sizes.clear();
  const std::string line = line_with(run, "vllm serve");
  CHECK(line.find("--cudagraph-capture-sizes") == std::string::npos);
  CHECK(line.find("--compilation-config '{\"cudagraph_mode\": \"NONE\"}'") != std::string::npos);
  engine.cudagraph_mode = "FULL_AND_PIECEWISE";
  CHECK(line_with(run, "vllm serve").find("--compilation-config") == std::string::npos);
}

TEST_CASE("several engines and formats vLLM cannot make while loading are told as notes") {
  HandMadeRun run = fixed_lengths();
  run.scenario.instances[0].count = 4;
  run.scenario.resolved_json = R"({"precision": {"weights": "awq_int4"}})";
  CHECK(line_with(run, "# precision.weights: awq_int4 needs a checkpoint") != "");
  CHECK(line_with(run, "# 4 engines like the next") != "");
  CHECK(line_with(run, "# the engines stand behind a round_robin router") != "");
}

TEST_CASE("a plan the experts start with is SGLang's, and vLLM's first rebalance") {
  HandMadeRun run = fixed_lengths();
  run.scenario.placement.name = "eplb";
  run.scenario.placement.num_redundant_experts = 2;
  run.scenario.placement.init_expert_location = "routing";
  run.scenario.placement.step_interval = 0;
  InstanceSpec& spec = run.scenario.instances[0];
  spec.parallel.dp = 2;
  spec.parallel.expert_parallel = true;
  CHECK(line_with(run, "vllm serve").find("--eplb-config '{\"num_redundant_experts\": 2}'") !=
        std::string::npos);
  CHECK(line_with(run, "# experts start where a plan puts them") != "");
  spec.engine.backend = "sglang";
  const std::string launch = line_with(run, "python -m sglang.launch_server");
  CHECK(launch.find("--ep-num-redundant-experts 2 --init-expert-location FILE") !=
        std::string::npos);
  CHECK(launch.find("--enable-eplb") == std::string::npos);
  CHECK(line_with(run, "# FILE: counts of a recorded expert distribution") != "");
}

TEST_CASE("the benchmark sends the same load") {
  struct Case {
    const char* why;
    void (*change)(HandMadeRun&);
    const char* expect;
  };
  const Case cases[] = {
      {"Poisson arrivals, fixed lengths", [](HandMadeRun&) {},
       "vllm bench serve --model test/small-moe --dataset-name random --random-input-len 128 "
       "--random-output-len 16 --num-prompts 2 --request-rate 2 --ignore-eos --seed 1 "
       "--percentile-metrics ttft,tpot,itl,e2el --metric-percentiles 50,90,95,99"},
      {"bursty, capped, with targets",
       [](HandMadeRun& run) {
         run.scenario.workload.arrival.policy.name = "gamma";
         run.scenario.workload.arrival.burstiness = 0.5;
         run.workload.max_concurrency = 64;
         run.scenario.slo.ttft_ms = 500;
         run.scenario.slo.tpot_ms = 50;
       },
       "vllm bench serve --model test/small-moe --dataset-name random --random-input-len 128 "
       "--random-output-len 16 --num-prompts 2 --request-rate 2 --burstiness 0.5 "
       "--max-concurrency 64 --ignore-eos --seed 1 --percentile-metrics ttft,tpot,itl,e2el "
       "--metric-percentiles 50,90,95,99 --goodput ttft:500 tpot:50"},
      {"uniform lengths are a range around their middle",
       [](HandMadeRun& run) {
         run.scenario.workload.arrival.policy.name = "all_at_once";
         auto& synthetic = run.scenario.workload.synthetic;
         synthetic.input_tokens = {Distribution::Kind::kUniform, 96, 160, 0, 0, {}};
         synthetic.output_tokens = {Distribution::Kind::kUniform, 12, 20, 0, 0, {}};
         run.scenario.workload.finish_eos = true;
       },
       "vllm bench serve --model test/small-moe --dataset-name random --random-input-len 128 "
       "--random-output-len 16 --random-range-ratio 0.25 --num-prompts 2 --request-rate inf "
       "--seed 1 --percentile-metrics ttft,tpot,itl,e2el --metric-percentiles 50,90,95,99"},
      {"a trace goes through vLLM's BurstGPT reader at its mean rate",
       [](HandMadeRun& run) { run.scenario.workload.trace.emplace().path = "data/hour.csv.gz"; },
       "vllm bench serve --model test/small-moe --dataset-name burstgpt --dataset-path "
       "hour.burstgpt.csv --num-prompts 2 --request-rate 1 --ignore-eos --seed 1 "
       "--percentile-metrics ttft,tpot,itl,e2el --metric-percentiles 50,90,95,99"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    HandMadeRun run = fixed_lengths();
    c.change(run);
    CHECK(line_with(run, "vllm bench serve") == c.expect);
  }
}

TEST_CASE("names that a shell would take apart are quoted") {
  HandMadeRun run = fixed_lengths();
  run.scenario.model.id = "my org/it's";
  CHECK(line_with(run, "vllm serve").starts_with("vllm serve 'my org/it'\\''s' --"));
  CHECK(line_with(run, "vllm bench").find("--model 'my org/it'\\''s' --") != std::string::npos);
}

TEST_CASE("turns of sessions are sent at their own rate, and a cut-off sends what was sent") {
  HandMadeRun run = fixed_lengths();
  run.workload.predecessor = {kNoRequest, 0};  // sent a second apart
  CHECK(line_with(run, "vllm bench").find("--request-rate 1 ") != std::string::npos);
  CHECK(line_with(run, "# sessions of several turns") != "");
  CHECK(line_with(run, "# the run ends") == "");
  CHECK(line_with(run, "# requests of the first") == "");
  run.workload.predecessor.clear();
  run.requests.arrival[run.leave(5000, RequestStatus::kPending)] = kNever;
  run.scenario.workload.duration_s = 3;
  run.scenario.workload.warmup_s = 1;
  CHECK(line_with(run, "vllm bench").find("--num-prompts 2 ") != std::string::npos);
  CHECK(line_with(run, "# the run ends after 3 s") != "");
  CHECK(line_with(run, "# requests of the first 1 s") != "");
}

TEST_CASE("lengths the benchmark cannot draw are replaced by their means, and it says so") {
  HandMadeRun run = fixed_lengths();
  run.scenario.workload.synthetic.input_tokens.kind = Distribution::Kind::kLognormal;
  CHECK(line_with(run, "vllm bench").find("--random-input-len 128 ") != std::string::npos);
  CHECK(line_with(run, "# the random dataset has fixed or uniform lengths") != "");
}

TEST_CASE("prefixes of a trace that a benchmark cannot send are said to be lost") {
  HandMadeRun run = fixed_lengths();
  run.scenario.workload.trace.emplace().path = "data/hour.csv.gz";
  const char* const lost = "# the prefixes that prompts of the trace share are lost";
  CHECK(line_with(run, lost) == "");
  run.workload.chain = {{0, 5}, {0, 5}};
  CHECK(line_with(run, lost) != "");
  CHECK(line_with(run, "# hour.burstgpt.csv has to be made of the trace") != "");
  run.scenario.instances[0].engine.backend = "sglang";
  CHECK(line_with(run, "# this benchmark reads no trace").find("no prompt shares a prefix") !=
        std::string::npos);
}

TEST_CASE("experts on the CPU are llama.cpp's, in whole layers on one GPU") {
  HandMadeRun run = fixed_lengths();
  run.scenario.model.layers.resize(4, run.scenario.model.layers.front());
  run.scenario.model.layers.front().moe = false;  // counted, too
  run.scenario.offload = ExpertOffload{.policy = OffloadPolicy::kWholeLayers,
                                       .resident_fraction = 0.5,
                                       .compute = OffloadCompute::kCpu};
  CHECK(line_with(run, "llama-server") ==
        "llama-server --model MODEL.gguf --port 8000 --n-gpu-layers 999 --n-cpu-moe 3 --ctx-size "
        "8192 --parallel 8 --batch-size 512 --ubatch-size 512");
  CHECK(line_with(run, "vllm serve") == "");
  CHECK(line_with(run, "# MODEL.gguf: test/small-moe").find("not llama.cpp") != std::string::npos);
  CHECK(line_with(run, "vllm bench") != "");
  run.scenario.offload->policy = OffloadPolicy::kPinnedHot;
  CHECK(reproduce_commands(run.view()).size() == 1);
  CHECK(line_with(run, "# experts on the CPU") != "");
}

TEST_CASE("a backend without commands of its own has none") {
  HandMadeRun run = fixed_lengths();
  run.scenario.instances[0].engine.backend = "static_batch";
  CHECK(reproduce_commands(run.view()).empty());
}

TEST_CASE("SGLang and TensorRT-LLM are started and measured by their own commands") {
  HandMadeRun run = fixed_lengths();
  EngineSpec& engine = run.scenario.instances[0].engine;
  run.scenario.instances[0].parallel.tp = 2;
  engine.backend = "sglang";
  engine.enforce_eager = true;
  engine.max_num_seqs_by_memory = true;
  engine.sglang.enable_mixed_chunk = true;
  engine.sglang.scheduler_recv_interval = 30;
  engine.moe_backend = "trtllm_gen";
  CHECK(line_with(run, "python -m sglang.launch_server") ==
        "python -m sglang.launch_server --model-path test/small-moe --tp-size 2 --context-length "
        "1024 --mem-fraction-static 0.9 --chunked-prefill-size 512 --max-prefill-tokens 16384 "
        "--schedule-policy fcfs --scheduler-recv-interval 30 --moe-runner-backend "
        "flashinfer_trtllm --enable-mixed-chunk --disable-cuda-graph");
  engine.moe_backend = "auto";
  CHECK(line_with(run, "python -m sglang.bench_serving") ==
        "python -m sglang.bench_serving --backend sglang --model test/small-moe --dataset-name "
        "random --random-input-len 128 --random-output-len 16 --random-range-ratio 1 "
        "--num-prompts 2 --request-rate 2 --seed 1");
  run.scenario.workload.synthetic.input_tokens = {Distribution::Kind::kUniform, 50, 150, 0, 0, {}};
  run.scenario.workload.synthetic.output_tokens = {Distribution::Kind::kUniform, 5, 15, 0, 0, {}};
  CHECK(line_with(run, "python -m sglang.bench_serving")
            .find("--random-input-len 150 --random-output-len 15 --random-range-ratio 0.333333") !=
        std::string::npos);
  engine.backend = "trtllm";
  CHECK(line_with(run, "trtllm-serve") ==
        "trtllm-serve test/small-moe --tp_size 2 --max_seq_len 1024 --max_batch_size 8 "
        "--max_num_tokens 512 --extra_llm_api_options options.yaml");
  CHECK(line_with(run, "# options.yaml:").find("GUARANTEED_NO_EVICT") != std::string::npos);
  CHECK(line_with(run, "python -m tensorrt_llm.serve.scripts.benchmark_serving")
            .find("--random-range-ratio 0.5") != std::string::npos);
}
