// Launch commands of SGLang, TensorRT-LLM and llama.cpp.
#include <algorithm>
#include <fmt/ranges.h>
#include <span>
#include <string_view>

#include "sim/report/reproduce_parts.h"

namespace moesim {

namespace {

struct ExpertName {
  std::string_view ours, theirs;
};
constexpr ExpertName kSglangExperts[] = {{"deepgemm", "deep_gemm"},
                                         {"trtllm_gen", "flashinfer_trtllm"},
                                         {"cutlass", "flashinfer_cutlass"}};
constexpr ExpertName kTrtllmExperts[] = {
    {"deepgemm", "DEEPGEMM"}, {"trtllm_gen", "TRTLLM"}, {"cutlass", "CUTLASS"}};

/// An engine's word for one of `moe_backend`'s values.
std::string flag_value(std::string_view ours, std::span<const ExpertName> names) {
  const auto at = std::ranges::find(names, ours, &ExpertName::ours);
  return std::string(at == names.end() ? ours : at->theirs);
}

}  // namespace

namespace {

// SGLang's tensor parallel size counts all ranks; attention data parallelism divides it.
void add_sglang_ranks(const Scenario& scenario, const Parallel& parallel, Command& out) {
  if (parallel.moe_group() != 1) out.flag("--tp-size", parallel.moe_group());
  if (parallel.dp != 1) {
    out.flag("--dp-size", parallel.dp);
    out.flag("--enable-dp-attention");
  }
  if (parallel.expert_parallel) out.flag("--ep-size", parallel.moe_ep());
  if (scenario.placement.name == "eplb" && parallel.expert_parallel) {
    const PlacementSpec& placement = scenario.placement;
    if (placement.rebalances()) out.flag("--enable-eplb");
    out.flag("--ep-num-redundant-experts", placement.num_redundant_experts);
    if (placement.rebalances())
      out.flag("--eplb-rebalance-num-iterations", placement.step_interval);
    if (placement.init_expert_location != "trivial") out.flag("--init-expert-location", "FILE");
  }
}

}  // namespace

/// The sizes are always written out: their defaults depend on the card and the release.
Command sglang_launch(const Scenario& scenario, const InstanceSpec& spec) {
  const EngineSpec& engine = spec.engine;
  Command out(
      fmt::format("python -m sglang.launch_server --model-path {}", word(scenario.model.id)));
  add_sglang_ranks(scenario, spec.parallel, out);
  out.flag("--context-length", engine.max_model_len);
  out.flag("--mem-fraction-static", number(engine.gpu_memory_utilization));
  out.flag("--chunked-prefill-size",
           engine.enable_chunked_prefill ? engine.max_num_batched_tokens : -1);
  out.flag("--max-prefill-tokens", engine.sglang.max_prefill_tokens);
  if (!engine.max_num_seqs_by_memory) out.flag("--max-running-requests", engine.max_num_seqs);
  out.flag("--schedule-policy", engine.sglang.longest_prefix_first ? "lpm" : "fcfs");
  if (engine.sglang.schedule_conservativeness != 1)
    out.flag("--schedule-conservativeness", number(engine.sglang.schedule_conservativeness));
  if (engine.sglang.scheduler_recv_interval != 1)
    out.flag("--scheduler-recv-interval", engine.sglang.scheduler_recv_interval);
  if (engine.moe_backend != "auto")
    out.flag("--moe-runner-backend", flag_value(engine.moe_backend, kSglangExperts));
  if (engine.block_size != engine.profile.block_size) out.flag("--page-size", engine.block_size);
  if (engine.num_gpu_blocks_override)
    out.flag("--max-total-tokens", (*engine.num_gpu_blocks_override - 1) * engine.block_size);
  if (!engine.enable_prefix_caching) out.flag("--disable-radix-cache");
  if (engine.sglang.enable_mixed_chunk) out.flag("--enable-mixed-chunk");
  if (!engine.async_scheduling) out.flag("--disable-overlap-schedule");
  if (engine.enable_dbo) out.flag("--enable-two-batch-overlap");
  const std::string fused = ',' + engine.profile.fused_shared_expert_models + ',';
  if (!engine.fuse_shared_expert &&
      fused.find(',' + scenario.model.model_type + ',') != std::string::npos)
    out.flag("--disable-shared-experts-fusion");
  if (engine.enforce_eager) {
    out.flag("--disable-cuda-graph");
  } else {
    out.flag("--cuda-graph-bs", fmt::format("{}", fmt::join(engine.cudagraph_capture_sizes, " ")));
  }
  return out;
}

Command trtllm_launch(const Scenario& scenario, const InstanceSpec& spec,
                      std::vector<std::string>& notes) {
  const EngineSpec& engine = spec.engine;
  const bool policy = engine.trtllm.max_utilization;
  notes.push_back(fmt::format(
      "# options.yaml: {{enable_chunked_prefill: {}, disable_overlap_scheduler: {}, "
      "scheduler_config: {{capacity_scheduler_policy: {}}}, kv_cache_config: {{"
      "free_gpu_memory_fraction: {}, enable_block_reuse: {}, tokens_per_block: {}}}, "
      "cuda_graph_config: {}}}",
      engine.enable_chunked_prefill, !engine.async_scheduling,
      policy ? "MAX_UTILIZATION" : "GUARANTEED_NO_EVICT", number(engine.gpu_memory_utilization),
      engine.enable_prefix_caching, engine.block_size,
      engine.enforce_eager
          ? "null"
          : fmt::format("{{enable_padding: {}, batch_sizes: [{}]}}", engine.profile.pad_to_graph,
                        fmt::join(engine.cudagraph_capture_sizes, ", "))));
  Command out(fmt::format("trtllm-serve {}", word(scenario.model.id)));
  const Parallel& parallel = spec.parallel;
  if (parallel.moe_group() != 1) out.flag("--tp_size", parallel.moe_group());
  if (parallel.expert_parallel) out.flag("--ep_size", parallel.moe_ep());
  if (parallel.dp != 1) notes.push_back("# and in options.yaml: enable_attention_dp: true");
  const AttentionDpConfig& ranks = engine.trtllm.attention_dp;
  if (ranks.enable_balance)
    notes.push_back(fmt::format(
        "# and in options.yaml: attention_dp_config: {{enable_balance: true, timeout_iters: {}, "
        "batching_wait_iters: {}}}",
        ranks.timeout_iters, ranks.batching_wait_iters));
  out.flag("--max_seq_len", engine.max_model_len);
  out.flag("--max_batch_size", engine.max_num_seqs);
  out.flag("--max_num_tokens", engine.max_num_batched_tokens);
  out.flag("--extra_llm_api_options", "options.yaml");
  if (engine.moe_backend != "auto")
    notes.push_back(fmt::format("# and in options.yaml: moe_config: {{backend: {}}}",
                                flag_value(engine.moe_backend, kTrtllmExperts)));
  if (engine.trtllm.batch_wait_timeout_iters > 0)
    notes.push_back(fmt::format(
        "# and in options.yaml: batch_wait_timeout_iters: {}, batch_wait_max_tokens_ratio: {}",
        engine.trtllm.batch_wait_timeout_iters, number(engine.trtllm.batch_wait_max_tokens_ratio)));
  if (engine.num_gpu_blocks_override)
    notes.push_back(fmt::format("# and in kv_cache_config: max_tokens: {}",
                                *engine.num_gpu_blocks_override * engine.block_size));
  return out;
}

std::optional<Command> llama_launch(const Scenario& scenario, const InstanceSpec& spec,
                                    std::vector<std::string>& notes) {
  const ExpertOffload& offload = *scenario.offload;
  if (offload.policy != OffloadPolicy::kWholeLayers || spec.parallel.moe_group() > 1 ||
      spec.parallel.pp > 1) {
    notes.emplace_back(
        "# experts on the CPU: llama.cpp keeps whole layers of them there (policy: whole_layers) "
        "and is compared with one GPU; there is no command for the rest");
    return std::nullopt;
  }
  // Layers are counted over the model, dense ones included.
  int away = scenario.model.num_moe_layers() - offload.kept(scenario.model.num_moe_layers());
  int layers = 0;
  while (away > 0) away -= scenario.model.layers[static_cast<std::size_t>(layers++)].moe ? 1 : 0;
  const EngineSpec& engine = spec.engine;
  notes.push_back(fmt::format(
      "# MODEL.gguf: {} in the scenario's precision; steps are scheduled as {} does, not llama.cpp",
      scenario.model.id, engine.backend));
  Command out("llama-server --model MODEL.gguf --port 8000");
  out.flag("--n-gpu-layers", 999);
  out.flag("--n-cpu-moe", layers);
  out.flag("--ctx-size", std::int64_t{engine.max_model_len} * engine.max_num_seqs);
  out.flag("--parallel", engine.max_num_seqs);
  out.flag("--batch-size", engine.max_num_batched_tokens);
  out.flag("--ubatch-size", engine.max_num_batched_tokens);
  return out;
}

}  // namespace moesim
