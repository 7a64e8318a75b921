#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/memory.h"
#include "sim/base/units.h"

namespace moesim {

/// Host-side cost of a step (serving-semantics 4.5), microseconds:
///   schedule = s0 + s1*running + s2*admitted + s3*hashed blocks; prepare = p0 + p1*sequences;
///   output = o0 + o1*sequences.
struct HostCost {
  double s0_us = 50, s1_us = 1.5, s2_us = 20, s3_us = 1;
  double p0_us = 250, p1_us = 1;
  double o0_us = 100, o1_us = 3;
  /// What scheduling ahead does not hide between two steps on the GPU: copies of sampled tokens,
  /// input preparation on the device, the launch of the next graph; us and us per sequence. Fitted
  /// to serving runs: hardware/README.md, "host gap".
  double exposed_us = 0, exposed_per_sequence_us = 0;

  [[nodiscard]] HostCost scaled(double factor) const {
    return {s0_us * factor,      s1_us * factor,
            s2_us * factor,      s3_us * factor,
            p0_us * factor,      p1_us * factor,
            o0_us * factor,      o1_us * factor,
            exposed_us * factor, exposed_per_sequence_us * factor};
  }
};

/// The API server before the engine: HTTP, tokenising, hand-over (serving-semantics 4.5 has 1 to
/// 15 ms; a peer fits 15.6 ms). A request reaches the scheduler this much after it arrives; prompts
/// are tokenised one after another.
struct ApiCost {
  double request_us = 0;
  double per_prompt_token_us = 0;
};

/// CPU launch cost of one forward pass: serving-semantics 4.5 "Launch cost".
struct LaunchCost {
  double full_us = 15;             ///< replay of a full graph
  double piece_us = 10;            ///< one piecewise graph launch, L+1 of them
  double piece_attention_us = 55;  ///< eager attention between pieces, per layer
  double eager_layer_us = 100;     ///< compiled, no graph: CPU per layer
  /// Not compiled, no graph: Python and PyTorch per operator called (hardware/README.md, "eager
  /// prompts").
  double eager_call_us = 0;
  /// What eager_call_us becomes, and eager_layer_us nothing, under enforce_eager, which turns the
  /// compiler off too; 0: there was none to turn off.
  double uncompiled_call_us = 0;
  /// One call covers all of attention, one all of the routed experts (HostCallRules).
  bool composite_calls = false;

