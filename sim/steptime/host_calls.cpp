#include "sim/steptime/host_calls.h"

#include <vector>

namespace moesim {
namespace {

/// Gated delta rule over chunks, as the flash-linear-attention kernels do it: sums of the gates,
/// products of keys, triangular inverse, its products, states, outputs and the norms of queries and
/// of keys, instead of one attention call.
constexpr int kLinearAttentionCalls = 8;

bool quantises_activations(const Op& op) {
  if (op.kind != OpKind::kGemm && op.kind != OpKind::kGroupedGemm) return false;
  return op.weight_format == NumberFormat::kFp8 || op.weight_format == NumberFormat::kFp8Block ||
         op.weight_format == NumberFormat::kNvfp4;
}

int calls(const Op& op) {
  return quantises_activations(op) ? 2 : 1;
}

}  // namespace

double host_calls(const Family& family, const Shard& shard, std::span<const LayerClass> classes) {
  std::vector<Op> ops;
  family.token_ops(shard, classes, 1, ops);
  double sum = 0;
  for (const Op& op : ops) sum += op.repeat * calls(op);
  for (const LayerClass& layers : classes) {
    const bool linear = layers.spec.attention == AttentionKind::kLinear;
    sum += layers.layers * (linear ? kLinearAttentionCalls : 1);
    if (!layers.spec.moe) continue;
    constexpr std::uint32_t kOneToken[] = {1};
    sum += layers.layers * calls(family.experts(shard, layers, 1, kOneToken));
  }
  return sum;
}

}  // namespace moesim
