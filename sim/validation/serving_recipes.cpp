#include "sim/validation/serving_recipes.h"

#include <array>
#include <fmt/ranges.h>
#include <string_view>

#include "sim/validation/serving_load.h"

namespace moesim {
namespace {

enum class Harness {
  kOther,
  kInferenceMax,  ///< InferenceMAX, InferenceX and runs of their scripts
  kTrtllmBench,   ///< NVIDIA's TensorRT-LLM performance pages
};

Harness harness_of(const ServingRow& row) {
  if (draws_below_nominal(row)) return Harness::kInferenceMax;
  if (row.source.starts_with("trtllm")) return Harness::kTrtllmBench;
  return Harness::kOther;
}

/// One setting of a published recipe. `{c}` in a value is the concurrency.
struct Setting {
  Harness harness;
  std::string_view backend;
  std::string_view model;  ///< part of the id; "" for all
  std::string_view key;    ///< of the scenario; "kv" for the KV format
  std::string_view value;
};

// Sources. InferenceMAX: the launch scripts of SemiAnalysis InferenceMAX (2025-11) and InferenceX
// (2026), read for gpt-oss on vLLM, DeepSeek-R1 on SGLang with H200, and both on TensorRT-LLM; the
// other models of the same harness are taken to be launched alike. "To 2048" of CUDA graphs is
// vLLM's own list up to there. Where a later row matches, too, it wins.
constexpr std::array kSettings = {
    Setting{Harness::kInferenceMax, "vllm", "", "engine.gpu_memory_utilization", "0.9"},
    Setting{Harness::kInferenceMax, "vllm", "", "engine.max_num_seqs", "{c}"},
    Setting{Harness::kInferenceMax, "vllm", "", "engine.max_num_batched_tokens", "8192"},
    Setting{Harness::kInferenceMax, "vllm", "", "engine.max_model_len", "10240"},
    Setting{Harness::kInferenceMax, "vllm", "gpt-oss", "engine.async_scheduling", "true"},
    Setting{Harness::kInferenceMax, "vllm", "gpt-oss", "graphs to", "2048"},
    Setting{Harness::kInferenceMax, "sglang", "", "engine.mem_fraction_static", "0.82"},
    Setting{Harness::kInferenceMax, "sglang", "", "engine.chunked_prefill_size", "32768"},
    Setting{Harness::kInferenceMax, "sglang", "", "engine.max_running_requests", "512"},
    Setting{Harness::kInferenceMax, "sglang", "", "engine.disable_radix_cache", "true"},
    Setting{Harness::kInferenceMax, "trtllm", "", "kv", "fp8"},
    Setting{Harness::kInferenceMax, "trtllm", "DeepSeek", "engine.free_gpu_memory_fraction",
            "0.75"},
    Setting{Harness::kInferenceMax, "trtllm", "gpt-oss", "engine.free_gpu_memory_fraction", "0.85"},
};

/// Models whose scripts were read; see above.
bool scripts_were_read(const std::string& backend, const std::string& model) {
  const bool gpt_oss = model.find("gpt-oss") != std::string::npos;
  const bool deepseek = model.find("DeepSeek") != std::string::npos;
  if (backend == "vllm") return gpt_oss;
  if (backend == "sglang") return deepseek;
  return gpt_oss || deepseek;
}

/// vLLM's default list, carried on: 1, 2, 4, 8 to 248 by 8, then by 16 (serving-semantics 1.8).
std::vector<int> capture_sizes(int largest) {
  constexpr int kFineUntil = 256;
  std::vector<int> sizes = {1, 2, 4};
  for (int size = 8; size <= largest; size += size < kFineUntil ? 8 : 16) sizes.push_back(size);
  return sizes;
}

}  // namespace

std::string apply_recipe(const ServingRow& row, const std::string& backend,
                         const std::string& model, int concurrency, ScenarioKeys& keys,
                         std::vector<std::string>& assumed) {
  const Harness harness = harness_of(row);
  std::string kv;
  for (const Setting& setting : kSettings) {
    if (setting.harness != harness || setting.backend != backend) continue;
    if (model.find(setting.model) == std::string::npos) continue;
    if (setting.key == "kv") {
      kv = setting.value;
    } else if (setting.value == "{c}") {
      if (concurrency > 0) keys.set(std::string(setting.key), concurrency);
    } else if (setting.key == "graphs to") {
      const std::vector<int> sizes = capture_sizes(std::atoi(setting.value.data()));
      keys.set("engine.cudagraph_capture_sizes", fmt::format("[{}]", fmt::join(sizes, ", ")));
    } else {
      keys.set(std::string(setting.key), std::string(setting.value));
    }
  }
  if (harness == Harness::kInferenceMax && !scripts_were_read(backend, model))
    assumed.emplace_back("launched as the harness's other models");
  if (harness == Harness::kTrtllmBench && !row.max_batch)
    assumed.emplace_back("default batch limits, tuned ones not published");
  return kv;
}

}  // namespace moesim
