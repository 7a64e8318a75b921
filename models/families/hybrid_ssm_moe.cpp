#include "models/family_ops.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {

namespace {

constexpr double kStateBytes = 2;  // state is kept in the activation format

// Linear-attention layers (Mamba in Jamba, gated delta net in Qwen3-Next and 3.5) among full ones.
// A linear layer's step reads and writes a state of constant size per sequence, whatever the
// context.
class HybridSsmMoe final : public FamilyBase {
 public:
  Op attention_decode(const Shard& shard, const LayerClass& layers, int sequences,
                      std::int64_t kv_tokens) const override {
    if (layers.spec.attention != AttentionKind::kLinear)
      return gqa_decode(shard, layers, sequences, kv_tokens);
    return state_op(shard, layers, sequences, sequences);
  }

  Op attention_prefill(const Shard& shard, const LayerClass& layers, int new_tokens,
                       int cached) const override {
    if (layers.spec.attention != AttentionKind::kLinear)
      return gqa_prefill(shard, layers, new_tokens, cached);
    return state_op(shard, layers, 1, new_tokens);
  }

 private:
  void append_attention(const Shard& shard, const LayerClass& layers, int tokens,
                        std::vector<Op>& out) const override {
    if (layers.spec.attention == AttentionKind::kLinear) {
      append_mixer(shard, layers, tokens, out);
    } else {
      append_gqa_projections(shard, layers, tokens, out);
    }
  }

  // A token updates every element of the state and reads it out: 2 multiply-adds each. Chunked scan
  // kernels keep the state on chip within a prompt, so it crosses memory once per sequence, not per
  // token.
  static Op state_op(const Shard& shard, const LayerClass& layers, int sequences, int tokens) {
    const double state =
        static_cast<double>(shard.model->linear.state_elements) / shard.parallel.tp;
    const double width = static_cast<double>(shard.model->hidden) / shard.parallel.tp;
    const double moved = 2 * kStateBytes * (sequences * state + 2 * tokens * width);
    Op op = elementwise(Term::kAttention, MemoryPart::kState, layers.layers, tokens,
                        4 * tokens * state, moved);
    op.sequences = sequences;
    return op;
  }
};

const Register<Family> kHybridSsmMoe{"hybrid_ssm_moe",
                                     "linear-attention layers among full ones (Jamba, Qwen3-Next)",
                                     [](Reader&) { return std::make_unique<HybridSsmMoe>(); }};

}  // namespace

}  // namespace moesim
