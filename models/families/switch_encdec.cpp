#include "models/family_ops.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {

namespace {

// Switch Transformer (Fedus et al., JMLR 23, 2022): T5 encoder and decoder, top-1 experts of two
// matrices. A prompt passes the encoder, whose output the decoder attends to. `token_ops` counts
// every token through both stacks, an upper bound: the step does not say which tokens are prompts.
class SwitchEncDec final : public FamilyBase {
 public:
  // A decoder layer attends to its own outputs and to the encoded prompt: together the whole
  // context.
  Op attention_decode(const Shard& shard, const LayerClass& layers, int sequences,
                      std::int64_t kv_tokens) const override {
    if (layers.spec.encoder)
      return elementwise(Term::kAttention, MemoryPart::kOther, layers.layers, 0, 0, 0);
    return gqa_decode(shard, layers, sequences, kv_tokens);
  }

  // A prompt is read by the encoder, every token seeing all; the decoder only stores keys and
  // values of it.
  Op attention_prefill(const Shard& shard, const LayerClass& layers, int new_tokens,
                       int cached) const override {
    if (!layers.spec.encoder)
      return elementwise(Term::kAttention, MemoryPart::kOther, layers.layers, 0, 0, 0);
    Op op = gqa_prefill(shard, layers, new_tokens, cached);
    const AttentionSlice slice = attention_slice(shard, layers.spec);
    // Keys and values in 16 bit, never cached.
    op.weight_bytes = 4.0 * static_cast<double>(op.n) * slice.kv_heads * slice.head_dim;
    return op;
  }

 private:
  void append_attention(const Shard& shard, const LayerClass& layers, int tokens,
                        std::vector<Op>& out) const override {
    append_gqa_projections(shard, layers, tokens, out);
  }
};

const Register<Family> kSwitchEncDec{"switch_encdec",
                                     "Switch Transformer: encoder, decoder, top-1 experts",
                                     [](Reader&) { return std::make_unique<SwitchEncDec>(); }};

}  // namespace

}  // namespace moesim
