#include "sim/cli/flags.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fmt/format.h>
#include <optional>
#include <sstream>
#include <utility>

#include "sim/base/reader.h"
#include "sim/cli/args.h"
#include "sim/report/json_text.h"

namespace moesim {
namespace {

using Kind = Flag::Kind;

constexpr std::array kEngineFlags{
    Flag{"model", Kind::kText, "model", "shipped id, config.json or its folder"},
    Flag{"model-path", Kind::kText, "model", "same as --model"},
    Flag{"tensor-parallel-size", Kind::kNumber, "deployment.instances.0.tensor_parallel_size",
         "GPUs that share every layer (-tp)"},
    Flag{"pipeline-parallel-size", Kind::kNumber, "deployment.instances.0.pipeline_parallel_size",
         "stages of layers (-pp)"},
    Flag{"data-parallel-size", Kind::kNumber, "deployment.instances.0.data_parallel_size",
         "attention replicas (-dp)"},
    Flag{"enable-expert-parallel", Kind::kToggle, "engine.enable_expert_parallel",
         "whole experts per GPU"},
    Flag{"moe-tensor-parallel-size", Kind::kNumber,
         "deployment.instances.0.moe_tensor_parallel_size", "TensorRT-LLM style"},
    Flag{"moe-expert-parallel-size", Kind::kNumber,
         "deployment.instances.0.moe_expert_parallel_size", "TensorRT-LLM style"},
    Flag{"expert-placement-strategy", Kind::kSpecial, "", "linear, round_robin or file:PATH"},
    Flag{"enable-eplb", Kind::kToggle, "engine.enable_eplb", "expert load balancer"},
    Flag{"eplb-config", Kind::kYaml, "engine.eplb_config", "its settings"},
    Flag{"all2all-backend", Kind::kText, "engine.all2all_backend", "dispatch and combine"},
    Flag{"enable-dbo", Kind::kToggle, "engine.enable_dbo", "dual-batch overlap"},
    Flag{"dbo-decode-token-threshold", Kind::kNumber, "engine.dbo_decode_token_threshold",
         "least tokens for two micro-batches"},
    Flag{"dbo-prefill-token-threshold", Kind::kNumber, "engine.dbo_prefill_token_threshold",
         "least tokens for two micro-batches"},
    Flag{"decode-context-parallel-size", Kind::kNumber, "engine.decode_context_parallel_size",
         "KV of a sequence over GPUs"},
    Flag{"prefill-context-parallel-size", Kind::kNumber, "engine.prefill_context_parallel_size",
         "a prompt over GPUs"},
    Flag{"max-num-seqs", Kind::kNumber, "engine.max_num_seqs", "most sequences in a step"},
    Flag{"max-num-batched-tokens", Kind::kNumber, "engine.max_num_batched_tokens",
         "most tokens in a step"},
    Flag{"max-model-len", Kind::kNumber, "engine.max_model_len", "longest prompt plus output"},
    Flag{"block-size", Kind::kNumber, "engine.block_size", "tokens per KV block"},
    Flag{"enable-chunked-prefill", Kind::kToggle, "engine.enable_chunked_prefill",
         "prompts in parts, beside decodes"},
    Flag{"long-prefill-token-threshold", Kind::kNumber, "engine.long_prefill_token_threshold",
         "most tokens of a prompt in a step; 0 = no cap"},
    Flag{"enable-prefix-caching", Kind::kToggle, "engine.enable_prefix_caching",
         "reuse KV of equal prefixes"},
    Flag{"gpu-memory-utilization", Kind::kNumber, "engine.gpu_memory_utilization",
         "share of a GPU the engine may use"},
    Flag{"num-gpu-blocks-override", Kind::kNumber, "engine.num_gpu_blocks_override",
         "KV blocks, whatever the memory"},
    Flag{"kv-cache-dtype", Kind::kText, "engine.kv_cache_dtype", "auto, bf16, fp8 ..."},
    Flag{"dtype", Kind::kText, "engine.dtype", "bfloat16, float16"},
    Flag{"quantization", Kind::kText, "engine.quantization", "weights: fp8, awq, gptq ..."},
    Flag{"cpu-offload-gb", Kind::kNumber, "engine.cpu_offload_gb", "weights in host memory"},
    Flag{"kv-offloading-size", Kind::kNumber, "engine.kv_offloading_size",
         "KV in host memory, GiB"},
    Flag{"enforce-eager", Kind::kToggle, "engine.enforce_eager", "no CUDA graphs"},
    Flag{"cudagraph-capture-sizes", Kind::kList, "engine.cudagraph_capture_sizes",
         "batch sizes with CUDA graphs"},
    Flag{"async-scheduling", Kind::kToggle, "engine.async_scheduling",
         "schedule while the GPU runs"},
    Flag{"speculative-config", Kind::kYaml, "engine.speculative_config", "draft tokens"},
    Flag{"scheduling-policy", Kind::kText, "engine.scheduling_policy", "fcfs or priority"},
    Flag{"enable-lora", Kind::kSpecial, "", "room for adapters (memory only)"},
    Flag{"max-loras", Kind::kSpecial, "", "adapters; needs --enable-lora"},
    Flag{"max-lora-rank", Kind::kSpecial, "", "needs --enable-lora"},
};

constexpr std::array kLoadFlags{
    Flag{"request-rate", Kind::kSpecial, "", "requests per second; inf = all at once"},
    Flag{"burstiness", Kind::kSpecial, "", "shape of a gamma process; 1 = Poisson"},
    Flag{"max-concurrency", Kind::kNumber, "workload.arrival.max_concurrency",
         "most requests in flight"},
    Flag{"num-prompts", Kind::kNumber, "workload.synthetic.num_prompts", "requests in all"},
    Flag{"random-input-len", Kind::kSpecial, "", "prompt tokens"},
    Flag{"random-output-len", Kind::kSpecial, "", "output tokens"},
    Flag{"random-range-ratio", Kind::kSpecial, "", "lengths uniform in len * (1 -+ ratio)"},
    Flag{"dataset-path", Kind::kText, "workload.trace", "a request trace"},
    Flag{"goodput", Kind::kList, "", "ttft:MS tpot:MS e2el:MS"},
};

/// The given flags and what they set.
class Collector {
 public:
  explicit Collector(const FlagValues& values) : values_(values) {}

