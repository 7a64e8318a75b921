#include "sim/validation/serving_plan.h"

#include <cmath>
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "scenarios/routing_load_stats.h"
#include "scenarios/routing_stats.h"
#include "scenarios/routing_trace.h"
#include "sim/validation/scenario_keys.h"
#include "tests/scenarios/routing_support.h"
#include "tests/sim/validation/serving_support.h"

using namespace moesim;

TEST_CASE("a closed loop of fixed lengths") {
  const ServingPlan plan = plan_of(closed_loop_row());
  REQUIRE(plan.problem.empty());
  CHECK(plan.system == "h100_sxm");
  CHECK(plan.engine == "vllm 0.15");
  CHECK(value_of(plan, "workload.arrival") == "{kind: closed_loop, max_concurrency: 8}");
  CHECK(value_of(plan, "workload.synthetic.input_tokens") == "1000");
  CHECK(value_of(plan, "workload.synthetic.num_prompts") == "80");
  CHECK(value_of(plan, "deployment.instances.0.tensor_parallel_size") == "2");
  CHECK(plan.assumed == std::vector<std::string>{"80 requests (10 a slot)"});
  const ServingOutcome outcome = carry_out(plan);
  REQUIRE(outcome.run.problem.empty());
  CHECK(outcome.run.completed == 80);
  // Eight slots are never idle: rate x time of one request is the concurrency.
  CHECK(*outcome.run.output_tok_s / 200 * outcome.run.e2e_ms->mean / 1000 ==
        doctest::Approx(8).epsilon(0.02));
}

TEST_CASE("what we cannot express is refused with the reason") {
  struct Case {
    const char* why;
    void (*change)(ServingRow&);
    const char* problem;
  };
  const Case cases[] = {
      {"split", [](ServingRow& r) { r.disagg = true; },
       "prefill and decode on separate GPUs, joined, are not modelled yet"},
      {"experts over more GPUs than there are", [](ServingRow& r) { r.ep = 4; },
       "experts over 4 of 2 GPUs"},
      {"attention copied to more", [](ServingRow& r) { r.attention_dp = 4; },
       "2 GPUs, but neither tp x pp x dp, 2, nor that times attention_dp, 8"},
      {"drafts", [](ServingRow& r) { r.spec_decode = "mtp"; },
       "speculative decoding is not modelled yet"},
      {"an image of drafts",
       [](ServingRow& r) {
         r.engine = "TensorRT-LLM";
         r.version = "1.2.0rc6.post3";
       },
       "image 1.2.0rc6.post3 was launched with multi-token prediction only, which is not modelled "
       "yet"},
      {"a card we do not have", [](ServingRow& r) { r.gpu = "GH200-144GB"; },
       "GPU GH200-144GB is not shipped"},
      {"a model we do not have", [](ServingRow& r) { r.model = "Secret-1T (leaked)"; },
       "model Secret-1T is not shipped"},
      {"an engine we do not know", [](ServingRow& r) { r.engine = "Acme internal"; },
       "engine Acme internal is not modelled"},
      {"no layout", [](ServingRow& r) { r.tp.reset(); }, "tensor-parallel size not stated"},
      {"a layout of other GPUs", [](ServingRow& r) { r.gpus = 8; },
       "8 GPUs, but tp x pp x dp is 2"},
      {"no lengths", [](ServingRow& r) { r.isl.reset(); }, "prompt lengths are not published"},
      {"no concurrency", [](ServingRow& r) { r.concurrency.reset(); }, "concurrency is not stated"},
      {"a load we cannot replay", [](ServingRow& r) { r.load_mode = "production 24h average"; },
       "load 'production 24h average' cannot be reproduced"},
      {"an unreadable cell", [](ServingRow& r) { r.unclear = {"tp 'x' is not a number"}; },
       "tp 'x' is not a number"},
      {"a format we do not know", [](ServingRow& r) { r.weight_dtype = "int3"; },
       "weight format 'int3' is not known"},
      {"a layout that does not divide", [](ServingRow& r) { r.tp = r.gpus = 5; },
       "deployment.instances.0.tensor_parallel_size: 32 query heads cannot be cut over "
       "tensor_parallel_size 5"},
      {"weights that do not fit", [](ServingRow& r) { r.tp = r.gpus = 1; }, "does not fit: "},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    ServingRow row = closed_loop_row();
    c.change(row);
    const ServingPlan plan = plan_of(row);
    const std::string problem = plan.problem.empty() ? carry_out(plan).run.problem : plan.problem;
    CHECK(problem.starts_with(c.problem));
  }
}

