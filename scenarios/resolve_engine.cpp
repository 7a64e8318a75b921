#include <algorithm>
#include <fmt/format.h>
#include <string_view>
#include <utility>

#include "hardware/dispatch.h"
#include "scenarios/load_parts.h"
#include "scenarios/other_defaults.h"
#include "scenarios/value_text.h"

namespace moesim {
namespace {

/// The cap on SGLang's max_running_requests before the memory is known (8.1).
constexpr int kMostSglangRequests = 4096;

/// Fills one EngineSpec, field by field, and records where each value came from.
class Resolver {
 public:
  Resolver(const EngineInputs& inputs, LoadContext& context)
      : keys_(inputs.keys), inputs_(inputs), context_(context) {}

  EngineSpec run() {
    choose_profile();
    reject_foreign_names();
    spec_.max_model_len = pick("max_model_len", keys_.max_model_len,
                               inputs_.model.max_position_embeddings, "config.json");
    choose_chunking();
    spec_.enable_prefix_caching =
        pick("enable_prefix_caching", keys_.enable_prefix_caching, spec_.profile.prefix_caching);
    choose_batch();
    if (!is_sglang() && !is_trtllm())
      spec_.long_prefill_token_threshold =
          pick("long_prefill_token_threshold", keys_.long_prefill_token_threshold, 0);
    spec_.block_size = pick("block_size", keys_.block_size, spec_.profile.block_size);
    choose_policy();
    spec_.async_scheduling =
        pick("async_scheduling", keys_.async_scheduling, spec_.profile.async_scheduling);
    spec_.profile.async_scheduling = spec_.async_scheduling;
    spec_.profile.extra_step = (is_sglang() || is_trtllm()) && spec_.async_scheduling;
    if (is_sglang()) {
      choose_graphs();
      choose_memory();
    } else {
      choose_memory();
      choose_graphs();
    }
    choose_all2all();
    spec_.moe_backend = pick("moe_backend", keys_.moe_backend, std::string("auto"));
    choose_overlap();
    if (is_static()) reject_useless_for_static();
    return std::move(spec_);
  }

 private:
  [[nodiscard]] bool is_static() const { return spec_.backend == "static_batch"; }
  [[nodiscard]] bool is_sglang() const { return spec_.backend == "sglang"; }
  [[nodiscard]] bool is_trtllm() const { return spec_.backend == "trtllm"; }
  [[nodiscard]] Bytes card() const { return inputs_.system.gpu.reported_capacity; }