  [[nodiscard]] const std::string* find(const char* name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? nullptr : &found->second;
  }
  void set(const char* flag, const std::string& path, const std::string& value) {
    overrides_.push_back({path, value, fmt::format("--{}", flag)});
  }
  [[nodiscard]] double number(const char* flag, const std::string& text) const {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || std::isnan(value))
      throw UsageError(fmt::format("--{}: '{}' is not a number", flag, text));
    return value;
  }
  [[nodiscard]] std::vector<Override> take() { return std::move(overrides_); }

 private:
  const FlagValues& values_;
  std::vector<Override> overrides_;
};

std::vector<std::string> words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> result;
  for (std::string word; in >> word;) result.push_back(word);
  return result;
}

void set_plain(const Flag& flag, const std::string& value, Collector& out) {
  switch (flag.kind) {
    case Kind::kNumber:
      static_cast<void>(out.number(flag.name, value));
      out.set(flag.name, flag.path, value);
      break;
    case Kind::kText:
      out.set(flag.name, flag.path, json_quote(value));
      break;
    case Kind::kYaml:
    case Kind::kSwitch:
    case Kind::kToggle:
      out.set(flag.name, flag.path, value);
      break;
    case Kind::kList: {
      std::string list;
      for (const std::string& word : words(value)) {
        static_cast<void>(out.number(flag.name, word));
        list += (list.empty() ? "" : ", ") + word;
      }
      out.set(flag.name, flag.path, "[" + list + "]");
      break;
    }
    case Kind::kSpecial:
      break;
  }
}

/// vLLM places experts by name; files are ours.
void set_placement(Collector& out) {
  constexpr const char* kName = "expert-placement-strategy";
  const std::string* value = out.find(kName);
  if (value == nullptr) return;
  const bool file = value->starts_with("file:");
  out.set(kName, "placement",
          file ? fmt::format("{{file: {}}}", json_quote(value->substr(5))) : json_quote(*value));
}

void set_lora(Collector& out) {
  const std::string* count = out.find("max-loras");
  const std::string* rank = out.find("max-lora-rank");
  if (out.find("enable-lora") == nullptr) {
    if (count != nullptr) throw UsageError("--max-loras has no effect without --enable-lora");
    if (rank != nullptr) throw UsageError("--max-lora-rank has no effect without --enable-lora");
    return;
  }
  out.set("enable-lora", "lora.adapters", count != nullptr ? *count : "1");
  if (rank != nullptr) out.set("max-lora-rank", "lora.rank", *rank);
}

