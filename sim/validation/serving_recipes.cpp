#include "sim/validation/serving_recipes.h"

#include <algorithm>
#include <array>
#include <fmt/ranges.h>
#include <optional>
#include <string_view>
#include <utility>

#include "scenarios/engine_profile.h"
#include "scenarios/other_defaults.h"
#include "sim/validation/published_formats.h"
#include "sim/validation/published_names.h"
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

/// One setting of a published recipe, for the rows that match all of its words (parts of the
/// shipped names of model and card, and of the weight format in a scenario; "" matches all). In a
/// value, `{c}` is the concurrency and `{2i}` twice the nominal prompt.
struct Setting {
  Harness harness;
  std::string_view backend, model, gpu, dtype;
  std::string_view key;  ///< of the scenario; "kv" for the KV format
  std::string_view value;
  std::string_view since = "";  ///< first numbered release it was launched with
};

/// What settings are matched with: the row in our names, however it spells them.
struct Launch {
  const std::string &backend, &model, &system;
  std::string dtype;              ///< as scenarios call it; empty if not stated
  std::optional<Release> stated;  ///< nothing for builds and where none is stated
  int concurrency;

  [[nodiscard]] bool is_model(std::string_view name) const {
    return model.find(name) != std::string::npos;
  }
};

constexpr Harness kMax = Harness::kInferenceMax, kBench = Harness::kTrtllmBench;