  template <class T>
  T pick(const char* name, const Given<T>& given, const T& fallback,
         const char* fallback_source = "default") {
    T value = given ? *given.value : fallback;
    context_.resolve(inputs_.prefix + "." + own_name(spec_.backend, name), value_text(value),
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

  // ---- names --------------------------------------------------------------------------------

  /// A key under the name that another engine has for it.
  template <class T>
  void check_name(const Given<T>& given, const char* ours) {
    if (!given) return;
    const std::string written = given.key.substr(given.key.rfind('.') + 1);
    const bool share = std::string_view(ours) == "gpu_memory_utilization";
    const std::string mine = own_name(spec_.backend, ours);
    // The share of memory means something else in each engine, so it goes by its own name.
    if (written == mine || (written == ours && !share)) return;
    for (const OwnName& own : own_names()) {
      if (written == own.name && own.backend == spec_.backend) return;
    }
    fail(context_, given, fmt::format("is not a key of {}", spec_.backend),
         fmt::format("write {}", mine));
  }

  template <class T>
  void only_with(const Given<T>& given, std::string_view backend, const char* hint) {
    if (!given || spec_.backend == backend) return;
    fail(context_, given, fmt::format("is a key of {}, not of {}", backend, spec_.backend), hint);
  }

  void reject_foreign_names() {
    check_name(keys_.max_model_len, "max_model_len");
    check_name(keys_.max_num_seqs, "max_num_seqs");
    check_name(keys_.max_num_batched_tokens, "max_num_batched_tokens");
    check_name(keys_.block_size, "block_size");
    check_name(keys_.gpu_memory_utilization, "gpu_memory_utilization");
    check_name(keys_.enable_prefix_caching, "enable_prefix_caching");
    check_name(keys_.async_scheduling, "async_scheduling");
    check_name(keys_.enforce_eager, "enforce_eager");
    check_name(keys_.cudagraph_capture_sizes, "cudagraph_capture_sizes");
    only_with(keys_.cudagraph_mode, "vllm", "leave it out, or turn graphs off with enforce_eager");
    const char* leave = "leave it out";
    only_with(keys_.max_total_tokens, "sglang", "write num_gpu_blocks_override");
    only_with(keys_.max_prefill_tokens, "sglang", leave);
    only_with(keys_.cuda_graph_max_bs, "sglang", "write cudagraph_capture_sizes");
    only_with(keys_.scheduler_recv_interval, "sglang", leave);
    only_with(keys_.schedule_policy, "sglang", leave);
    only_with(keys_.schedule_conservativeness, "sglang", leave);
    only_with(keys_.enable_mixed_chunk, "sglang", leave);
    only_with(keys_.fuse_shared_experts, "sglang", leave);
    only_with(keys_.capacity_scheduler_policy, "trtllm", leave);
    only_with(keys_.cuda_graph_padding, "trtllm", leave);
    only_with(keys_.batch_wait_max_tokens_ratio, "trtllm", leave);
    only_with(keys_.batch_wait_timeout_iters, "trtllm", leave);
    only_with(keys_.attention_dp_config, "trtllm", leave);
    if (is_sglang())
      only_with(keys_.enable_chunked_prefill, "vllm", "chunked_prefill_size: -1 turns it off");
    if (is_static() || spec_.backend == "vllm") return;
    only_with(keys_.long_prefill_token_threshold, "vllm", leave);
    only_with(keys_.scheduling_policy, "vllm", is_sglang() ? "write schedule_policy" : leave);
  }

  // ---- values -------------------------------------------------------------------------------

  void choose_chunking() {
    if (!is_sglang()) {
      spec_.enable_chunked_prefill = pick("enable_chunked_prefill", keys_.enable_chunked_prefill,
                                          spec_.profile.chunked_prefill);
      return;
    }
    spec_.enable_chunked_prefill =
        !keys_.max_num_batched_tokens || *keys_.max_num_batched_tokens.value > 0;
    spec_.sglang.max_prefill_tokens =
        pick("max_prefill_tokens", keys_.max_prefill_tokens, SglangOptions().max_prefill_tokens);
  }

  void choose_batch() {
    if (is_sglang()) return choose_sglang_batch();
    BatchDefaults defaults = batch_defaults(inputs_.system.name, card());
    if (is_trtllm()) defaults = kTrtllmBatch;
    const int seqs = keys_.max_num_seqs ? *keys_.max_num_seqs.value : defaults.max_num_seqs;
    // Clips of vllm/engine/arg_utils.py, for defaults only (serving-semantics 1.2).
    const std::int64_t most = std::int64_t{seqs} * std::max(1, spec_.max_model_len);
    auto tokens = static_cast<int>(std::min<std::int64_t>(defaults.max_num_batched_tokens, most));
    if (!spec_.enable_chunked_prefill && !is_trtllm())
      tokens = std::max(tokens, spec_.max_model_len);
    spec_.max_num_batched_tokens =
        pick("max_num_batched_tokens", keys_.max_num_batched_tokens, tokens);
    const int fallback = std::min(defaults.max_num_seqs, spec_.max_num_batched_tokens);
    spec_.max_num_seqs = pick("max_num_seqs", keys_.max_num_seqs, fallback);
  }

  /// The part of a limit of the whole engine that a data-parallel rank has (8.1).
  [[nodiscard]] int of_rank(int limit) const { return std::max(1, limit / inputs_.parallel.dp); }

  /// GPUs of an engine: SGLang's own tensor-parallel size counts those of all ranks.
  [[nodiscard]] int sglang_tp() const { return inputs_.parallel.tp * inputs_.parallel.dp; }

  /// Without a cap on running requests the memory plan sets it.
  void choose_sglang_batch() {
    const int chunk = pick("max_num_batched_tokens", keys_.max_num_batched_tokens,
                           sglang_chunk(spec_.profile, card()));
    spec_.max_num_batched_tokens =
        spec_.enable_chunked_prefill ? of_rank(chunk) : spec_.sglang.max_prefill_tokens;
    spec_.max_num_seqs_by_memory = !keys_.max_num_seqs;
    if (keys_.max_num_seqs) {
      spec_.max_num_seqs = of_rank(pick("max_num_seqs", keys_.max_num_seqs, 0));
    } else {
      context_.resolve(inputs_.prefix + ".max_running_requests", "by KV tokens", "default");
      spec_.max_num_seqs = kMostSglangRequests;
    }
  }

  void choose_policy() {
    if (is_sglang()) {
      SglangOptions& options = spec_.sglang;
      const std::string usual = spec_.profile.longest_prefix_first ? "lpm" : "fcfs";
      options.longest_prefix_first = pick("schedule_policy", keys_.schedule_policy, usual) == "lpm";
      options.schedule_conservativeness =
          pick("schedule_conservativeness", keys_.schedule_conservativeness, 1.0);
      // Ranks with requests of their own reserve less for what each may still write (8.1).
      constexpr double kOfRank = 0.3;
      if (inputs_.parallel.dp > 1) options.schedule_conservativeness *= kOfRank;
      options.scheduler_recv_interval =
          pick("scheduler_recv_interval", keys_.scheduler_recv_interval, 1);
      options.enable_mixed_chunk = pick("enable_mixed_chunk", keys_.enable_mixed_chunk, false);
      options.retract_decode_steps = spec_.profile.retract_decode_steps;
    } else if (is_trtllm()) {
      choose_trtllm_policy();
    } else {
      spec_.priority_scheduling =
          pick("scheduling_policy", keys_.scheduling_policy, std::string("fcfs")) == "priority";
    }
  }

  void choose_trtllm_policy() {
    TrtllmOptions& options = spec_.trtllm;
    options.max_utilization = pick("capacity_scheduler_policy", keys_.capacity_scheduler_policy,
                                   std::string("guaranteed_no_evict")) == "max_utilization";
    const Given<double>& ratio = keys_.batch_wait_max_tokens_ratio;
    const Given<int>& steps = keys_.batch_wait_timeout_iters;
    options.batch_wait_max_tokens_ratio = pick("batch_wait_max_tokens_ratio", ratio, 0.0);
    options.batch_wait_timeout_iters = pick("batch_wait_timeout_iters", steps, 0);
    // New prompts wait until they fill that share, at most that long: both, or they never wait.
    const bool share = options.batch_wait_max_tokens_ratio > 0;
    const bool limit = options.batch_wait_timeout_iters > 0;
    const char* hint = "write both, or leave it out";
    if (share && !limit)
      fail(context_, ratio, "has no effect without batch_wait_timeout_iters", hint);
    if (limit && !share)
      fail(context_, steps, "has no effect without batch_wait_max_tokens_ratio", hint);
    const Given<AttentionDpConfig>& ranks = keys_.attention_dp_config;
    if (!ranks) return;
    options.attention_dp = pick("attention_dp_config", ranks, AttentionDpConfig());
    if (options.attention_dp.enable_balance && inputs_.parallel.dp == 1)
      fail(context_, ranks, "has no effect without data-parallel ranks", "leave it out");
  }

  void choose_memory() {
    MemoryRules& memory = spec_.profile.memory;
    double share = spec_.profile.gpu_memory_utilization;
    if (is_sglang()) {
      share = sglang_static_fraction(
          spec_.profile,
          {.card = card(),
           .chunk = spec_.max_num_batched_tokens,
           .largest_graph =
               spec_.cudagraph_capture_sizes.empty() ? 0 : spec_.cudagraph_capture_sizes.back(),
           .tp = sglang_tp(),
           .pp = inputs_.parallel.pp,
           .dp = inputs_.parallel.dp,
           .prompt_graphs = static_cast<int>(spec_.prompt_capture_sizes.size()),
           .mla = inputs_.model.is_mla()});
    }
    spec_.gpu_memory_utilization =
        pick("gpu_memory_utilization", keys_.gpu_memory_utilization, share);
    spec_.profile.gpu_memory_utilization = spec_.gpu_memory_utilization;
    memory.utilization = spec_.gpu_memory_utilization;
    memory.pad_mxfp4 = inputs_.system.gpu.sm_version < 100;  // Marlin below Blackwell (2.3)
    spec_.num_gpu_blocks_override = keys_.num_gpu_blocks_override.value;
    if (keys_.num_gpu_blocks_override) {
      pick("num_gpu_blocks_override", keys_.num_gpu_blocks_override, std::int64_t{0});
    }
    if (is_sglang() && keys_.max_total_tokens) {
      // One page more, which is never handed out.
      spec_.num_gpu_blocks_override =
          pick("max_total_tokens", keys_.max_total_tokens, std::int64_t{0}) / spec_.block_size + 1;
    }
  }

  template <class T>
  void reject_beside(const Given<T>& given, const char* setting) {
    if (given) fail(context_, given, fmt::format("has no effect with {}", setting), "leave it out");
  }

  void choose_graphs() {
    const bool none = is_static() || (is_trtllm() && !spec_.profile.full_graphs);
    spec_.enforce_eager = pick("enforce_eager", keys_.enforce_eager, none);
    if (spec_.enforce_eager) {
      spec_.profile.launch = spec_.profile.launch.uncompiled();
      reject_beside(keys_.cudagraph_capture_sizes, "enforce_eager: true");
      if (spec_.backend == "vllm" && keys_.cudagraph_mode.value != "NONE")
        reject_beside(keys_.cudagraph_mode, "enforce_eager: true");
    } else if (keys_.cudagraph_mode && *keys_.cudagraph_mode.value == "NONE") {
      spec_.cudagraph_mode = pick("cudagraph_mode", keys_.cudagraph_mode, std::string("NONE"));
      reject_beside(keys_.cudagraph_capture_sizes, "cudagraph_mode: NONE");
    } else {
      choose_captured();
    }
    spec_.profile.memory.graph_sizes = static_cast<int>(spec_.cudagraph_capture_sizes.size());
  }

  void choose_captured() {
    EngineProfile& profile = spec_.profile;
    profile.full_graphs = profile.full_graphs || is_trtllm();
    if (spec_.backend == "vllm") {
      spec_.cudagraph_mode =
          pick("cudagraph_mode", keys_.cudagraph_mode, usual_cudagraph_mode(profile));
      set_cudagraph_mode(spec_.cudagraph_mode, profile);
    }
    if (is_trtllm())
      profile.pad_to_graph = pick("cuda_graph_padding", keys_.cuda_graph_padding, false);
    spec_.cudagraph_capture_sizes =
        pick("cudagraph_capture_sizes", keys_.cudagraph_capture_sizes, default_sizes());
    if (profile.prompt_graphs == PromptGraphs::kOwn)
      spec_.prompt_capture_sizes =
          sglang_prompt_sizes(spec_.max_num_batched_tokens, inputs_.model.is_mla());
  }

  std::vector<int> default_sizes() {
    if (is_sglang()) {
      const int largest = keys_.cuda_graph_max_bs
                              ? *keys_.cuda_graph_max_bs.value
                              : sglang_largest_graph(spec_.profile, card(), sglang_tp());
      return sglang_graph_sizes(spec_.profile, largest, spec_.max_num_seqs);
    }
    if (is_trtllm())
      return trtllm_graph_sizes(std::min(kTrtllmLargestGraph, spec_.max_num_seqs),
                                spec_.profile.pad_to_graph);
    return default_capture_sizes(spec_.profile.graph_sizes_rule, spec_.max_num_seqs,
                                 spec_.max_num_batched_tokens);
  }

  /// Messages to experts exist only between data-parallel ranks; most backends need whole experts.
  void choose_all2all() {
    const Given<std::string>& given = keys_.all2all_backend;
    const std::string usual = spec_.profile.all2all_backend;
    spec_.all2all_backend = usual;
    if (!given) return;
    const std::vector<std::string> known = dispatch_names();
    if (std::ranges::find(known, *given.value) == known.end()) {
      fail(context_, given, fmt::format("unknown choice '{}'", *given.value),
           nearest_name_hint(*given.value, known));
      return;
    }
    spec_.all2all_backend = pick("all2all_backend", given, usual);
    if (spec_.all2all_backend == usual) return;
    const bool everywhere =
        spec_.all2all_backend == "allgather_reducescatter" || spec_.all2all_backend == "naive";
    if (inputs_.parallel.dp == 1) {
      fail(context_, given, "has no effect with data_parallel_size 1: every rank has all tokens",
           "leave it out, or raise data_parallel_size");
    } else if (!everywhere && !inputs_.parallel.expert_parallel) {
      fail(context_, given, fmt::format("{} needs whole experts on ranks", *given.value),
           "turn engine.enable_expert_parallel on");
    }
  }

  void reject_idle_threshold(const Given<int>& given, int usual) {
    if (given && !spec_.enable_dbo && *given.value != usual)
      fail(context_, given, "has no effect without enable_dbo: true", "leave it out");
  }

  /// Half batches hide messages that are sent to experts: nothing else has any to hide (5.1).
  void choose_overlap() {
    spec_.enable_dbo = keys_.enable_dbo && pick("enable_dbo", keys_.enable_dbo, false);
    const bool sent = spec_.all2all_backend.starts_with("deepep");
    if (spec_.enable_dbo && (inputs_.parallel.dp == 1 || !sent)) {
      fail(
          context_, keys_.enable_dbo,
          "needs data parallelism with a deepep all2all_backend: nothing else is overlapped",
          "write all2all_backend: deepep_low_latency (decode) or deepep_high_throughput (prefill)");
    }
    reject_idle_threshold(keys_.dbo_decode_token_threshold, spec_.dbo_decode_tokens);
    reject_idle_threshold(keys_.dbo_prefill_token_threshold, spec_.dbo_prefill_tokens);
    if (!spec_.enable_dbo) return;
    // SGLang splits whatever has two halves (5.2).
    spec_.dbo_decode_tokens = pick("dbo_decode_token_threshold", keys_.dbo_decode_token_threshold,
                                   is_sglang() ? 2 : spec_.dbo_decode_tokens);
    spec_.dbo_prefill_tokens =
        pick("dbo_prefill_token_threshold", keys_.dbo_prefill_token_threshold,
             is_sglang() ? 2 : spec_.dbo_prefill_tokens);
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
