#include "sim/steptime/host_calls.h"

#include <vector>

namespace moesim {
namespace {

/// Gated delta rule over chunks, as the flash-linear-attention kernels do it: sums of the gates,
/// products of keys, triangular inverse, its products, states, outputs and the norms of queries and
/// of keys, instead of one attention call.
constexpr int kLinearAttentionCalls = 8;

/// Composite rules only, whose engine's prompts of latent attention expand keys and values (a
/// product), copy both parts of every key and join latents with rotated keys (TensorRT-LLM,
/// `MLA.forward_context_default`).
constexpr int kLatentPromptCalls = 4;

bool quantises_activations(const Op& op) {
  if (op.kind != OpKind::kGemm && op.kind != OpKind::kGroupedGemm) return false;
  return op.weight_format == NumberFormat::kFp8 || op.weight_format == NumberFormat::kFp8Block ||
         op.weight_format == NumberFormat::kNvfp4;
}

int calls(const Op& op) {
  return quantises_activations(op) ? 2 : 1;
}

/// Elementwise work inside another operator's call.
bool is_inside(const Op& op, HostCallRules rules) {
  switch (op.part) {
    case MemoryPart::kRotary:
    case MemoryPart::kKvWrite:
    case MemoryPart::kRouting:
    case MemoryPart::kAlign:
    case MemoryPart::kExpertSum:
      return rules.composite;
    case MemoryPart::kNorm:
      return rules.norms_in_all_reduce;
    default:
      return false;
  }
}

/// The norm in the all-reduce quantises the hidden state, per tensor or to NVFP4, not in blocks.
/// Products that lead back to it (n = hidden) read something else, however wide that is.
bool is_quantised_by_norm(const Op& op, const Shard& shard, HostCallRules rules) {
  return rules.composite && rules.norms_in_all_reduce && op.kind == OpKind::kGemm &&
         op.k == shard.model->hidden && op.n != op.k && op.weight_format != NumberFormat::kFp8Block;
}

int attention_calls(const LayerSpec& layer, const Shard& shard, HostCallRules rules) {
  if (layer.attention == AttentionKind::kLinear) return kLinearAttentionCalls;
  return shard.model->is_mla() && rules.composite ? 1 + kLatentPromptCalls : 1;
}

}  // namespace

double host_calls(const Family& family, const Shard& shard, std::span<const LayerClass> classes,
                  HostCallRules rules) {
  std::vector<Op> ops;
  family.token_ops(shard, classes, 1, ops);
  double sum = 0;
  for (const Op& op : ops) {
    if (op.kind == OpKind::kElementwise && is_inside(op, rules)) continue;
    sum += op.repeat * (is_quantised_by_norm(op, shard, rules) ? 1 : calls(op));
  }
  for (const LayerClass& layers : classes) {
    sum += layers.layers * attention_calls(layers.spec, shard, rules);
    if (!layers.spec.moe) continue;
    constexpr std::uint32_t kOneToken[] = {1};
    sum += layers.layers * calls(family.experts(shard, layers, 1, kOneToken));
  }
  return sum;
}

}  // namespace moesim