// Sources. InferenceMAX: the launch scripts of SemiAnalysis InferenceMAX and InferenceX, 2025-10 to
// 2026-05 (benchmarks/*.sh), read for the models named here; others of the harness are taken to be
// launched alike. Kimi-K2.5 in NVFP4 names fp8 for KV in its checkpoint (U); with 16 bits a third
// of 64 long requests would queue, and none does. Llama-3 on H100 names fp8, too, but had 16 bits
// when it was measured (U): with 8 none of 64 long requests on two GPUs would have waited a minute.
// gpt-oss on Hopper names Marlin from 2026 on; releases to 0.11.0 took it by themselves. "To 2048"
// of CUDA graphs is vLLM's own list up to there. TensorRT-LLM's pages: the options of their
// benchmark recipes. Where a later row matches, too, it wins.
// clang-format off
constexpr std::array kSettings = {
    Setting{kMax, "vllm", "", "", "", "engine.gpu_memory_utilization", "0.9"},
    Setting{kMax, "vllm", "", "", "", "engine.max_num_seqs", "{c}"},
    Setting{kMax, "vllm", "", "", "", "engine.max_num_batched_tokens", "8192"},
    Setting{kMax, "vllm", "", "", "", "engine.max_model_len", "10240"},
    Setting{kMax, "vllm", "gpt-oss", "", "", "engine.async_scheduling", "true"},
    Setting{kMax, "vllm", "gpt-oss", "", "", "graphs to", "2048"},
    Setting{kMax, "vllm", "gpt-oss", "b200", "", "engine.max_num_seqs", "512"},
    Setting{kMax, "vllm", "gpt-oss", "b200", "", "kv", "fp8"},
    Setting{kMax, "vllm", "gpt-oss", "h", "", "engine.moe_backend", "marlin"},
    Setting{kMax, "vllm", "Llama-3", "200", "", "kv", "fp8"},
    Setting{kMax, "vllm", "Llama-3", "", "", "engine.async_scheduling", "true"},
    Setting{kMax, "vllm", "Llama-3", "", "", "engine.enable_prefix_caching", "false"},
    Setting{kMax, "vllm", "Llama-3", "b200", "", "engine.max_num_seqs", "512"},
    Setting{kMax, "vllm", "Llama-3", "b200", "", "engine.cudagraph_mode", "FULL_DECODE_ONLY"},
    Setting{kMax, "vllm", "MiniMax", "b200", "fp8", "engine.gpu_memory_utilization", "0.95"},
    Setting{kMax, "vllm", "MiniMax", "b200", "fp8", "engine.max_num_seqs", "1024"},
    Setting{kMax, "vllm", "MiniMax", "b200", "fp8", "engine.block_size", "32"},
    Setting{kMax, "vllm", "MiniMax", "b200", "fp8", "engine.moe_backend", "triton"},
    Setting{kMax, "vllm", "MiniMax", "b200", "fp8", "engine.gpu_memory_utilization", "0.9", "0.19"},
    Setting{kMax, "vllm", "MiniMax", "b200", "fp8", "engine.moe_backend", "auto", "0.19"},
    Setting{kMax, "vllm", "MiniMax", "b200", "", "engine.max_num_batched_tokens", "{2i}", "0.19"},
    Setting{kMax, "vllm", "MiniMax", "b200", "", "graphs to", "2048", "0.19"},
    Setting{kMax, "vllm", "MiniMax", "b200", "", "kv", "fp8", "0.19"},
    Setting{kMax, "vllm", "MiniMax", "h100", "", "engine.max_num_seqs", "256"},
    Setting{kMax, "vllm", "MiniMax", "h100", "", "engine.cudagraph_mode", "PIECEWISE"},
    Setting{kMax, "vllm", "Kimi", "b200", "nvfp4", "kv", "fp8"},
    Setting{kMax, "vllm", "Kimi", "", "int4", "engine.gpu_memory_utilization", "0.97"},
    Setting{kMax, "vllm", "Kimi", "", "int4", "engine.max_num_seqs", "1024"},
    Setting{kMax, "sglang", "", "", "", "engine.mem_fraction_static", "0.82"},
    Setting{kMax, "sglang", "", "", "", "engine.chunked_prefill_size", "32768"},
    Setting{kMax, "sglang", "", "", "", "engine.max_prefill_tokens", "32768"},
    Setting{kMax, "sglang", "", "", "", "engine.max_running_requests", "512"},
    Setting{kMax, "sglang", "", "", "", "engine.disable_radix_cache", "true"},
    Setting{kMax, "sglang", "DeepSeek", "b200", "", "kv", "fp8"},
    Setting{kMax, "sglang", "DeepSeek", "b200", "nvfp4", "engine.mem_fraction_static", "0.85"},
    Setting{kMax, "sglang", "DeepSeek", "b200", "nvfp4", "engine.chunked_prefill_size", "16384"},
    Setting{kMax, "sglang", "DeepSeek", "b200", "nvfp4", "engine.max_prefill_tokens", "16384"},
    Setting{kMax, "sglang", "Qwen3.5", "b200", "", "engine.max_running_requests", "128"},
    Setting{kMax, "sglang", "Qwen3.5", "b200", "fp8", "kv", "fp8"},
    Setting{kMax, "sglang", "Qwen3.5", "b200", "nvfp4", "kv", "fp8"},
    Setting{kMax, "sglang", "Qwen3.5", "b200", "nvfp4", "engine.mem_fraction_static", "0.85"},
    Setting{kMax, "sglang", "DeepSeek", "b200", "fp8", "engine.moe_backend", "trtllm_gen"},
    Setting{kMax, "sglang", "Qwen3.5", "b200", "fp8", "engine.moe_backend", "trtllm_gen"},
    Setting{kMax, "sglang", "GLM-5", "h200", "", "engine.mem_fraction_static", "0.85"},
    Setting{kMax, "sglang", "GLM-5", "h200", "", "engine.chunked_prefill_size", "8192"},
    Setting{kMax, "sglang", "GLM-5", "h200", "", "engine.max_prefill_tokens", "16384"},
    Setting{kMax, "sglang", "GLM-5", "h200", "", "engine.disable_radix_cache", "false"},
    Setting{kMax, "trtllm", "", "", "", "kv", "fp8"},
    Setting{kMax, "trtllm", "", "", "", "engine.cuda_graph_padding", "true"},
    Setting{kMax, "trtllm", "", "", "", "padded graphs to", "512"},
    Setting{kMax, "trtllm", "Llama", "", "", "padded graphs to", "1024"},
    Setting{kMax, "trtllm", "DeepSeek", "", "", "engine.free_gpu_memory_fraction", "0.8"},
    Setting{kMax, "trtllm", "gpt-oss", "", "", "engine.free_gpu_memory_fraction", "0.85"},
    Setting{kMax, "trtllm", "gpt-oss", "", "", "engine.max_num_tokens", "20000"},
    Setting{kMax, "trtllm", "gpt-oss", "", "", "engine.max_batch_size", "512"},
};
// clang-format on

