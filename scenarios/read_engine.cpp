#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <type_traits>

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

Given<double> read_ratio(Reader& in, const std::string& key, Range range) {
  return {.value = in.optional_number(key, range), .key = in.path(key), .where = in.where(key)};
}

Given<std::string> read_name(Reader& in, const std::string& key,
                             const std::vector<std::string>& allowed) {
  Given<std::string> result{.value = {}, .key = in.path(key), .where = in.where(key)};
  if (!in.has(key)) return result;
  const std::string name = allowed.empty() ? in.text_or(key, "") : in.choice_or(key, allowed, "");
  if (!name.empty()) result.value = name;
  return result;
}

/// Keys under the names of SGLang and TensorRT-LLM. Only the switches and numbers that mean the
/// same.
constexpr OwnName kOwnNames[] = {
    {"sglang", "context_length", "max_model_len"},
    {"sglang", "max_running_requests", "max_num_seqs"},
    {"sglang", "chunked_prefill_size", "max_num_batched_tokens"},
    {"sglang", "page_size", "block_size"},
    {"sglang", "mem_fraction_static", "gpu_memory_utilization"},
    {"sglang", "disable_radix_cache", "enable_prefix_caching", true},
    {"sglang", "disable_overlap_schedule", "async_scheduling", true},
    {"sglang", "disable_cuda_graph", "enforce_eager"},
    {"sglang", "cuda_graph_bs", "cudagraph_capture_sizes"},
    {"sglang", "enable_two_batch_overlap", "enable_dbo"},
    {"sglang", "disable_shared_experts_fusion", "fuse_shared_experts", true},
    {"trtllm", "max_seq_len", "max_model_len"},
    {"trtllm", "max_batch_size", "max_num_seqs"},
    {"trtllm", "max_num_tokens", "max_num_batched_tokens"},
    {"trtllm", "tokens_per_block", "block_size"},
    {"trtllm", "free_gpu_memory_fraction", "gpu_memory_utilization"},
    {"trtllm", "enable_block_reuse", "enable_prefix_caching"},
    {"trtllm", "disable_overlap_scheduler", "async_scheduling", true},
    {"trtllm", "cuda_graph_batch_sizes", "cudagraph_capture_sizes"},
};

