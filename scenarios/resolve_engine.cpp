#include <algorithm>
#include <fmt/format.h>
#include <utility>

#include "scenarios/load_parts.h"

namespace moesim {
namespace {

/// vLLM's names (glossary 3), so that a later one is told from a misspelt one.
const std::vector<std::string> kAll2AllBackends = {"allgather_reducescatter",
                                                   "naive",
                                                   "pplx",
                                                   "deepep_high_throughput",
                                                   "deepep_low_latency",
                                                   "deepep_v2",
                                                   "mori_high_throughput",
                                                   "mori_low_latency",
                                                   "nixl_ep",
                                                   "flashinfer_nvlink_two_sided",
                                                   "flashinfer_nvlink_one_sided",
                                                   "flashinfer_all2allv"};

std::string value_text(bool value) {
  return value ? "true" : "false";
}
std::string value_text(int value) {
  return std::to_string(value);
}
std::string value_text(std::int64_t value) {
  return std::to_string(value);
}
std::string value_text(double value) {
  return fmt::format("{:g}", value);
}
std::string value_text(const std::string& value) {
  return value;
}
std::string value_text(const std::vector<int>& value) {
  return fmt::format("[{}]", fmt::join(value, ", "));
}

/// Fills one EngineSpec, field by field, and records where each value came from.
class Resolver {
 public:
  Resolver(const EngineInputs& inputs, LoadContext& context)
      : keys_(inputs.keys), inputs_(inputs), context_(context) {}

  EngineSpec run() {
    choose_profile();
    spec_.max_model_len = pick("max_model_len", keys_.max_model_len,
                               inputs_.model.max_position_embeddings, "config.json");
    spec_.enable_chunked_prefill =
        pick("enable_chunked_prefill", keys_.enable_chunked_prefill, !is_static());
    spec_.enable_prefix_caching =
        pick("enable_prefix_caching", keys_.enable_prefix_caching, !is_static());
    choose_batch();
    spec_.long_prefill_token_threshold =
        pick("long_prefill_token_threshold", keys_.long_prefill_token_threshold, 0);
    spec_.block_size = pick("block_size", keys_.block_size, 16);
    spec_.priority_scheduling =
        pick("scheduling_policy", keys_.scheduling_policy, std::string("fcfs")) == "priority";
    spec_.async_scheduling =
        pick("async_scheduling", keys_.async_scheduling, spec_.profile.async_scheduling);
    spec_.profile.async_scheduling = spec_.async_scheduling;
    choose_memory();
    choose_graphs();
    spec_.all2all_backend = spec_.profile.all2all_backend;
    reject_other_all2all();
    if (is_static()) reject_useless_for_static();
    return std::move(spec_);
  }

 private:
  [[nodiscard]] bool is_static() const { return spec_.backend == "static_batch"; }

  template <class T>
  T pick(const char* name, const Given<T>& given, const T& fallback,
         const char* fallback_source = "default") {
    T value = given ? *given.value : fallback;
    context_.resolve(inputs_.prefix + "." + name, value_text(value),
                     given ? context_.source(given.where) : fallback_source);
    return value;
  }

  void choose_profile() {
    spec_.backend = pick("backend", keys_.backend, std::string("vllm"));
    const std::string newest = known_versions(spec_.backend).back();
    spec_.backend_version = pick("backend_version", keys_.backend_version, newest);
    ProfileChoice choice = engine_profile(spec_.backend, spec_.backend_version);
    spec_.profile = std::move(choice.profile);
    if (!choice.note.empty()) context_.warnings.push_back(choice.note);
  }

  void choose_batch() {
    const BatchDefaults defaults =
        batch_defaults(inputs_.system.name, inputs_.system.gpu.reported_capacity);
    const int seqs = keys_.max_num_seqs ? *keys_.max_num_seqs.value : defaults.max_num_seqs;
    // Clips of vllm/engine/arg_utils.py, for defaults only (serving-semantics 1.2).
    const std::int64_t most = std::int64_t{seqs} * std::max(1, spec_.max_model_len);
    auto tokens = static_cast<int>(std::min<std::int64_t>(defaults.max_num_batched_tokens, most));
    if (!spec_.enable_chunked_prefill) tokens = std::max(tokens, spec_.max_model_len);
    spec_.max_num_batched_tokens =
        pick("max_num_batched_tokens", keys_.max_num_batched_tokens, tokens);
    const int fallback = std::min(defaults.max_num_seqs, spec_.max_num_batched_tokens);
    spec_.max_num_seqs = pick("max_num_seqs", keys_.max_num_seqs, fallback);
  }

