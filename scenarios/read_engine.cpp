#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "scenarios/load_parts.h"

namespace moesim {
namespace {

/// vLLM on CUDA takes these (vllm/config/cache.py, V26); others are refused at start-up.
const std::vector<std::string> kBlockSizes = {"1", "8", "16", "32", "64", "128", "256"};

Given<int> read_count(Reader& in, const std::string& key, Range range) {
  Given<int> result{.value = {}, .key = in.path(key), .where = in.where(key)};
  if (const auto value = in.optional_integer(key, range)) result.value = static_cast<int>(*value);
  return result;
}

Given<bool> read_switch(Reader& in, const std::string& key) {
  Given<bool> result{.value = {}, .key = in.path(key), .where = in.where(key)};
  if (in.has(key)) result.value = in.boolean_or(key, false);
  return result;
}

Given<std::string> read_name(Reader& in, const std::string& key,
                             const std::vector<std::string>& allowed) {
  Given<std::string> result{.value = {}, .key = in.path(key), .where = in.where(key)};
  if (!in.has(key)) return result;
  const std::string name = allowed.empty() ? in.text_or(key, "") : in.choice_or(key, allowed, "");
  if (!name.empty()) result.value = name;
  return result;
}

Given<std::string> read_backend(Reader& in) {
  // Backends of the plan that have no scheduler yet.
  const std::vector<std::string> later = {"sglang", "trtllm"};
  std::vector<std::string> all = known_backends();
  all.insert(all.end(), later.begin(), later.end());
  Given<std::string> backend = read_name(in, "backend", all);
  if (backend && std::ranges::find(later, *backend.value) != later.end()) {
    in.fail("backend", fmt::format("'{}' is not modelled yet", *backend.value),
            "use vllm or static_batch");
    backend.value.reset();
  }
  return backend;
}

/// A release may be written as text or as a number; 0.10 and 0.1 differ, and the file's own digits
/// count.
Given<std::string> read_version(Reader& in) {
  const std::string key = "backend_version";
  Given<std::string> version{.value = {}, .key = in.path(key), .where = in.where(key)};
  if (!in.has(key)) return version;
  const std::string text = in.is_number(key) ? in.raw(key) : in.text_or(key, "");
  if (text.empty()) return version;
  if (is_version(text)) {
    version.value = text;
  } else {
    in.fail(key, fmt::format("'{}' is not a release", text), "write it like \"0.19\"");
  }
  return version;
}

Given<int> read_block_size(Reader& in) {
  const std::string key = "block_size";
  Given<int> result{.value = {}, .key = in.path(key), .where = in.where(key)};
  if (!in.has(key)) return result;
  const std::string size = in.choice_or(key, kBlockSizes, "");
  if (!size.empty()) result.value = std::stoi(size);
  return result;
}

Given<std::vector<int>> read_capture_sizes(Reader& in) {
  const std::string key = "cudagraph_capture_sizes";
  Given<std::vector<int>> result{.value = {}, .key = in.path(key), .where = in.where(key)};
  if (!in.has(key)) return result;
  std::vector<int> sizes;
  for (const double size : in.numbers_or(key, {}, {.min = 1, .max = 1e6})) {
    if (size != std::floor(size)) {
      in.fail(key, fmt::format("{:g} is not a whole number of tokens", size),
              "write whole numbers");
      return result;
    }
    sizes.push_back(static_cast<int>(size));
  }
  if (sizes.empty()) {
    in.fail(key, "the list is empty",
            "list at least one size; enforce_eager: true turns graphs off");
    return result;
  }
  std::ranges::sort(sizes);
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  result.value = sizes;
  return result;
}

/// Flags of vLLM that we know and do not model: accepted at the value that means off, else a
/// mistake.
struct LaterFlag {
  const char* key;
  const char* off;
  const char* hint;
};
constexpr LaterFlag kLaterFlags[] = {
    {"enable_expert_parallel", "false", "leave it off: experts are cut over tensor_parallel_size"},
    {"enable_dbo", "false", "leave it off"},
    {"dbo_decode_token_threshold", "32", "leave it out"},
    {"dbo_prefill_token_threshold", "512", "leave it out"},
    {"enable_eplb", "false", "leave it off; experts stay where they are"},
    {"eplb_config", "null", "leave it out"},
    {"expert_placement_strategy", "linear", "leave it out: experts are placed linearly"},
    {"speculative_config", "null", "leave it out: one token a step"},
    {"cpu_offload_gb", "0", "leave it out: weights stay on the GPU"},
    {"kv_offloading_size", "0", "leave it out: the KV cache stays on the GPU"},
    {"decode_context_parallel_size", "1", "leave it out"},
    {"prefill_context_parallel_size", "1", "leave it out"},
};

void reject_later_flags(Reader& in) {
  for (const LaterFlag& flag : kLaterFlags) {
    if (!in.has(flag.key)) continue;
    const std::string value = in.raw(flag.key);
    if (value == flag.off) continue;
    in.fail(flag.key, fmt::format("{} is not modelled yet", value), flag.hint);
  }
}

/// Keys people look for here that live elsewhere.
void point_elsewhere(Reader& in) {
  struct Moved {
    const char* key;
    const char* to;
  };
  constexpr Moved kMoved[] = {
      {"tensor_parallel_size", "deployment.instances[]"},
      {"pipeline_parallel_size", "deployment.instances[]"},
      {"data_parallel_size", "deployment.instances[]"},
      {"moe_tensor_parallel_size", "deployment.instances[]"},
      {"moe_expert_parallel_size", "deployment.instances[]"},
      {"model", "the top level"},
      {"seed", "the top level"},
      {"request_rate", "workload.arrival"},
      {"max_concurrency", "workload.arrival"},
      {"enable_lora", "lora: {adapters: N}"},
      {"max_loras", "lora: {adapters: N}"},
      {"max_lora_rank", "lora: {rank: N}"},
  };
  for (const Moved& moved : kMoved) {
    if (in.has(moved.key))
      in.fail(moved.key, "is not a key of engine", fmt::format("write it in {}", moved.to));
  }
}

template <class T>
Given<T> first_of(const Given<T>& entry, const Given<T>& engine) {
  return entry ? entry : engine;
}

}  // namespace

EngineKeys read_engine(Reader in, LoadContext& /*context*/) {
  constexpr Range kTokens{.min = 1, .max = 1e8};
  EngineKeys keys;
  keys.backend = read_backend(in);
  keys.backend_version = read_version(in);
  keys.max_model_len = read_count(in, "max_model_len", kTokens);
  keys.max_num_seqs = read_count(in, "max_num_seqs", {.min = 1, .max = 1e6});
  keys.max_num_batched_tokens = read_count(in, "max_num_batched_tokens", kTokens);
  keys.gpu_memory_utilization = {
      .value = in.optional_number("gpu_memory_utilization", {.min = 0.01, .max = 1}),
      .key = in.path("gpu_memory_utilization"),
      .where = in.where("gpu_memory_utilization")};
  keys.block_size = read_block_size(in);
  keys.enable_prefix_caching = read_switch(in, "enable_prefix_caching");
  keys.enable_chunked_prefill = read_switch(in, "enable_chunked_prefill");
  keys.long_prefill_token_threshold =
      read_count(in, "long_prefill_token_threshold", {.min = 0, .max = kTokens.max});
  keys.enforce_eager = read_switch(in, "enforce_eager");
  keys.async_scheduling = read_switch(in, "async_scheduling");
  keys.scheduling_policy = read_name(in, "scheduling_policy", {"fcfs", "priority"});
  keys.all2all_backend = read_name(in, "all2all_backend", {});
  keys.cudagraph_capture_sizes = read_capture_sizes(in);
  keys.num_gpu_blocks_override = {
      .value = in.optional_integer("num_gpu_blocks_override", {.min = 2, .max = 1e10}),
      .key = in.path("num_gpu_blocks_override"),
      .where = in.where("num_gpu_blocks_override")};
  keys.dtype = read_name(in, "dtype", {});
  keys.quantization = read_name(in, "quantization", {});
  keys.kv_cache_dtype = read_name(in, "kv_cache_dtype", {});
  reject_later_flags(in);
  point_elsewhere(in);
  in.reject_unknown_keys();
  return keys;
}

EngineKeys merged(const EngineKeys& engine, const EngineKeys& entry) {
  EngineKeys keys;
  keys.backend = first_of(entry.backend, engine.backend);
  // A release belongs to its backend: an entry that names another backend does not inherit it.
  keys.backend_version = entry.backend && !entry.backend_version
                             ? entry.backend_version
                             : first_of(entry.backend_version, engine.backend_version);
  keys.max_model_len = first_of(entry.max_model_len, engine.max_model_len);
  keys.max_num_seqs = first_of(entry.max_num_seqs, engine.max_num_seqs);
  keys.max_num_batched_tokens =
      first_of(entry.max_num_batched_tokens, engine.max_num_batched_tokens);
  keys.block_size = first_of(entry.block_size, engine.block_size);
  keys.gpu_memory_utilization =
      first_of(entry.gpu_memory_utilization, engine.gpu_memory_utilization);
  keys.enable_prefix_caching = first_of(entry.enable_prefix_caching, engine.enable_prefix_caching);
  keys.enable_chunked_prefill =
      first_of(entry.enable_chunked_prefill, engine.enable_chunked_prefill);
  keys.enforce_eager = first_of(entry.enforce_eager, engine.enforce_eager);
  keys.async_scheduling = first_of(entry.async_scheduling, engine.async_scheduling);
  keys.long_prefill_token_threshold =
      first_of(entry.long_prefill_token_threshold, engine.long_prefill_token_threshold);
  keys.scheduling_policy = first_of(entry.scheduling_policy, engine.scheduling_policy);
  keys.all2all_backend = first_of(entry.all2all_backend, engine.all2all_backend);
  keys.cudagraph_capture_sizes =
      first_of(entry.cudagraph_capture_sizes, engine.cudagraph_capture_sizes);
  keys.num_gpu_blocks_override =
      first_of(entry.num_gpu_blocks_override, engine.num_gpu_blocks_override);
  return keys;
}

}  // namespace moesim