/// Reads a key under vLLM's name or another engine's; both are a mistake.
template <class T, class Read>
Given<T> read_either(Reader& in, const std::string& ours, const Read& read) {
  Given<T> result = read(in, ours);
  for (const OwnName& own : kOwnNames) {
    if (own.ours != ours || own.name == ours || !in.has(own.name)) continue;
    Given<T> other = read(in, own.name);
    if (!other) return other;
    if (in.has(ours)) {
      in.fail(own.name, fmt::format("says the same as {}", ours), "leave one of the two out");
    }
    if constexpr (std::is_same_v<T, bool>) {
      if (own.negated) other.value = !*other.value;
    }
    result = other;
  }
  return result;
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

Given<AttentionDpConfig> read_attention_dp(Reader& in) {
  const std::string key = "attention_dp_config";
  Given<AttentionDpConfig> result{.value = {}, .key = in.path(key), .where = in.where(key)};
  if (!in.has(key)) return result;
  Reader own = in.map(key);
  AttentionDpConfig config;
  config.enable_balance = own.boolean_or("enable_balance", config.enable_balance);
  const auto steps = [&own](const std::string& name, int usual) {
    return static_cast<int>(own.integer_or(name, usual, {.min = 0, .max = 1e6}));
  };
  config.timeout_iters = steps("timeout_iters", config.timeout_iters);
  config.batching_wait_iters = steps("batching_wait_iters", config.batching_wait_iters);
  if (!config.enable_balance && (own.has("timeout_iters") || own.has("batching_wait_iters")))
    in.fail(key, "has no effect without enable_balance: true", "turn it on, or leave it out");
  own.reject_unknown_keys();
  result.value = config;
  return result;
}

Given<int> read_block_size(Reader& in, const std::string& key) {
  Given<int> result{.value = {}, .key = in.path(key), .where = in.where(key)};
  if (!in.has(key)) return result;
  const std::string size = in.choice_or(key, kBlockSizes, "");
  if (!size.empty()) result.value = std::stoi(size);
  return result;
}

Given<std::vector<int>> read_capture_sizes(Reader& in, const std::string& key) {
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
  if (in.faulty(key)) return result;
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

/// TensorRT-LLM writes its policies in capitals.
Given<std::string> read_capacity_policy(Reader& in) {
  Given<std::string> policy = read_name(
      in, "capacity_scheduler_policy",
      {"guaranteed_no_evict", "max_utilization", "GUARANTEED_NO_EVICT", "MAX_UTILIZATION"});
  if (policy && *policy.value == "GUARANTEED_NO_EVICT") policy.value = "guaranteed_no_evict";
  if (policy && *policy.value == "MAX_UTILIZATION") policy.value = "max_utilization";
  return policy;
}

/// What only SGLang or only TensorRT-LLM has.
void read_other_engines(Reader& in, EngineKeys& keys) {
  keys.max_total_tokens = {
      .value = in.optional_integer("max_total_tokens", {.min = 2, .max = 1e11}),
      .key = in.path("max_total_tokens"),
      .where = in.where("max_total_tokens")};
  keys.max_prefill_tokens = read_count(in, "max_prefill_tokens", {.min = 1, .max = 1e8});
  keys.cuda_graph_max_bs = read_count(in, "cuda_graph_max_bs", {.min = 1, .max = 1e5});
  keys.scheduler_recv_interval = read_count(in, "scheduler_recv_interval", {.min = 1, .max = 1e6});
  keys.schedule_policy = read_name(in, "schedule_policy", {"fcfs", "lpm"});
  keys.schedule_conservativeness =
      read_ratio(in, "schedule_conservativeness", {.min = 0.01, .max = 10});
  keys.enable_mixed_chunk = read_switch(in, "enable_mixed_chunk");
  keys.fuse_shared_experts = read_either<bool>(in, "fuse_shared_experts", read_switch);
  keys.capacity_scheduler_policy = read_capacity_policy(in);
  keys.cuda_graph_padding = read_switch(in, "cuda_graph_padding");
  keys.batch_wait_max_tokens_ratio =
      read_ratio(in, "batch_wait_max_tokens_ratio", {.min = 0, .max = 1});
  keys.batch_wait_timeout_iters =
      read_count(in, "batch_wait_timeout_iters", {.min = 0, .max = 1e6});
  keys.attention_dp_config = read_attention_dp(in);
}

/// What carries tokens to experts. vLLM renamed one (0.19, cuda_communicator.py warns of it).
Given<std::string> read_all2all(Reader& in) {
  Given<std::string> given = read_name(in, "all2all_backend", {});
  if (given && *given.value == "flashinfer_all2allv") given.value = "flashinfer_nvlink_two_sided";
  return given;
}

/// What an entry leaves out is the scenario's.
template <class... T>
void inherit(EngineKeys& entry, const EngineKeys& engine, Given<T> EngineKeys::*... members) {
  ((entry.*members = entry.*members ? entry.*members : engine.*members), ...);
}

}  // namespace

std::span<const OwnName> own_names() {
  return kOwnNames;
}

std::string own_name(const std::string& backend, const std::string& key) {
  for (const OwnName& own : kOwnNames) {
    if (own.backend == backend && own.ours == key && !own.negated) return own.name;
  }
  return key;
}

EngineKeys read_engine(Reader in, LoadContext& context) {
  constexpr Range kTokens{.min = 1, .max = 1e8};
  const auto count = [](Range range) {
    return [range](Reader& from, const std::string& key) { return read_count(from, key, range); };
  };
  EngineKeys keys;
  keys.backend = read_name(in, "backend", known_backends());
  keys.backend_version = read_version(in);
  keys.max_model_len = read_either<int>(in, "max_model_len", count(kTokens));
  keys.max_num_seqs = read_either<int>(in, "max_num_seqs", count({.min = 1, .max = 1e6}));
  // -1: sglang's prompts run whole.
  keys.max_num_batched_tokens =
      read_either<int>(in, "max_num_batched_tokens", [](Reader& from, const std::string& key) {
        const bool chunk = key == "chunked_prefill_size";
        return read_count(from, key, {.min = chunk ? -1.0 : 1.0, .max = 1e8});
      });
  keys.gpu_memory_utilization =
      read_either<double>(in, "gpu_memory_utilization", [](Reader& from, const std::string& key) {
        return read_ratio(from, key, {.min = 0.01, .max = 1});
      });
  keys.block_size = read_either<int>(in, "block_size", read_block_size);
  keys.enable_prefix_caching = read_either<bool>(in, "enable_prefix_caching", read_switch);
  keys.enable_chunked_prefill = read_switch(in, "enable_chunked_prefill");
  keys.long_prefill_token_threshold =
      read_count(in, "long_prefill_token_threshold", {.min = 0, .max = kTokens.max});
  keys.enforce_eager = read_either<bool>(in, "enforce_eager", read_switch);
  keys.async_scheduling = read_either<bool>(in, "async_scheduling", read_switch);
  keys.scheduling_policy = read_name(in, "scheduling_policy", {"fcfs", "priority"});
  keys.all2all_backend = read_all2all(in);
  keys.moe_backend = read_name(in, "moe_backend",
                               {"auto", "triton", "cutlass", "deepgemm", "trtllm_gen", "marlin"});
  keys.enable_expert_parallel = read_switch(in, "enable_expert_parallel");
  keys.enable_dbo = read_either<bool>(in, "enable_dbo", read_switch);
  keys.dbo_decode_token_threshold = read_count(in, "dbo_decode_token_threshold", kTokens);
  keys.dbo_prefill_token_threshold = read_count(in, "dbo_prefill_token_threshold", kTokens);
  keys.placement = read_placement_flags(in, context);
  keys.cudagraph_capture_sizes =
      read_either<std::vector<int>>(in, "cudagraph_capture_sizes", read_capture_sizes);
  keys.cudagraph_mode = read_name(in, "cudagraph_mode", cudagraph_modes());
  keys.num_gpu_blocks_override = {
      .value = in.optional_integer("num_gpu_blocks_override", {.min = 2, .max = 1e10}),
      .key = in.path("num_gpu_blocks_override"),
      .where = in.where("num_gpu_blocks_override")};
  read_other_engines(in, keys);
  keys.dtype = read_name(in, "dtype", {});
  keys.quantization = read_name(in, "quantization", {});
  keys.kv_cache_dtype = read_name(in, "kv_cache_dtype", {});
  reject_later_flags(in);
  point_elsewhere(in);
  in.reject_unknown_keys();
  return keys;
}

EngineKeys merged(const EngineKeys& engine, const EngineKeys& entry) {
  using Keys = EngineKeys;
  EngineKeys keys = entry;
  // A release belongs to its backend: an entry that names another backend does not inherit it.
  if (!entry.backend) inherit(keys, engine, &Keys::backend_version);
  inherit(keys, engine, &Keys::backend, &Keys::max_model_len, &Keys::max_num_seqs,
          &Keys::max_num_batched_tokens, &Keys::block_size, &Keys::gpu_memory_utilization,
          &Keys::enable_prefix_caching, &Keys::enable_chunked_prefill, &Keys::enforce_eager,
          &Keys::async_scheduling, &Keys::long_prefill_token_threshold, &Keys::scheduling_policy,
          &Keys::all2all_backend, &Keys::moe_backend, &Keys::enable_expert_parallel,
          &Keys::enable_dbo, &Keys::dbo_decode_token_threshold, &Keys::dbo_prefill_token_threshold,
          &Keys::cudagraph_capture_sizes, &Keys::cudagraph_mode, &Keys::num_gpu_blocks_override,
          &Keys::max_total_tokens, &Keys::max_prefill_tokens, &Keys::cuda_graph_max_bs,
          &Keys::scheduler_recv_interval, &Keys::schedule_policy, &Keys::schedule_conservativeness,
          &Keys::enable_mixed_chunk, &Keys::fuse_shared_experts, &Keys::capacity_scheduler_policy,
          &Keys::cuda_graph_padding, &Keys::batch_wait_max_tokens_ratio,
          &Keys::batch_wait_timeout_iters, &Keys::attention_dp_config);
  return keys;
}

}  // namespace moesim