/// An infinite rate is a kind of its own, and so is burstiness other than 1.
void set_arrival(Collector& out) {
  const std::string* rate = out.find("request-rate");
  const std::string* burstiness = out.find("burstiness");
  const bool bursty = burstiness != nullptr && out.number("burstiness", *burstiness) != 1;
  if (rate != nullptr && std::isinf(out.number("request-rate", *rate))) {
    if (bursty) throw UsageError("--burstiness has no effect with --request-rate inf");
    out.set("request-rate", "workload.arrival", "{kind: all_at_once}");
    return;
  }
  if (bursty) {
    out.set("burstiness", "workload.arrival.kind", "gamma");
    out.set("burstiness", "workload.arrival.burstiness", *burstiness);
  }
  if (rate != nullptr) out.set("request-rate", "workload.arrival.request_rate", *rate);
}

/// vLLM's random dataset: uniform between floor(len * (1 - ratio)) and ceil(len * (1 + ratio)).
void set_lengths(Collector& out) {
  const std::string* ratio_text = out.find("random-range-ratio");
  const double ratio = ratio_text != nullptr ? out.number("random-range-ratio", *ratio_text) : 0;
  if (ratio < 0 || ratio >= 1) throw UsageError("--random-range-ratio: must lie in [0, 1)");
  const std::array<std::pair<const char*, const char*>, 2> lengths{
      {{"random-input-len", "workload.synthetic.input_tokens"},
       {"random-output-len", "workload.synthetic.output_tokens"}}};
  bool any = false;
  for (const auto& [flag, path] : lengths) {
    const std::string* text = out.find(flag);
    if (text == nullptr) continue;
    any = true;
    const double length = out.number(flag, *text);
    out.set(flag, path,
            ratio > 0
                ? fmt::format("{{uniform: [{:.0f}, {:.0f}]}}", std::floor(length * (1 - ratio)),
                              std::ceil(length * (1 + ratio)))
                : *text);
  }
  if (ratio > 0 && !any) {
    throw UsageError(
        "--random-range-ratio has no effect without --random-input-len or --random-output-len");
  }
}

void set_goodput(Collector& out) {
  const std::string* targets = out.find("goodput");
  if (targets == nullptr) return;
  for (const std::string& target : words(*targets)) {
    const std::size_t colon = target.find(':');
    const std::string name = target.substr(0, colon);
    if (colon == std::string::npos || (name != "ttft" && name != "tpot" && name != "e2el")) {
      throw UsageError(fmt::format("--goodput: '{}' is not ttft:MS, tpot:MS or e2el:MS", target));
    }
    const std::string value = target.substr(colon + 1);
    static_cast<void>(out.number("goodput", value));
    out.set("goodput", fmt::format("slo.{}_ms", name), value);
  }
}

/// `workload.trace=FILE` is short for this.
std::string full_path(const Override& change) {
  const bool file = change.path == "workload.trace" && !change.value.starts_with('{');
  return file ? change.path + ".path" : change.path;
}

/// Whether the value of `outer` has something at the path of `inner`.
bool holds(const Override& outer, const Override& inner) {
  if (!inner.path.starts_with(outer.path + ".")) return false;
  try {
    Document value = Document::parse("{}", "");
    value.set("at", outer.value, {});
    return value.get("at" + inner.path.substr(outer.path.size())).has_value();
  } catch (const InputError&) {
    return false;  // reported when it is applied
  }
}

bool overrides(const Override& later, const Override& earlier) {
  return full_path(later) == full_path(earlier) || earlier.path.starts_with(later.path + ".") ||
         holds(earlier, later);
}

}  // namespace

std::span<const Flag> engine_flags() {
  return kEngineFlags;
}
std::span<const Flag> load_flags() {
  return kLoadFlags;
}

std::vector<Override> flag_overrides(const FlagValues& values) {
  Collector out(values);
  set_arrival(out);
  for (const std::span<const Flag> flags : {engine_flags(), load_flags()}) {
    for (const Flag& flag : flags) {
      const std::string* value = out.find(flag.name);
      if (value != nullptr && *flag.path != '\0') set_plain(flag, *value, out);
    }
  }
  set_placement(out);
  set_lora(out);
  set_lengths(out);
  set_goodput(out);
  return out.take();
}

void reject_overridden(const std::vector<Override>& changes) {
  for (std::size_t later = 1; later < changes.size(); ++later) {
    for (std::size_t i = 0; i < later; ++i) {
      const Override &first = changes[i], &second = changes[later];
      if (!overrides(second, first)) continue;
      const std::string what =
          first.path == second.path ? "" : fmt::format(" (as {})", second.path);
      throw UsageError(first.origin == second.origin
                           ? fmt::format("{} sets {} twice{}; leave one of the two out",
                                         first.origin, first.path, what)
                           : fmt::format("{} sets {}, and so does {}{}; leave one of the two out",
                                         first.origin, first.path, second.origin, what));
    }
  }
}

}  // namespace moesim