TEST_CASE("the spread of gpt-oss is that of its recorded loads") {
  const auto path = routing_data("gpt_oss_20b_tokens.mrt");
  if (is_missing(path)) return;
  ServingRow row = closed_loop_row();
  row.model = "gpt-oss-120b";
  row.weight_dtype = "mxfp4";
  const std::string routing = value_of(plan_of(row), "routing");
  const std::string key = "sigma: ";
  REQUIRE(routing.find(key) != std::string::npos);
  const double cv = mean_of(routing_stats(read_routed_tokens(path)).load).cv;
  CHECK(std::stod(routing.substr(routing.find(key) + key.size())) ==
        doctest::Approx(std::sqrt(std::log(1 + cv * cv))).epsilon(0.01));
}

TEST_CASE("gpt-oss is routed as unevenly as recorded, others evenly") {
  ServingRow row = closed_loop_row();
  CHECK(value_of(plan_of(row), "routing").empty());
  row.model = "gpt-oss-120b";
  row.weight_dtype = "mxfp4 (experts)";
  const ServingPlan plan = plan_of(row);
  CHECK(value_of(plan, "routing") == "{kind: lognormal, sigma: 0.68}");
  CHECK(assumes(plan, "experts as unevenly loaded as recorded for gpt-oss-20b"));
}

TEST_CASE("vLLM's V0 started, so its steps had room for the longest request, or chunks") {
  struct Case {
    const char* why;
    int tokens;
    const char *notes, *chunks, *length;
  };
  const Case cases[] = {
      {"nothing stated", 0, "", "false", ""},
      {"room for a request", 2048, "", "false", "1200"},
      {"less than a request", 512, "", "true", ""},
      {"less than the stated length", 2048, "max_model_len 4096", "true", "4096"}};
  for (const Case& c : cases) {
    CAPTURE(std::string(c.why));
    ServingRow row = closed_loop_row();
    row.version = "0.8.5";
    if (c.tokens > 0) row.max_batched_tokens = c.tokens;
    row.notes = c.notes;
    const ServingPlan plan = plan_of(row);
    CHECK(value_of(plan, "engine.enable_chunked_prefill") == c.chunks);
    CHECK(value_of(plan, "engine.max_model_len") == c.length);
    CHECK(load_with(plan.keys, plan.model).problem.empty());
  }
}

TEST_CASE("lengths of one token stay one token") {
  ServingRow row = closed_loop_row();
  row.len_dist = "random tokens, each length uniform in 80-100% of nominal";
  row.osl = 1;
  const ServingPlan plan = plan_of(row);
  CHECK(value_of(plan, "workload.synthetic.output_tokens") == "{uniform: [1, 1]}");
  CHECK(carry_out(plan).run.problem.empty());
}

TEST_CASE("an engine without chunks was built with room for its prompts") {
  ServingRow row = closed_loop_row();
  row.engine = "TensorRT-LLM";
  row.version = "0.17";
  row.isl = 8300;
  row.osl = 4;
  const ServingPlan plan = plan_of(row);
  CHECK(value_of(plan, "engine.max_num_tokens") == "8320");  // 8300 and 8 decodes, in whole 64s
  CHECK(assumes(plan, "max_num_tokens 8320: the longest prompt beside a full batch"));
  CHECK(carry_out(plan).run.problem.empty());
  row.load_mode = "offline";  // 2048 decodes, the usual batch
  CHECK(value_of(plan_of(row), "engine.max_num_tokens") == "10368");
  row.max_batch = 64;
  CHECK(value_of(plan_of(row), "engine.max_num_tokens") == "8384");
  row.isl = 8192;  // fits the usual limit
  CHECK(value_of(plan_of(row), "engine.max_num_tokens").empty());
  row.isl = 8300;
  row.max_batched_tokens = 8192;  // stated: then it refused them
  CHECK(value_of(plan_of(row), "engine.max_num_tokens") == "8192");
  row.max_batched_tokens.reset();
  row.source = "trtllm_docs";
  row.version = "1.0";  // chunks
  CHECK(value_of(plan_of(row), "engine.max_num_tokens").empty());
}

TEST_CASE("TensorRT-LLM takes the KV format of the vendor's quantised checkpoints") {
  ServingRow row = closed_loop_row();
  row.engine = "TensorRT-LLM";
  row.weight_dtype = "fp8";
  CHECK(plan_of(row).kv_of_checkpoint);
  row.kv_dtype = "fp16";
  CHECK_FALSE(plan_of(row).kv_of_checkpoint);
  row.kv_dtype = "";
  row.engine = "vLLM";
  CHECK_FALSE(plan_of(row).kv_of_checkpoint);
}

