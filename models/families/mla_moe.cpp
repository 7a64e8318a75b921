#include <algorithm>

#include "models/family_ops.h"
#include "sim/base/reader.h"
#include "sim/base/registry.h"

namespace moesim {

namespace {

constexpr double kActivationBytes = 2;

// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): every rank caches the whole latent.
// Decoding attends in latent space ("absorbed"), prompts are projected up to heads first.
// serving-semantics 4.2.
class MlaMoe final : public FamilyBase {
 public:
  Op attention_decode(const Shard& shard, const LayerClass& layers, int sequences,
                      std::int64_t kv_tokens) const override {
    const MlaSpec& mla = shard.model->mla;
    const double heads = shard.heads;
    const double latent = mla.kv_rank;
    const auto context = static_cast<double>(kv_tokens);
    const double visible = sparse_context(mla, sequences, context);
    Op op = latent_op(shard, layers, OpKind::kMlaDecode);
    // Fold W_UK into the queries, attend over latents, unfold W_UV.
    op.flops = 2 * sequences * heads * latent * (mla.nope_dim + mla.v_dim) +
               2 * heads * (2 * latent + mla.rope_dim) * visible + index_flops(mla, context);
    op.weight_bytes = visible * latent_bytes(shard, layers) + index_bytes(mla, context);
    op.activation_bytes =
        kActivationBytes * (sequences * heads * (2 * latent + mla.rope_dim)) + up_weights(shard);
    op.m = sequences;
    op.n = static_cast<std::int64_t>(visible);
    op.pairs = visible;
    op.sequences = sequences;
    return op;
  }

  Op attention_prefill(const Shard& shard, const LayerClass& layers, int new_tokens,
                       int cached) const override {
    const MlaSpec& mla = shard.model->mla;
    const double heads = shard.heads;
    const Visible visible = visible_tokens(layers.spec, new_tokens, cached);
    const double up_width = heads * (mla.nope_dim + mla.v_dim);
    Op op = latent_op(shard, layers, OpKind::kMlaPrefill);
    // Sparse attention shortens long rows: each query looks at index_topk tokens at most.
    const double pairs = sparse_context(mla, new_tokens, visible.pairs);
    op.flops = 2 * visible.keys * mla.kv_rank * up_width +
               2 * heads * (mla.nope_dim + mla.rope_dim + mla.v_dim) * pairs +
               index_flops(mla, visible.pairs);
    op.weight_bytes = visible.keys * latent_bytes(shard, layers) + index_bytes(mla, visible.keys);
    // Queries in, outputs, and the projected keys and values written and read once.
    op.activation_bytes =
        kActivationBytes * (new_tokens * heads * (mla.nope_dim + mla.rope_dim + mla.v_dim) +
                            2 * visible.keys * up_width) +
        up_weights(shard);
    op.m = new_tokens;
    op.n = static_cast<std::int64_t>(visible.keys);
    op.pairs = pairs;
    op.longest = op.n;
    op.sequences = 1;
    if (mla.index_heads == 0) {  // kernels of sparse attention look latents up, in either path
      op.expand_n = std::int64_t{shard.heads} * (mla.nope_dim + mla.v_dim);
      op.expand_k = mla.kv_rank;
    }
    return op;
  }

 private:
  void append_attention(const Shard& shard, const LayerClass& layers, int tokens,
                        std::vector<Op>& out) const override {
    const ModelSpec& model = *shard.model;
    const MlaSpec& mla = model.mla;
    const NumberFormat format = model.precisions.attention;
    const int n = layers.layers;
    const std::size_t first = out.size();
    const std::int64_t query_width = std::int64_t{shard.heads} * (mla.nope_dim + mla.rope_dim);
    const std::int64_t latent_width = mla.kv_rank + mla.rope_dim;
    // Engines fuse the two down-projections; both are replicated on every rank.
    const std::int64_t down = mla.q_rank + latent_width;
    out.push_back(gemm(Term::kAttentionProj, n, tokens, down, model.hidden, format));
    // Norms of both latents, side by side.
    const double latents =
        static_cast<double>(tokens) * static_cast<double>(mla.q_rank + mla.kv_rank);
    out.push_back(elementwise(Term::kElementwise, MemoryPart::kInnerNorm, n, tokens, 5 * latents,
                              2 * kActivationBytes * latents));
    const std::int64_t query_input = mla.q_rank > 0 ? mla.q_rank : model.hidden;
    out.push_back(gemm(Term::kAttentionProj, n, tokens, query_width, query_input, format));
    if (mla.index_heads > 0) append_indexer(shard, layers, tokens, out);
    const double rotary = static_cast<double>(tokens) * mla.rope_dim * (shard.heads + 1);
    out.push_back(elementwise(Term::kElementwise, MemoryPart::kRotary, n, tokens, 0,
                              2 * kActivationBytes * rotary));
    const double written =
        kActivationBytes * static_cast<double>(latent_width) + latent_bytes(shard, layers);
    out.push_back(
        elementwise(Term::kElementwise, MemoryPart::kKvWrite, n, tokens, 0, tokens * written));
    mark_before_attention(out, first);
    const std::int64_t out_width = std::int64_t{shard.heads} * mla.v_dim;
    out.push_back(gemm(Term::kAttentionProj, n, tokens, model.hidden, out_width, format));
    if (shard.parallel.tp > 1) out.push_back(hidden_all_reduce(shard, n, tokens));
  }

