#include "sim/validation/serving_layout.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <string>

#include "sim/validation/serving_plan.h"
#include "tests/sim/validation/serving_support.h"

using namespace moesim;

namespace {

ServingRow eight_gpus() {
  ServingRow row = closed_loop_row();
  row.source.clear();
  row.model = "Qwen3-235B-A22B";
  row.weight_dtype = "fp8";
  row.engine = "TensorRT-LLM";
  row.version = "1.1";
  row.gpus = row.tp = 8;
  row.ep.reset();
  row.osl = 20;
  row.num_requests = 16;
  return row;
}

ServingRow one_side(const char* rate) {
  ServingRow row = eight_gpus();
  row.engine = "SGLang";
  row.version = "2025-05";
  row.date = "2025-05-05";
  row.model = "DeepSeek-V3";
  row.weight_dtype = "fp8-block";
  row.disagg = true;
  row.gpus = row.ep = row.attention_dp = 16;
  row.tp.reset();
  row.osl.reset();
  row.concurrency.reset();
  row.limits_per_gpu = true;
  row.load_mode = "isolated";
  row.notes = "in-distribution EPLB";
  row.measured = {{rate, 1}};
  return row;
}

}  // namespace

TEST_CASE("tp counts the engine's GPUs or those of one attention replica; n_gpus tells") {
  ServingRow row = eight_gpus();
  row.attention_dp = 4;
  ServingLayout layout = layout_of(row);
  CHECK(layout.tensor == 2);
  CHECK(layout.data == 4);
  CHECK(layout.gpus() == 8);
  row.tp = 2;
  layout = layout_of(row);
  CHECK(layout.problem.empty());
  CHECK(layout.tensor == 2);
  CHECK(layout.data == 4);
  row.dp = 2;
  row.gpus = 16;
  layout = layout_of(row);
  CHECK(layout.engines == 2);
  CHECK(layout.gpus() == 16);
  row.attention_dp = 3;
  CHECK(layout_of(row).problem ==
        "16 GPUs, but neither tp x pp x dp, 4, nor that times attention_dp, 12");
}

TEST_CASE("a recipe that copies attention holds where the row does not say") {
  ServingRow row = eight_gpus();
  row.notes = "recipe lists enable_attention_dp:true";
  ServingLayout layout = layout_of(row);
  CHECK(layout.tensor == 1);
  CHECK(layout.data == 8);
  CHECK(layout.gpus() == 8);
  CHECK(layout.assumed.front().find("as in the recipe") != std::string::npos);
  row.attention_dp = 1;
  CHECK(layout_of(row).data == 1);
  row.attention_dp.reset();
  row.moe = false;
  CHECK(layout_of(row).data == 1);
}

TEST_CASE("less memory goes to KV where the usual share does not fit, and it is said") {
  ServingRow row = eight_gpus();
  row.model = "Llama-4-Maverick";
  row.version = "1.0";
  row.source = "trtllm_docs_1.0";
  row.attention_dp = 8;
  row.memory_fraction = 0.95;
  CHECK(carry_out(ServingTranslator().plan(row)).run.infeasible);
  row.smaller_fraction = 0.9;
  const ServingOutcome outcome = carry_out(ServingTranslator().plan(row));
  CHECK(outcome.run.problem.empty());
  CHECK(outcome.assumed.back().find("less memory for KV") == 0);
}

TEST_CASE("groups of layouts") {
  ServingRow row = eight_gpus();
  CHECK(layout_group(layout_of(row), row) == "experts cut");
  row.ep = 8;
  CHECK(layout_group(layout_of(row), row) == "experts whole");
  row.attention_dp = 8;
  CHECK(layout_group(layout_of(row), row) == "attention copied");
  row.moe = false;
  CHECK(layout_group(layout_of(row), row).empty());
  CHECK(layout_group(layout_of(one_side("output_tok_s")), one_side("output_tok_s")) == "wide");
}