TEST_CASE("loads: offline, static batch, open loop") {
  ServingRow row = closed_loop_row();
  row.load_mode = "offline max throughput (all requests queued)";
  ServingPlan plan = plan_of(row);
  CHECK(plan.load.offline);
  CHECK(value_of(plan, "workload.arrival") == "{kind: all_at_once}");
  CHECK(assumes(plan, "2000 requests (as other offline runs)"));
  row.load_mode = "static batch (benchmark)";
  plan = plan_of(row);
  CHECK_FALSE(plan.load.offline);
  CHECK(value_of(plan, "workload.synthetic.num_prompts") == "8");
  row.load_mode = "Poisson arrivals (Server)";
  row.request_rate = 20;
  plan = plan_of(row);
  CHECK(value_of(plan, "workload.arrival") == "{kind: poisson, request_rate: 20}");
  CHECK(value_of(plan, "workload.synthetic.num_prompts") == "2400");  // 20 a second, two minutes
  row.num_requests = 300;
  CHECK(value_of(plan_of(row), "workload.synthetic.num_prompts") == "300");
  row.load_mode = "open-loop QPS";
  row.request_rate.reset();
  row.all_at_once = true;
  CHECK(value_of(plan_of(row), "workload.arrival") == "{kind: all_at_once}");
}

TEST_CASE("a few prompts that repeat hit the prefix cache") {
  ServingRow row = closed_loop_row();
  row.len_dist =
      "shared_prefix synthetic: 200 system + 800 question tokens nominal; only ~10 "
      "distinct prompts (2x5) repeat";
  row.load_mode = "open-loop constant rate, 60 s stages";
  row.request_rate = 2;
  row.osl = 10;  // alone on the engine, so that TTFT is the prefill's
  row.num_requests = 100;
  row.prefix_cache = "on";
  row.notes = "stage 0; max_model_len 4096";
  const ServingPlan cold = plan_of(row);
  REQUIRE(cold.problem.empty());
  CHECK(value_of(cold, "engine.max_model_len") == "4096");
  row.notes = "stage 1; max_model_len 4096";
  const ServingPlan warm = plan_of(row);
  CHECK(value_of(warm, "workload.synthetic.num_prompts") == "110");
  CHECK(value_of(warm, "workload.warmup_s") == "5");
  const ServingOutcome first = carry_out(cold);
  const ServingOutcome second = carry_out(warm);
  REQUIRE(first.run.problem.empty());
  REQUIRE(second.run.problem.empty());
  CHECK(second.run.ttft_ms->count == 100);
  // Ten misses among the first stage's hundred requests, none in the second.
  CHECK(first.run.ttft_ms->p99 > 1.1 * first.run.ttft_ms->p50);
  CHECK(second.run.ttft_ms->p99 < 1.05 * second.run.ttft_ms->p50);
  CHECK(second.run.ttft_ms->mean < first.run.ttft_ms->mean);
}

TEST_CASE("repeated prompts: identities of two elements, taken in turn") {
  Workload workload;
  workload.prompt_tokens = {100, 100, 100, 100, 100};
  repeat_prompts(workload, {.groups = 2, .prompts_per_group = 2, .system_tokens = 40});
  CHECK(workload.chain_ids == 6);
  REQUIRE(workload.chain.size() == 10);
  CHECK(workload.chain[0].id == workload.chain[4].id);  // requests 0 and 2: one group
  CHECK(workload.chain[0].id != workload.chain[2].id);  // 0 and 1: not
  CHECK(workload.chain[1].id != workload.chain[5].id);  // questions differ
  CHECK(workload.chain[1].id == workload.chain[9].id);  // request 4 repeats request 0
  CHECK(workload.chain[0].end == 40);
  CHECK(workload.chain[1].end == 100);
}

TEST_CASE("independent replicas share the load; old engines take whole prompts") {
  ServingRow row = closed_loop_row();
  row.dp = 2;
  row.gpus = 4;
  const ServingPlan plan = plan_of(row);
  CHECK(value_of(plan, "deployment.instances.0.count") == "2");
  CHECK(carry_out(plan).run.problem.empty());
  row.version = "~0.3.3";
  const ServingPlan old = plan_of(row);
  CHECK(old.engine == "vllm before 0.9");
  CHECK(value_of(old, "engine.enable_chunked_prefill") == "false");
}

TEST_CASE("plans that differ in anything that is simulated have different keys") {
  const ServingRow row = closed_loop_row();
  ServingRow other = row;
  other.id = "b";
  other.date = "2026-01-01";
  other.measured = {{"ttft_mean", 5}};
  CHECK(plan_of(row).key() == plan_of(other).key());
  void (*const changes[])(ServingRow&) = {
      [](ServingRow& r) { r.weight_dtype = "fp8"; }, [](ServingRow& r) { r.kv_dtype = "fp8"; },
      [](ServingRow& r) { r.concurrency = 9; },      [](ServingRow& r) { r.osl = 201; },
      [](ServingRow& r) { r.version = "0.12.0"; },   [](ServingRow& r) { r.prefix_cache = "off"; }};
  for (const auto change : changes) {
    other = row;
    change(other);
    CHECK(plan_of(row).key() != plan_of(other).key());
  }
}
