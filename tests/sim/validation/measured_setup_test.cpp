#include "sim/validation/measured_setup.h"

#include <doctest/doctest.h>
#include <string>
#include <vector>

using namespace moesim;

namespace {

MemoryRow mixtral_row() {
  MemoryRow row;
  row.id = "mixtral";
  row.gpu = "H100-SXM-80GB";
  row.model = "Mixtral-8x7B";
  row.engine = "vLLM";
  row.version = "0.15.1";
  row.weight_dtype = "bf16";
  row.moe = true;
  row.tp = 2;
  return row;
}

}  // namespace

TEST_CASE("what a row states reaches the scenario, the rest are the engine's defaults") {
  MemoryRow row = mixtral_row();
  row.utilization = 0.85;
  row.max_num_seqs = 64;
  row.kv_dtype = "fp8";
  const MeasuredSetup setup = set_up(row);
  REQUIRE(setup.problem.empty());
  REQUIRE(setup.scenario);
  const InstanceSpec& instance = setup.scenario->instances.front();
  CHECK(instance.parallel.tp == 2);
  CHECK(instance.engine.gpu_memory_utilization == 0.85);
  CHECK(instance.engine.max_num_seqs == 64);
  CHECK(instance.engine.max_num_batched_tokens == 8192);  // H100
  CHECK(instance.engine.profile.version == "0.15");
  CHECK(setup.scenario->cluster.total_gpus() == 2);
  CHECK(setup.scenario->model.precisions.kv_cache == NumberFormat::kFp8);
  CHECK(setup.system == "h100_sxm");
  CHECK(setup.engine == "vllm 0.15");
  CHECK(setup.assumed.empty());
  CHECK(setup.assumed_engine ==
        std::vector<std::string>{"default batched tokens", "model's length"});
}

TEST_CASE("what we do not model is refused with the reason") {
  struct Case {
    const char* why;
    void (*change)(MemoryRow&);
    const char* problem;
  };
  const Case cases[] = {
      {"another engine", [](MemoryRow& r) { r.engine = "LMDeploy"; },
       "engine LMDeploy is not modelled"},
      {"no engine", [](MemoryRow& r) { r.engine = ""; }, "engine not stated"},
      {"a model we do not have", [](MemoryRow& r) { r.model = "Secret-1T (leaked)"; },
       "model Secret-1T is not shipped"},
      {"data parallelism", [](MemoryRow& r) { r.attention_dp = 8; },
       "attention data parallelism is not modelled yet"},
      {"expert parallelism", [](MemoryRow& r) { r.ep = 2; },
       "expert parallelism is not modelled yet"},
      {"no layout", [](MemoryRow& r) { r.tp.reset(); }, "tensor-parallel size not stated"},
      {"a layout that does not divide", [](MemoryRow& r) { r.tp = 5; },
       "32 query heads cannot be cut over tensor_parallel_size 5"},
      {"more stages than layers", [](MemoryRow& r) { r.pp = 33; }, "33 stages for 32 layers"},
      {"a format we do not know", [](MemoryRow& r) { r.weight_dtype = "int3"; },
       "weight format 'int3' is not known"},
      {"a KV format we do not know", [](MemoryRow& r) { r.kv_dtype = "int4"; },
       "KV format 'int4' is not known"},
      {"an impossible setting", [](MemoryRow& r) { r.max_model_len = 1000000; },
       "engine.max_model_len: 1000000 is beyond the model's max_position_embeddings, 32768"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    MemoryRow row = mixtral_row();
    c.change(row);
    CHECK(set_up(row).problem == c.problem);
  }
}

TEST_CASE("weights need no known card, unless the card decides how they are stored") {
  MemoryRow row = mixtral_row();
  row.gpu = "Ascend (not NVIDIA)";
  CHECK(set_up(row).problem.empty());
  CHECK(set_up(row).card_problem == "GPU Ascend is not shipped");
  CHECK(set_up(row).system.empty());
  row.gpu = "";
  CHECK(set_up(row).card_problem == "GPU not stated");
  row.model = "gpt-oss-120b";
  row.weight_dtype = "mxfp4 (experts)";
  CHECK(set_up(row).problem == "GPU not stated, and the size of MXFP4 weights depends on it");
}

TEST_CASE("a quantised checkpoint keeps its own layout; others take the named format") {
  MemoryRow row = mixtral_row();
  row.weight_dtype = "fp8-block";
  CHECK(set_up(row).scenario->model.precisions.attention == NumberFormat::kFp8Block);
  row.model = "gpt-oss-120b";
  row.weight_dtype = "mxfp4 (experts), Marlin kernels";
  CHECK(set_up(row).scenario->model.precisions.experts == NumberFormat::kMxfp4);
  CHECK(set_up(row).scenario->model.precisions.attention == NumberFormat::kBf16);
  row.model = "Llama-3.1-405B";  // published fp8: feed-forward layers only
  row.weight_dtype = "fp8";
  row.tp = 8;
  CHECK(set_up(row).scenario->model.precisions.dense_ffn == NumberFormat::kFp8);
  CHECK(set_up(row).scenario->model.precisions.attention == NumberFormat::kBf16);
}

TEST_CASE("experts that cannot be cut were kept whole") {
  MemoryRow row = mixtral_row();
  row.model = "MiniMax-M2.5";  // 1536 columns in blocks of 128: 12 blocks over 16 GPUs
  row.weight_dtype = "fp8 (not stated)";
  row.tp = 16;
  const MeasuredSetup setup = set_up(row);
  CHECK(setup.problem.empty());
  CHECK(setup.scenario->instances.front().parallel.expert_parallel);
  CHECK(setup.assumed == std::vector<std::string>{"whole experts"});
  CHECK(setup.scenario->cluster.total_nodes() == 2);
  row.ep = 1;  // stated: then it is an impossible row
  CHECK(set_up(row).problem.find("1536 columns cut over 16 GPUs") != std::string::npos);
}

TEST_CASE("releases before our first profile are a group of their own") {
  MemoryRow row = mixtral_row();
  row.version = "0.5.3";
  CHECK(set_up(row).engine == "vllm before 0.9");
  row.version = "";
  CHECK(set_up(row).engine == "vllm");
  row.date = "2025-10-31";
  CHECK(set_up(row).engine == "vllm 0.11");
}

TEST_CASE("a card without its form factor, a format in the checkpoint's name") {
  MemoryRow row = mixtral_row();
  row.gpu = "B200";
  row.model = "Mixtral-8x7B-Instruct-v0.1-FP8";
  row.weight_dtype = "auto";
  const MeasuredSetup setup = set_up(row);
  REQUIRE(setup.problem.empty());
  CHECK(setup.card_problem.empty());
  CHECK(setup.system == "b200_sxm");
  CHECK(setup.assumed_engine.back() == "card b200_sxm");
  CHECK(setup.scenario->model.precisions.experts == NumberFormat::kFp8);
}