  /// The indexer of sparse attention (DeepSeek-V3.2, arXiv 2512.02556, section 2.1): queries from
  /// the latent, one key a token and a weight a head from the hidden state, the key's norm, rotary
  /// embedding and quantisation of both, and the choice of the best keys by their scores.
  static void append_indexer(const Shard& shard, const LayerClass& layers, int tokens,
                             std::vector<Op>& out) {
    const ModelSpec& model = *shard.model;
    const MlaSpec& mla = model.mla;
    const int n = layers.layers;
    const std::int64_t width = std::int64_t{mla.index_heads} * mla.index_dim;
    const NumberFormat plain = model.precisions.activation;
    out.push_back(
        gemm(Term::kAttentionProj, n, tokens, width, mla.q_rank, model.precisions.attention));
    out.push_back(gemm(Term::kAttentionProj, n, tokens, mla.index_dim, model.hidden, plain));
    out.push_back(gemm(Term::kAttentionProj, n, tokens, mla.index_heads, model.hidden, plain));
    const double keys = static_cast<double>(tokens) * mla.index_dim;
    const double both = keys + static_cast<double>(tokens) * static_cast<double>(width);
    const auto stream = [&](MemoryPart part, double elements) {
      out.push_back(
          elementwise(Term::kElementwise, part, n, tokens, 0, 2 * kActivationBytes * elements));
    };
    stream(MemoryPart::kInnerNorm, keys);
    stream(MemoryPart::kRotary, both);
    stream(MemoryPart::kRotary, both);
    stream(MemoryPart::kInnerNorm, static_cast<double>(tokens) * mla.index_topk);
  }

  static Op latent_op(const Shard& shard, const LayerClass& layers, OpKind kind) {
    Op op;
    op.kind = kind;
    op.term = Term::kAttention;
    op.repeat = layers.layers;
    op.weight_format = shard.model->precisions.kv_cache;
    op.k = shard.heads;
    op.kv_heads = 1;
    op.head_dim = shard.model->mla.kv_rank + shard.model->mla.rope_dim;
    return op;
  }

  static double latent_bytes(const Shard& shard, const LayerClass& layers) {
    return static_cast<double>(kv_bytes_per_token_layer(shard, layers.spec).value());
  }

  // W_UK and W_UV of this rank, read once per call in either path; kept beside the activations so
  // that `weight_bytes` is the KV read alone.
  static double up_weights(const Shard& shard) {
    const MlaSpec& mla = shard.model->mla;
    return kActivationBytes * mla.kv_rank * shard.heads * (mla.nope_dim + mla.v_dim);
  }

  // DeepSeek-V3.2 and GLM-5 attend to index_topk tokens per query. Exact if contexts are all longer
  // or all shorter.
  static double sparse_context(const MlaSpec& mla, int queries, double context) {
    if (mla.index_heads == 0) return context;
    return std::min(context, static_cast<double>(queries) * mla.index_topk);
  }

  static double index_flops(const MlaSpec& mla, double pairs) {
    return 2.0 * mla.index_heads * mla.index_dim * pairs;
  }

  // Index keys are fp8 with a 4-byte scale.
  static double index_bytes(const MlaSpec& mla, double tokens) {
    return mla.index_heads == 0 ? 0 : tokens * (mla.index_dim + 4);
  }
};

const Register<Family> kMlaMoe{"mla_moe", "multi-head latent attention (DeepSeek, Kimi, GLM-5)",
                               [](Reader&) { return std::make_unique<MlaMoe>(); }};

}  // namespace

}  // namespace moesim