TEST_CASE("experts and attention of TensorRT-LLM and vLLM are laid out as the row says and run") {
  ServingRow row = eight_gpus();
  row.attention_dp = 4;
  row.ep = 4;
  ServingPlan plan = ServingTranslator().plan(row);
  CHECK(plan.layout == "attention copied");
  CHECK(value_of(plan, "deployment.instances.0.tensor_parallel_size") == "2");
  CHECK(value_of(plan, "deployment.instances.0.data_parallel_size") == "4");
  CHECK(value_of(plan, "deployment.instances.0.moe_expert_parallel_size") == "4");
  CHECK(carry_out(plan).run.problem.empty());
  // No expert parallelism: every expert is cut over the data-parallel ranks, too.
  row.ep = 1;
  row.model = "Mixtral-8x7B";
  plan = ServingTranslator().plan(row);
  CHECK(value_of(plan, "deployment.instances.0.moe_expert_parallel_size").empty());
  CHECK(carry_out(plan).run.problem.empty());
  row.engine = "vLLM";
  row.version = "0.15.1";
  row.ep = 8;
  plan = ServingTranslator().plan(row);
  CHECK(value_of(plan, "engine.enable_expert_parallel") == "true");
  CHECK(carry_out(plan).run.problem.empty());
}

TEST_CASE("a prefill side runs full steps of prompts on every GPU") {
  ServingRow row = one_side("input_tok_s");
  row.max_batched_tokens = 2000;
  const ServingPlan plan = ServingTranslator().plan(row);
  REQUIRE(plan.problem.empty());
  CHECK(value_of(plan, "deployment.instances.0.role") == "prefill");
  CHECK(value_of(plan, "engine.all2all_backend") == "deepep_high_throughput");
  // SGLang counts over all ranks: 16 x 2000.
  CHECK(value_of(plan, "engine.chunked_prefill_size") == "32000");
  CHECK(value_of(plan, "placement").find("num_redundant_experts: 32") != std::string::npos);
  CHECK(value_of(plan, "placement").find("init_expert_location: routing") != std::string::npos);
  CHECK(plan.load.requests == 16 * 16 * 2);  // 16 steps of two prompts on 16 ranks
  const ServingOutcome outcome = carry_out(plan);
  CHECK(outcome.run.problem == "");
  REQUIRE(outcome.run.total_tok_s);
  // One output a prompt of 1000.
  CHECK(*outcome.run.total_tok_s / *outcome.run.output_tok_s == doctest::Approx(1001));
}

TEST_CASE("a decode side is a full batch around the stated KV length, from its first step") {
  ServingRow row = one_side("output_tok_s");
  row.max_batch = 8;
  row.gpus = row.ep = row.attention_dp = 32;  // 288 experts on 16 leave no room beside them
  const ServingPlan plan = ServingTranslator().plan(row);
  REQUIRE(plan.problem.empty());
  CHECK(value_of(plan, "deployment.instances.0.role") == "decode");
  CHECK(value_of(plan, "engine.all2all_backend") == "deepep_low_latency");
  CHECK(value_of(plan, "engine.max_running_requests") == "256");
  CHECK(value_of(plan, "workload.synthetic.input_tokens") == "950");
  const ServingOutcome outcome = carry_out(plan);
  REQUIRE(outcome.run.problem.empty());
  // 256 sequences all the time: the rate is that over the time of a step, but for the last steps.
  CHECK(*outcome.run.output_tok_s * outcome.run.tpot_ms->mean / 1000 ==
        doctest::Approx(256).epsilon(0.05));
}

TEST_CASE("a side of which the GPUs, the load or the batch are not stated is refused") {
  ServingRow row = one_side("output_tok_s");
  CHECK(ServingTranslator().plan(row).problem == "batch size is not stated");
  row.max_batch = 8;
  row.load_mode = "production 24h average";
  CHECK(ServingTranslator().plan(row).problem ==
        "load 'production 24h average' cannot be reproduced");
  row.gpus = 32;
  CHECK(layout_of(row).problem == "the GPUs of the side are not stated");
}
