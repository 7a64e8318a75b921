// Peak memory of the profile forward: serving-semantics 2.6.

#include <algorithm>
#include <cmath>

#include "models/family.h"
#include "models/memory.h"

namespace moesim {

namespace {

constexpr double kHalf = 2;  // bytes of a bf16 or fp16 activation
constexpr double kFp32 = 4;

bool is_low_latency(const std::string& backend) {
  return backend == "deepep_low_latency" || backend == "pplx";
}

// Tokens that reach the experts of this rank in the profile run.
double moe_tokens(const Shard& shard, const LayerSpec& layer, const MemoryInputs& inputs,
                  double tokens) {
  const Parallel& parallel = shard.parallel;
  double arriving = tokens;
  if (parallel.dp > 1 && inputs.all2all_backend == "deepep_high_throughput" &&
      parallel.expert_parallel) {
    // Balanced routing: a token is sent once to each of the ranks that hold any of its experts
    // (3.4).
    double missed = 1;  // probability that a token has no expert here
    const double local = static_cast<double>(layer.num_experts) / parallel.moe_group();
    for (int i = 0; i < layer.top_k; ++i)
      missed *= std::max(0.0, 1 - local / (layer.num_experts - i));
    arriving = tokens * parallel.moe_group() * (1 - missed);
  } else if (parallel.dp > 1 && inputs.rules.worst_case_moe_workspace) {
    arriving = tokens * parallel.dp;  // all-gather: every rank's tokens
  }
  if (inputs.rules.fused_moe_chunk > 0)
    arriving = std::min(arriving, static_cast<double>(inputs.rules.fused_moe_chunk));
  return arriving;
}

double moe_workspace(const Shard& shard, const LayerSpec& layer, const MemoryInputs& inputs,
                     double tokens) {
  const double hidden = shard.model->hidden;
  const double width = shard.expert_slice(layer);
  if (is_low_latency(inputs.all2all_backend) && shard.parallel.dp > 1) {
    // Batched experts: room for every rank's tokens at every local expert, whatever arrives.
    const double rows = shard.local_experts(layer) * tokens * shard.parallel.moe_group();
    return rows * (std::max(hidden, 2 * width) + width + hidden) * kHalf;
  }
  const double arriving = moe_tokens(shard, layer, inputs, tokens);
  // A rank that sends tokens on computes the pairs of its own experts: on balance as many as it
  // sent. Only vLLM's later profile runs make room for every expert of every token that arrives.
  const bool roomy =
      inputs.rules.worst_case_moe_workspace && inputs.rules.budget == KvBudgetRule::kVllm;
  const bool sent = inputs.all2all_backend == "deepep_high_throughput" &&
                    shard.parallel.expert_parallel && shard.parallel.dp > 1 && !roomy;
  const double pairs = tokens * shard.parallel.moe_group() * layer.top_k / shard.parallel.moe_ep();
  const double rows = sent ? pairs : arriving * layer.top_k;
  const double workspaces = rows * (std::max(width, hidden) + std::max(2 * width, hidden)) * kHalf;
  const bool fp8 = payload_bits(shard.model->precisions.experts) == 8;
  return workspaces + arriving * hidden * (kHalf + (fp8 ? 1 : 0));
}

double layer_workspace(const Shard& shard, const LayerSpec& layer, const MemoryInputs& inputs,
                       double tokens) {
  const AttentionSlice slice = attention_slice(shard, layer);
  const double attention = tokens * (slice.qkv_width + slice.out_width) * kHalf;
  const double dense = tokens * 3 * (shard.dense_slice(layer) + shard.shared_slice(layer)) * kHalf;
  const double moe = layer.moe ? moe_workspace(shard, layer, inputs, tokens) : 0;
  // Shared experts, or a dense branch, run beside the routed ones.
  return std::max(attention, dense + moe);
}

// Context of chunked MLA prefill: latents of up to 64 Ki tokens and their projection to heads.
double mla_workspace(const Shard& shard, const MemoryInputs& inputs) {
  const ModelSpec& model = *shard.model;
  if (!model.is_mla()) return 0;
  const std::int64_t length =
      inputs.max_model_len > 0 ? inputs.max_model_len : model.max_position_embeddings;
  const std::int64_t floor = std::int64_t{inputs.max_num_seqs} * inputs.block_size;
  constexpr std::int64_t kLargest = 65536;
  const auto tokens =
      static_cast<double>(std::max(std::min(std::max(8 * length, 4 * floor), kLargest), floor));
  const double latent = model.mla.kv_rank + model.mla.rope_dim;
  const double up = static_cast<double>(shard.heads) * (model.mla.nope_dim + model.mla.v_dim);
  return tokens * (latent + up) * kHalf;
}

double residual_bytes(const Shard& shard, double tokens) {
  return 2 * tokens * shard.model->hidden * kHalf;
}

double largest_layer(const Shard& shard, const MemoryInputs& inputs, double tokens) {
  double peak = 0;
  for (const LayerClass& layers : layer_classes(shard)) {
    peak = std::max(peak, layer_workspace(shard, layers.spec, inputs, tokens));
  }
  return peak;
}

}  // namespace

Bytes forward_workspace(const Shard& shard, const MemoryInputs& inputs, int tokens) {
  return Bytes(std::llround(largest_layer(shard, inputs, tokens) + residual_bytes(shard, tokens)));
}

Bytes activation_peak(const Shard& shard, const MemoryInputs& inputs) {
  const ModelSpec& model = *shard.model;
  const double tokens = inputs.max_num_batched_tokens;
  double peak = largest_layer(shard, inputs, tokens);
  if (shard.has_lm_head) {
    // Logits are gathered over TP before sampling.
    const double rows = std::min(inputs.max_num_batched_tokens, inputs.max_num_seqs);
    peak = std::max(peak, rows * model.vocab * kFp32 * inputs.rules.sampler_copies);
  }
  if (shard.has_embedding) {
    // A second copy of the embedding slice is alive at the peak. Found in all eight vLLM 0.15.1
    // logs of the memory table: halving with TP, independent of batched tokens, exact to 0.1 GiB;
    // the allocation itself is not known.
    peak = std::max(peak, static_cast<double>(vocab_slice(shard)) * model.hidden * kHalf);
  }
  return Bytes(std::llround(peak + residual_bytes(shard, tokens) + mla_workspace(shard, inputs)));
}

}  // namespace moesim
