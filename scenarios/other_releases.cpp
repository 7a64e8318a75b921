// Releases of SGLang and TensorRT-LLM: serving-semantics 8.1 and 8.2. What differs between releases
// stands in a table each; (U) marks what is dated by the release notes only, or from memory.
#include "scenarios/engine_profile.h"

namespace moesim {
namespace {

/// fp32 copies of the logits alive while sampling: the range of serving-semantics 2.6.
constexpr double kSamplerCopies = 3;

/// The residual gap of an overlap scheduler is 0.1 to 0.3 ms (4.5).
constexpr double kExposedUs = 200, kExposedPerSequenceUs = 2;
/// As vLLM's, which is fitted (assumed).
constexpr ApiCost kApi{12000, 1.5};
/// As vLLM's threshold (assumed): both run shared experts on a stream of their own in small steps.
constexpr int kSharedExpertTokens = 256;

/// What both engines have in common.
EngineProfile overlapping_profile() {
  EngineProfile profile;
  profile.host.exposed_us = kExposedUs;
  profile.host.exposed_per_sequence_us = kExposedPerSequenceUs;
  profile.api = kApi;
  profile.shared_expert_stream_tokens = kSharedExpertTokens;
  return profile;
}

using N = FusedNorms;

struct SglangRow {
  Release release;
  StaticFraction fraction;  ///< by the parallel size until 0.4, by reserved parts in S53 and later
  int retract_steps;        ///< 0.4 retracts until everybody has 20 tokens ahead, later ones do not
  int small_card_graphs;    ///< 16 in S53, 24 in S518; between them (U)
  PromptGraphs prompts;     ///< S518 captures graphs for prompts; since 0.5.12 (U)
  double call_us;           ///< Python per operator of a prompt without graphs; see below
  bool weight_only_fp4;     ///< NVFP4 below Blackwell: in S518; between it and 0.5.12 (U)
  /// FlashInfer's all-reduce with norm, switched on by itself: on Blackwell taken back in January
  /// 2026 and given back later, on Hopper missing in between (sgl-project/sglang pull requests
  /// 17474 and 28789; which release has which is (U)).
  FusedNorms fused_norms;
};

// Python per operator: what short prompts of DeepSeek-R1 take longer than their kernels, in
// published first tokens at 1 to 4 users on H200 and B200, over the operators of a pass
// (hardware/README.md, "eager prompts"): 78 us in 0.5.5, 94 and 112 us in 0.5.9. Other releases as
// the nearest.

// clang-format off
constexpr SglangRow kSglangRows[] = {
  {{0, 4, 0},  StaticFraction::kByTensorParallel, 20,  8, PromptGraphs::kNone, 75, false, N::kNowhere},
  {{0, 5, 3},  StaticFraction::kReserved,          0, 16, PromptGraphs::kNone, 75, false, N::kNowhere},
  {{0, 5, 5},  StaticFraction::kReserved,          0, 16, PromptGraphs::kNone, 75, false, N::kBoth},
  {{0, 5, 9},  StaticFraction::kReserved,          0, 24, PromptGraphs::kNone, 90, false, N::kHopper},
  {{0, 5, 12}, StaticFraction::kReserved,          0, 24, PromptGraphs::kOwn, 90, false, N::kBlackwell},
  {{0, 5, 18}, StaticFraction::kReserved,          0, 24, PromptGraphs::kOwn, 90, true, N::kBoth},
};
// clang-format on

EngineProfile sglang_profile(const SglangRow& row) {
  EngineProfile profile = overlapping_profile();
  profile.scheduler = "sglang";
  profile.extra_step = true;
  profile.block_size = 1;  // page_size
  profile.prompt_graphs = row.prompts;
  profile.fused_norms = row.fused_norms;
  profile.fused_norm_models = "deepseek_v3,kimi_k2,gpt_oss,glm4_moe,qwen3_moe";
  profile.half_batches_by_stages = true;
  // determine_num_fused_shared_experts() of SGLang's models.
  profile.fused_shared_expert_models = "deepseek_v3,deepseek_v32,glm4_moe";
  profile.retract_decode_steps = row.retract_steps;
  profile.small_card_graphs = row.small_card_graphs;
  profile.static_fraction = row.fraction;
  profile.launch.eager_layer_us = 0;
  profile.launch.eager_call_us = row.call_us;
  profile.weight_only_fp4 = row.weight_only_fp4;
  profile.memory.budget = KvBudgetRule::kSglang;
  profile.memory.worst_case_moe_workspace = true;
  profile.memory.sampler_copies = kSamplerCopies;
  return profile;
}

struct TrtllmRow {
  Release release;
  bool overlap;     ///< default from 1.0 on; an option of the PyTorch flow before (U)
  bool reuse;       ///< block reuse by default: not in 0.9
  bool graphs;      ///< decode graphs by default: from 1.0 on (U)
  int block_size;   ///< tokens_per_block: 128, then 64, now 32; the first two (U)
  double layer_us;  ///< launch cost of a layer without graphs
  double call_us;   ///< Python per operator, likewise
  /// All-reduce, residual and norm in one kernel: in the PyTorch flow. In 1.0 for models with
  /// experts only, inferred from times per token of Llama-3.1-8B, Qwen3-32B and Qwen3-235B at 2 to
  /// 8 ranks (U).
  FusedNorms fused_norms;
};
constexpr const char* kFusedFirst = "deepseek_v3,kimi_k2,qwen3_moe,llama4_text,gpt_oss";

/// A compiled TensorRT engine is enqueued by one call; its layers are fused further than vLLM's
/// eager ones (10 to 20 kernels at 4 to 6 us, 4.5). Half of that is an estimate.
constexpr double kCompiledLayerUs = 50;
/// As SGLang's, at 4 users on 4 and 8 GPUs, over calls that cover more (HostCallRules): DeepSeek-R1
/// 54 or 78 us on two kinds of host, gpt-oss 45 us, Llama-3.1-70B 48 us (B200) and 71 us (H200) in
/// 1.1 and 1.2.0rc0 to rc2; Qwen3-235B 90 us in 1.0 on H100; DeepSeek-R1 108 us from 1.2.0rc6 on,
/// which calls experts through more Python (`ConfigurableMoE`).
constexpr double kPythonCallUs10 = 90, kPythonCallUs11 = 55, kPythonCallUs12 = 105;

const TrtllmRow kTrtllmRows[] = {
    {{0, 9, 0}, false, false, false, 128, kCompiledLayerUs, 0, N::kNowhere},  // C++ runtime,
                                                                              // TensorRT engines
    {{0, 17, 0}, false, true, false, 64, kCompiledLayerUs, 0, N::kNowhere},
    {{1, 0, 0}, true, true, true, 32, 0, kPythonCallUs10, N::kBoth},  // PyTorch flow
    {{1, 1, 0}, true, true, true, 32, 0, kPythonCallUs11, N::kBoth},
    {{1, 2, 0}, true, true, true, 32, 0, kPythonCallUs12, N::kBoth},
    {{1, 3, 0}, true, true, true, 32, 0, kPythonCallUs12, N::kBoth},
};

EngineProfile trtllm_profile(const TrtllmRow& row) {
  EngineProfile profile = overlapping_profile();
  profile.scheduler = "trtllm";
  profile.async_scheduling = row.overlap;
  profile.extra_step = row.overlap;
  profile.prefix_caching = row.reuse;
  profile.chunked_prefill = false;  // llmapi enable_chunked_prefill, trtllm-build context chunks
  profile.full_graphs = row.graphs;
  profile.prompt_graphs = PromptGraphs::kNone;
  profile.fused_norms = row.fused_norms;
  if (row.release < Release{1, 1, 0}) profile.fused_norm_models = kFusedFirst;
  profile.pad_to_graph = false;  // cuda_graph_config.enable_padding
  profile.block_size = row.block_size;
  profile.gpu_memory_utilization = 0.9;  // free_gpu_memory_fraction
  profile.launch.eager_layer_us = row.layer_us;
  profile.launch.eager_call_us = row.call_us;
  profile.launch.composite_calls = row.call_us > 0;
  profile.weight_only_fp8 = profile.weight_only_fp4 = false;
  profile.memory.budget = KvBudgetRule::kTrtllm;
  profile.memory.utilization = 0.9;
  profile.memory.worst_case_moe_workspace = true;
  profile.memory.sampler_copies = kSamplerCopies;
  return profile;
}

}  // namespace

std::vector<KnownRelease> sglang_releases() {
  std::vector<KnownRelease> result;
  for (const SglangRow& row : kSglangRows) result.push_back({row.release, sglang_profile(row)});
  return result;
}

std::vector<KnownRelease> trtllm_releases() {
  std::vector<KnownRelease> result;
  for (const TrtllmRow& row : kTrtllmRows) result.push_back({row.release, trtllm_profile(row)});
  return result;
}

}  // namespace moesim