bool matches(const Setting& setting, const Launch& launch) {
  const bool released =
      setting.since.empty() || (launch.stated && *launch.stated >= *parse_release(setting.since));
  return released && launch.is_model(setting.model) &&
         launch.system.find(setting.gpu) != std::string::npos &&
         launch.dtype.find(setting.dtype) != std::string::npos;
}

/// Whether a harness launched a release at all: its scripts are of 2025-10 and later, and their
/// options of vLLM's V1 engine and of TensorRT-LLM's PyTorch flow. Older releases refuse some:
/// whole prompts of the V0 engine need room for the longest, TensorRT engines have no list of graph
/// sizes. `release` is "" for the newest.
bool is_launched(Harness harness, const std::string& backend, const std::string& release) {
  const std::optional<Release> own = parse_release(release);
  if (harness != kMax || !own) return true;
  if (backend == "vllm") return *own >= Release{0, 9, 0};
  return backend != "trtllm" || *own >= Release{1, 0, 0};
}

/// Models whose scripts were read; see above.
bool scripts_were_read(const Launch& launch) {
  const auto is = [&](std::string_view name) { return launch.is_model(name); };
  if (launch.backend == "vllm")
    return is("gpt-oss") || is("MiniMax") || is("Kimi") || is("Llama-3");
  if (launch.backend == "sglang") return is("DeepSeek") || is("Qwen3.5") || is("GLM-5");
  return is("gpt-oss") || is("DeepSeek") || is("Llama-3");
}

/// Launched by a script of its own, which polls rarely always.
bool is_qwen_nvfp4(const Launch& launch) {
  return launch.is_model("Qwen3.5") && launch.dtype == "nvfp4";
}

/// What the scripts compute from the concurrency and the lengths.
void apply_computed(const ServingRow& row, const Launch& launch, ScenarioKeys& keys) {
  const bool deepseek = launch.is_model("DeepSeek");
  const int concurrency = launch.concurrency;
  const int prompt = static_cast<int>(row.isl.value_or(0));
  const int output = static_cast<int>(row.osl.value_or(0));
  if (launch.backend == "sglang" && launch.system == "b200_sxm") {
    constexpr int kRelaxedFrom = 16, kQwenRequests = 128;
    const bool relaxed = concurrency >= kRelaxedFrom || is_qwen_nvfp4(launch);
    keys.set("engine.scheduler_recv_interval", relaxed ? 30 : 10);
    // Scripts of Qwen3.5 name 128, but points of 256 users run all of them.
    if (launch.is_model("Qwen3.5") && concurrency > kQwenRequests)
      keys.set("engine.max_running_requests", concurrency);
  }
  if (launch.backend != "trtllm") return;
  if (row.attention_dp.value_or(1) > 1)
    keys.set("engine.attention_dp_config",
             deepseek ? "{enable_balance: true, timeout_iters: 60, batching_wait_iters: 0}"
                      : "{enable_balance: true}");
  const bool short_both = prompt == 1024 && output == 1024;
  if (launch.is_model("Llama-3") && short_both && row.tp.value_or(1) < 8) {
    keys.set("engine.batch_wait_max_tokens_ratio", "0.9");
    keys.set("engine.batch_wait_timeout_iters", 20);
  }
  if (!deepseek) return;
  // Launched before the scripts of 2026-01, with release 1.1: room for one prompt beside the
  // decodes, and DeepGEMM throughout.
  const bool early = launch.stated
                         ? std::pair(launch.stated->major, launch.stated->minor) <= std::pair(1, 1)
                         : row.version.empty() && row.date < "2026-01-20";
  constexpr int kMargin = 64, kLeast = 8192, kLarge = 256;
  const int tokens = (concurrency + prompt + 2 * kMargin - 1) / kMargin * kMargin;
  keys.set("engine.max_num_tokens", early ? tokens : std::max(tokens, kLeast));
  // NVFP4: CUTLASS for large batches; the tables have an older one, half as fast as servers.
  if (!launch.dtype.starts_with("fp8")) return;
  const bool long_prompts = prompt > 1024;
  const bool large = !long_prompts && concurrency >= kLarge;
  keys.set("engine.moe_backend", early || large ? "deepgemm" : "trtllm_gen");
  if (!early && short_both && concurrency >= 64 && concurrency < kLarge) {
    keys.set("engine.batch_wait_max_tokens_ratio", "0.8");
    keys.set("engine.batch_wait_timeout_iters", 40);
  }
}

