// Memory against start-up logs of real engines: ../data/memory of the shared folder, if it is
// there.
#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "tests/models/models_support.h"

using namespace moesim;
using test::gib;
using test::shipped;

namespace {

using Row = std::map<std::string, std::string>;

std::vector<std::string> split_csv(const std::string& line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      cells.emplace_back();
    } else if (c != '\r') {
      cells.back() += c;
    }
  }
  return cells;
}

std::vector<Row> read_csv(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> header = split_csv(line);
  std::vector<Row> rows;
  while (std::getline(file, line)) {
    const std::vector<std::string> cells = split_csv(line);
    Row row;
    for (std::size_t i = 0; i < header.size() && i < cells.size(); ++i) row[header[i]] = cells[i];
    rows.push_back(row);
  }
  return rows;
}

std::filesystem::path memory_folder() {
  return std::filesystem::path(MOESIM_SHARED_DIR) / "data" / "memory";
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/// What a row of startup_logs.csv says in prose.
struct Log {
  std::string id, model;
  Parallel parallel;
  PrecisionOverrides precision;
  int max_num_batched_tokens = 8192;
  double utilization = 0.9;
  bool pad_mxfp4 = false;
};

const Log kLogs[] = {
    {"vllm-23278-gptoss120b-h100", "gpt-oss-120b", {}, {}, 8192, 0.9, true},
    {"vllm-27508-gptoss120b-h100", "gpt-oss-120b", {}, {}, 1024, 0.95, true},
    {"vllm-21348-qwen3-235b-fp8-4xh100-vllm",
     "Qwen3-235B-A22B",
     {.tp = 4},
     {"fp8_block", "auto", "auto"}},
    {"vllm-17469-qwen3-30b-tp4", "Qwen3-30B-A3B", {.tp = 4}, {}},
    {"vllm-ascend-qwen3-30b-tp1", "Qwen3-30B-A3B", {}, {}},
    {"minimaxm25-issue30-tp16",
     "MiniMax-M2.5",
     {.tp = 16, .pp = 1, .dp = 1, .expert_parallel = true},
     {}},
};

MemoryInputs inputs_of(const Log& log) {
  MemoryInputs inputs;
  inputs.device_total = gib(79.2);
  inputs.max_num_batched_tokens = log.max_num_batched_tokens;
  inputs.max_num_seqs = 1024;  // the API server's default on an H100
  inputs.rules.utilization = log.utilization;
  inputs.rules.context_outside_budget = false;  // all before 0.11
  inputs.rules.fused_moe_chunk = 32768;
  inputs.rules.graph_sizes = 67;
  inputs.rules.pad_mxfp4 = log.pad_mxfp4;
  return inputs;
}

double in_gib(Bytes bytes) {
  return static_cast<double>(bytes.value()) / 1073741824.0;
}

}  // namespace

TEST_CASE("KV tokens of vLLM 0.15.1 servers") {
  const std::filesystem::path path = memory_folder() / "blis_vllm_kv_capacity.csv";
  if (!std::filesystem::exists(path)) {
    MESSAGE("skipped: no shared data");
    return;
  }
  const std::map<std::string, std::string> ids = {{"Mixtral-8x7B", "Mixtral-8x7B-v0.1"},
                                                  {"Llama-2-70B", "Llama-2-70b-hf"},
                                                  {"Llama-2-7B", "Llama-2-7b-hf"},
                                                  {"Llama-3.1-70B", "Llama-3.1-70B"},
                                                  {"Mistral-Nemo-12B", "Mistral-Nemo-Base-2407"},
                                                  {"Qwen2.5-7B", "Qwen2.5-7B"}};
  std::vector<double> errors;
  for (const Row& row : read_csv(path)) {
    CAPTURE(row.at("id"));
    MemoryInputs inputs = test::h100();
    inputs.max_num_batched_tokens = std::stoi(row.at("max_batched_tokens"));
    inputs.max_num_seqs = std::stoi(row.at("max_num_seqs"));
    inputs.max_model_len = std::stoi(row.at("max_model_len"));
    inputs.rules.utilization = std::stod(row.at("mem_fraction"));
    const ModelSpec model = shipped(ids.at(row.at("model")));
    const MemoryPlan plan = plan_memory(model, {.tp = std::stoi(row.at("tp"))}, inputs);
    const double error =
        std::abs(static_cast<double>(plan.num_kv_tokens) / std::stod(row.at("kv_tokens")) - 1);
    CHECK(error < 0.01);
    errors.push_back(error);
  }
  REQUIRE(errors.size() == 8);
  CHECK(median(errors) < 0.005);
}

TEST_CASE("weights per GPU and KV bytes of logged vLLM start-ups") {
  const std::filesystem::path path = memory_folder() / "startup_logs.csv";
  if (!std::filesystem::exists(path)) {
    MESSAGE("skipped: no shared data");
    return;
  }
  std::vector<double> weight_errors;
  std::vector<double> kv_errors;
  for (const Row& row : read_csv(path)) {
    const auto log = std::find_if(std::begin(kLogs), std::end(kLogs),
                                  [&row](const Log& l) { return l.id == row.at("id"); });
    if (log == std::end(kLogs)) continue;
    CAPTURE(log->id);
    ModelSpec model = shipped(log->model);
    apply_precision(model, log->precision);
    const MemoryPlan plan = plan_memory(model, log->parallel, inputs_of(*log));
    REQUIRE_FALSE(plan.gpus.empty());
    if (!row.at("weights_per_gpu").empty()) {
      const double error =
          std::abs(in_gib(plan.gpus[0].weights.total()) / std::stod(row.at("weights_per_gpu")) - 1);
      CHECK(error < 0.03);
      weight_errors.push_back(error);
    }
    if (row.at("kv_per_gpu").empty()) continue;
    const double kv = std::stod(row.at("kv_per_gpu"));
    if (kv < 0) {
      CHECK_FALSE(plan.feasible);  // the start that failed
    } else {
      kv_errors.push_back(std::abs(in_gib(plan.gpus[0].kv_cache) / kv - 1));
      CHECK(kv_errors.back() < 0.25);  // B rows: the number of sequences is not stated
    }
  }
  REQUIRE(weight_errors.size() >= 4);
  CHECK(median(weight_errors) < 0.02);
  CHECK(kv_errors.size() == 2);
}

TEST_CASE("Llama-3.1-405B in fp8 as published keeps its attention in bf16") {
  ModelSpec model = shipped("Llama-3.1-405B");
  model.precisions.dense_ffn = NumberFormat::kFp8;
  const double weights = in_gib(weight_bytes(test::shard_of(model, {.tp = 8})).total());
  CHECK(weights == doctest::Approx(57.752).epsilon(0.03));  // vLLM pull request 6746
}