  [[nodiscard]] LaunchCost uncompiled() const {
    LaunchCost cost = *this;
    if (uncompiled_call_us == 0) return cost;
    cost.eager_layer_us = 0;
    cost.eager_call_us = uncompiled_call_us;
    return cost;
  }
};

/// Rules of SGLang's scheduler that vLLM's has not (serving-semantics 8.1).
struct SglangOptions {
  int max_prefill_tokens = 16384;     ///< prompt tokens after which a prefill batch takes no more
  bool enable_mixed_chunk = false;    ///< decodes ride along in prefill batches
  bool longest_prefix_first = false;  ///< schedule_policy: lpm
  double schedule_conservativeness = 1;
  /// Retraction goes on until every request left has this many tokens; 0: until the next step fits.
  int retract_decode_steps = 0;
  /// New requests are fetched after every batch of prompts and after this many steps of decodes.
  int scheduler_recv_interval = 1;
};

/// TensorRT-LLM's `attention_dp_config`: prompts of data-parallel ranks wait for each other. The
/// numbers are its defaults (serving-semantics 8.2); see sim/engine/prompt_balance.h.
struct AttentionDpConfig {
  bool enable_balance = false;
  int timeout_iters = 50;
  int batching_wait_iters = 10;
};

/// Rules of TensorRT-LLM's schedulers (serving-semantics 8.2).
struct TrtllmOptions {
  bool max_utilization = false;  ///< capacity_scheduler_policy: max_utilization, else no-evict
  /// New prompts wait beside decodes until they fill this share of max_num_tokens, but for at most
  /// so many steps.
  double batch_wait_max_tokens_ratio = 0;
  int batch_wait_timeout_iters = 0;
  AttentionDpConfig attention_dp;
};

/// Which captured sizes serve a step that computes prompts.
enum class PromptGraphs {
  kSame,  ///< vLLM: those of decodes, in pieces
  kFull,  ///< vLLM, cudagraph_mode FULL: those of decodes, whole
  kNone,  ///< prompts run without graphs
  kOwn,   ///< a list of their own, in pieces
};

/// On which GPUs the sum over ranks adds the residual and normalises too, in one kernel.
enum class FusedNorms { kNowhere, kHopper, kBlackwell, kBoth };

/// How SGLang sets mem_fraction_static when nobody does.
enum class StaticFraction {
  kByTensorParallel,  ///< 0.88 on one GPU to 0.79 on 16
  kReserved,          ///< what a sum of reserved parts leaves (serving-semantics 8.1)
};

/// Defaults and behaviour of one engine release (serving-semantics 0.2, 1.2, 8). The scheduler
/// branches on these fields, never on a version.
struct EngineProfile {
  std::string backend;                ///< "vllm", "sglang", "trtllm" or "static_batch"
  std::string version;                ///< "0.19"
  std::string scheduler = "vllm_v1";  ///< registered name
  bool async_scheduling = true;       ///< queue depth 2
  bool reserve_full_isl = true;
  bool extra_step = false;    ///< overlap scheduler: whoever ends runs one step more
  bool full_graphs = true;    ///< decodes run in one graph, else in pieces
  int graph_sizes_rule = 51;  ///< vLLM: 51 (V12 on) or 67 (V09, V11) sizes for max 512
  PromptGraphs prompt_graphs = PromptGraphs::kSame;
  FusedNorms fused_norms = FusedNorms::kNowhere;
  /// `model_type`s it is done for, comma-separated; "" = all.
  std::string fused_norm_models;
  bool pad_to_graph = true;  ///< batches are padded to a captured size, else they must have it
  int block_size = 16;
  bool chunked_prefill = true;
  bool prefix_caching = true;
  bool longest_prefix_first = false;  ///< sglang: schedule_policy
  int retract_decode_steps = 0;       ///< sglang: see SglangOptions
  int small_card_graphs = 24;         ///< sglang: largest decode graph on cards of 20 to 35 GiB
  StaticFraction static_fraction = StaticFraction::kReserved;
  double gpu_memory_utilization = 0.92;
  std::string all2all_backend = "allgather_reducescatter";
  MemoryRules memory;
  HostCost host;
  ApiCost api;
  /// Two half batches in SGLang's order of stages, else in vLLM's slots (hardware/overlap.h).
  bool half_batches_by_stages = false;
  /// The shared expert of models with one as wide as a routed one runs in the call of the routed
  /// ones, as one more that every token chooses: `model_type`s it is done for, comma-separated.
  std::string fused_shared_expert_models;
  /// Shared experts overlap the routed ones in steps of at most so many tokens.
  int shared_expert_stream_tokens = 0;
  /// Weights in a format that the card cannot multiply are unpacked by Marlin kernels and
  /// multiplied in 16 bit; false: the engine refuses them.
  bool weight_only_fp8 = true, weight_only_fp4 = true;
  LaunchCost launch;
};

/// A release as numbers: "v0.5.6.post2" is {0, 5, 6}, "1.2.0rc6" {1, 2, 0}. Nothing if there are
/// none.
struct Release {
  int major = 0, minor = 0, patch = 0;
  friend auto operator<=>(const Release&,
                          const Release&) = default;  // NOLINT(modernize-use-nullptr)
};
[[nodiscard]] std::optional<Release> parse_release(std::string_view text);

/// Whether a text has the form of a release: "0.19", "0.15.1", "v0.12".
[[nodiscard]] bool is_version(const std::string& text);

/// The profile of a release ("" = the newest); one newer than all known takes the newest, one older
/// the oldest, and `note` says so. A release between two of the table takes the older one's rules.
/// Preconditions: a known backend; is_version(version) or "".
struct ProfileChoice {
  EngineProfile profile;
  std::string note;
};
[[nodiscard]] ProfileChoice engine_profile(const std::string& backend, const std::string& version);
[[nodiscard]] std::vector<std::string> known_backends();
/// Releases with a profile of their own, oldest first.
[[nodiscard]] std::vector<std::string> known_versions(const std::string& backend);

/// vLLM's `cudagraph_mode` (vllm/config/compilation.py): its names, the one of a release, and what
/// one does: whether decodes run in one graph, and which graphs steps with prompts have. NONE is no
/// captured sizes, which the caller sees to.
[[nodiscard]] std::vector<std::string> cudagraph_modes();
[[nodiscard]] std::string usual_cudagraph_mode(const EngineProfile& profile);
/// Precondition: one of those names but NONE.
void set_cudagraph_mode(const std::string& mode, EngineProfile& profile);

/// vLLM's default CUDA-graph capture sizes (serving-semantics 1.8), ascending.
[[nodiscard]] std::vector<int> default_capture_sizes(int rule, int max_num_seqs,
                                                     int max_num_batched_tokens);

/// SGLang's and TensorRT-LLM's releases with rules of their own, oldest first; `backend` and
/// `version` of the profiles are empty.
struct KnownRelease {
  Release release;
  EngineProfile profile;
};
[[nodiscard]] std::vector<KnownRelease> sglang_releases();
[[nodiscard]] std::vector<KnownRelease> trtllm_releases();

/// Defaults that depend on the card (serving-semantics 1.2): 8192/1024 for >= 70 GiB and not A100,
/// else 2048/256.
struct BatchDefaults {
  int max_num_batched_tokens = 2048;
  int max_num_seqs = 256;
};
[[nodiscard]] BatchDefaults batch_defaults(const std::string& system_name, Bytes device_total);

}  // namespace moesim