/// vLLM's default list, carried on: 1, 2, 4, 8 to 248 by 8, then by 16 (serving-semantics 1.8).
std::vector<int> capture_sizes(int largest) {
  constexpr int kFineUntil = 256;
  std::vector<int> sizes = {1, 2, 4};
  for (int size = 8; size <= largest; size += size < kFineUntil ? 8 : 16) sizes.push_back(size);
  return sizes;
}

std::string padded_sizes(int largest) {
  return fmt::format("[{}]", fmt::join(trtllm_graph_sizes(largest, true), ", "));
}

void apply(const Setting& setting, const ServingRow& row, int concurrency, ScenarioKeys& keys) {
  const std::string key(setting.key);
  if (setting.value == "{c}") {
    if (concurrency > 0) keys.set(key, concurrency);
  } else if (setting.value == "{2i}") {
    if (row.isl) keys.set(key, 2 * static_cast<int>(*row.isl));
  } else if (setting.key == "graphs to") {
    const std::vector<int> sizes = capture_sizes(std::atoi(setting.value.data()));
    keys.set("engine.cudagraph_capture_sizes", fmt::format("[{}]", fmt::join(sizes, ", ")));
  } else if (setting.key == "padded graphs to") {
    keys.set("engine.cuda_graph_batch_sizes", padded_sizes(std::atoi(setting.value.data())));
  } else {
    keys.set(key, std::string(setting.value));
  }
}

}  // namespace

std::string apply_recipe(const ServingRow& row, const RecipeTarget& target, ScenarioKeys& keys,
                         std::vector<std::string>& assumed) {
  const Harness harness = harness_of(row);
  const Launch launch{target.backend,
                      target.model,
                      target.system,
                      weight_format_of(target.weight_dtype),
                      stated_number(row.version),
                      target.concurrency};
  if (!is_launched(harness, target.backend, target.release)) {
    assumed.emplace_back("the engine's defaults: launch scripts are of later releases");
    return "";
  }
  std::string kv;
  for (const Setting& setting : kSettings) {
    if (setting.harness != harness || setting.backend != target.backend) continue;
    if (!matches(setting, launch)) continue;
    if (setting.key == "kv") {
      kv = setting.value;
    } else {
      apply(setting, row, target.concurrency, keys);
    }
  }
  if (harness == kMax) apply_computed(row, launch, keys);
  if (harness == kBench && launch.stated && *launch.stated >= Release{1, 0, 0}) {
    // Options of its recipes since the PyTorch flow: padded graphs for all batches, prompts in
    // chunks (trtllm-bench's default), nearly all free memory for KV.
    keys.set("engine.enable_chunked_prefill", true);
    keys.set("engine.free_gpu_memory_fraction", "0.95");
    keys.set("engine.cuda_graph_padding", true);
    keys.set("engine.cuda_graph_batch_sizes", padded_sizes(8192));
  }
  if (harness == kMax && !scripts_were_read(launch))
    assumed.emplace_back("launched as the harness's other models");
  if (harness == kBench && !row.max_batch)
    assumed.emplace_back("default batch limits, tuned ones not published");
  return kv;
}

}  // namespace moesim