  void choose_memory() {
    MemoryRules& memory = spec_.profile.memory;
    spec_.gpu_memory_utilization = pick("gpu_memory_utilization", keys_.gpu_memory_utilization,
                                        spec_.profile.gpu_memory_utilization);
    spec_.profile.gpu_memory_utilization = spec_.gpu_memory_utilization;
    memory.utilization = spec_.gpu_memory_utilization;
    memory.pad_mxfp4 = inputs_.system.gpu.sm_version < 100;  // Marlin below Blackwell (2.3)
    spec_.num_gpu_blocks_override = keys_.num_gpu_blocks_override.value;
    if (keys_.num_gpu_blocks_override) {
      pick("num_gpu_blocks_override", keys_.num_gpu_blocks_override, std::int64_t{0});
    }
  }

  void choose_graphs() {
    MemoryRules& memory = spec_.profile.memory;
    spec_.enforce_eager = pick("enforce_eager", keys_.enforce_eager, is_static());
    memory.enforce_eager = spec_.enforce_eager;
    if (spec_.enforce_eager) {
      if (keys_.cudagraph_capture_sizes) {
        fail(context_, keys_.cudagraph_capture_sizes, "has no effect with enforce_eager: true",
             "leave one of the two out");
      }
    } else {
      spec_.cudagraph_capture_sizes =
          pick("cudagraph_capture_sizes", keys_.cudagraph_capture_sizes,
               default_capture_sizes(spec_.profile.graph_sizes_rule, spec_.max_num_seqs,
                                     spec_.max_num_batched_tokens));
    }
    memory.graph_sizes = static_cast<int>(spec_.cudagraph_capture_sizes.size());
  }

  void reject_other_all2all() {
    const Given<std::string>& given = keys_.all2all_backend;
    if (!given || *given.value == spec_.all2all_backend) return;
    if (std::ranges::find(kAll2AllBackends, *given.value) == kAll2AllBackends.end()) {
      fail(context_, given, fmt::format("unknown choice text '{}'", *given.value),
           nearest_name_hint(*given.value, kAll2AllBackends));
      return;
    }
    fail(context_, given, fmt::format("{} is not modelled yet", *given.value),
         fmt::format("leave it out: {}, the default of this release", spec_.all2all_backend));
  }

  template <class T>
  void reject_static(const Given<T>& given, const T& harmless, const char* why) {
    if (!given || *given.value == harmless) return;
    fail(context_, given, "has no effect with backend: static_batch", why);
  }

  /// What a plain generate() loop does not have.
  void reject_useless_for_static() {
    const char* leave = "leave it out, or use backend: vllm";
    reject_static(keys_.backend_version, std::string("1"), leave);
    reject_static(keys_.enable_chunked_prefill, false,
                  "prompts of a batch run whole; leave it out");
    reject_static(keys_.enable_prefix_caching, false,
                  "nothing is kept between batches; leave it out");
    reject_static(keys_.async_scheduling, false, leave);
    reject_static(keys_.enforce_eager, true, "there are no CUDA graphs; leave it out");
    reject_static(keys_.long_prefill_token_threshold, 0, leave);
    reject_static(keys_.scheduling_policy, std::string("fcfs"), leave);
    reject_static(keys_.cudagraph_capture_sizes, std::vector<int>{}, leave);
  }

  const EngineKeys& keys_;
  const EngineInputs& inputs_;
  LoadContext& context_;
  EngineSpec spec_;
};

}  // namespace

EngineSpec resolve_engine(const EngineInputs& inputs, LoadContext& context) {
  return Resolver(inputs, context).run();
}

}  // namespace moesim
