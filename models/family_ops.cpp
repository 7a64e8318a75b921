#include "models/family_ops.h"

#include <algorithm>

#include "models/expert_sums.h"

namespace moesim {

namespace {

constexpr double kActivationBytes = 2;  // bf16 or fp16
constexpr double kLogitBytes = 4;       // fp32

double payload_bytes(std::int64_t weights, double bits) {
  return static_cast<double>(weights) * bits / 8;
}

}  // namespace

Visible visible_tokens(const LayerSpec& layer, int new_tokens, int cached) {
  const double q = new_tokens;
  const double c = cached;
  const double window = layer.window;
  if (layer.encoder) return {.pairs = q * (q + c), .keys = q + c};
  if (layer.attention == AttentionKind::kSliding && q + c > window) {
    // Token p sees min(p + 1, W) keys: the first W - 1 - c of the chunk are still in the growing
    // part.
    const double growing = std::clamp(window - c, 0.0, q);
    const double pairs = growing * c + growing * (growing + 1) / 2 + (q - growing) * window;
    return {.pairs = pairs, .keys = std::min(c, window - 1) + q};
  }
  if (layer.attention == AttentionKind::kChunked && q + c > window) {
    // Token p sees p mod W + 1 keys. Sum over [0, n): whole chunks of W(W+1)/2, then a triangle.
    const auto sum_below = [&layer](std::int64_t n) {
      const double chunk = layer.window;
      const std::int64_t whole = n / layer.window;
      const std::int64_t rest = n % layer.window;
      return static_cast<double>(whole) * chunk * (chunk + 1) / 2 +
             static_cast<double>(rest * (rest + 1)) / 2;
    };
    const std::int64_t end = std::int64_t{cached} + new_tokens;
    return {.pairs = sum_below(end) - sum_below(cached),
            .keys = static_cast<double>(cached % layer.window) + q};
  }
  return {.pairs = q * c + q * (q + 1) / 2, .keys = c + q};
}

Op gemm(Term term, int repeat, std::int64_t m, std::int64_t n, std::int64_t k,
        NumberFormat weights) {
  Op op;
  op.kind = OpKind::kGemm;
  op.term = term;
  op.repeat = repeat;
  op.flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  op.weight_bytes = payload_bytes(n * k, bits_per_weight(weights));
  op.activation_bytes = kActivationBytes * static_cast<double>(m) * static_cast<double>(n + k);
  op.weight_format = weights;
  op.m = m;
  op.n = n;
  op.k = k;
  return op;
}

Op elementwise(Term term, MemoryPart part, int repeat, std::int64_t rows, double flops,
               double bytes) {
  Op op;
  op.m = rows;
  op.part = part;
  op.kind = OpKind::kElementwise;
  op.term = term;
  op.repeat = repeat;
  op.flops = flops;
  op.activation_bytes = bytes;
  return op;
}

Op hidden_all_reduce(const Shard& shard, int repeat, int tokens) {
  Op op;
  op.kind = OpKind::kAllReduce;
  op.term = Term::kAllReduce;
  op.repeat = repeat;
  op.message_bytes = kActivationBytes * tokens * shard.model->hidden;
  return op;
}

void append_embedding(const Shard& shard, int tokens, std::vector<Op>& out) {
  if (!shard.has_embedding) return;
  const double row = kActivationBytes * shard.model->hidden;
  out.push_back(
      elementwise(Term::kEmbedding, MemoryPart::kEmbedding, 1, tokens, 0, 2 * tokens * row));
  if (shard.parallel.tp > 1) out.push_back(hidden_all_reduce(shard, 1, tokens));
}

void append_norms(const Shard& shard, int repeat, int tokens, std::vector<Op>& out) {
  // Reads and writes both the hidden state and the residual: 4 T H b, about 5 operations an element
  // (4.1).
  const double elements = static_cast<double>(tokens) * shard.model->hidden;
  out.push_back(elementwise(Term::kElementwise, MemoryPart::kNorm, repeat, tokens, 5 * elements,
                            4 * elements * kActivationBytes));
}

namespace {

void append_gated(const Shard& shard, Term term, int repeat, int tokens, int width,
                  std::vector<Op>& out) {
  if (width == 0) return;
  const ModelSpec& model = *shard.model;
  const NumberFormat format =
      term == Term::kSharedExpert ? model.precisions.shared_experts : model.precisions.dense_ffn;
  const int inputs = model.expert_matrices - 1;  // gate and up, or up alone (Switch)
  out.push_back(gemm(term, repeat, tokens, std::int64_t{inputs} * width, model.hidden, format));
  const double elements = static_cast<double>(tokens) * width;
  out.push_back(elementwise(term, MemoryPart::kActivation, repeat, tokens, 4 * elements,
                            kActivationBytes * elements * (inputs + 1)));
  out.push_back(gemm(term, repeat, tokens, model.hidden, width, format));
}

// Token-expert pairs this rank gathers, given an even spread: all of its group's tokens with
// experts cut, its share with whole experts.
double expected_pairs(const Shard& shard, const LayerSpec& layer, int tokens) {
  const int chosen = layer.top_k + (shard.parallel.fused_shared_expert ? 1 : 0);
  const double group_pairs = static_cast<double>(tokens) * shard.parallel.dp * chosen;
  return group_pairs / shard.parallel.moe_ep();
}

void append_router(const Shard& shard, const LayerClass& layers, int tokens, std::vector<Op>& out) {
  const ModelSpec& model = *shard.model;
  const LayerSpec& layer = layers.spec;
  const int n = layers.layers;
  out.push_back(
      gemm(Term::kRouter, n, tokens, layer.num_experts, model.hidden, model.precisions.activation));
  const double scores = static_cast<double>(tokens) * layer.num_experts;
  const double chosen = static_cast<double>(tokens) * layer.top_k;
  constexpr double kPairBytes = 8;  // a 4-byte id and a 4-byte weight
  out.push_back(elementwise(Term::kRouter, MemoryPart::kRouting, n, tokens, 5 * scores,
                            kLogitBytes * scores + kPairBytes * chosen));
  // Align: ids are sorted by expert, read and written once. The sum over a token's experts reads
  // every row.
  const double pairs = expected_pairs(shard, layer, tokens);
  out.push_back(
      elementwise(Term::kElementwise, MemoryPart::kAlign, n, tokens, 0, 2 * kPairBytes * pairs));
  const double row = kActivationBytes * model.hidden;
  out.push_back(elementwise(Term::kElementwise, MemoryPart::kExpertSum, n, tokens,
                            pairs * model.hidden, (pairs + tokens) * row));
}

/// Of the gate on the shared expert a product of one column and its sigmoid times the output; the
/// output is then added to the routed experts' sum.
void append_shared_sum(const Shard& shard, const LayerClass& layers, int tokens,
                       std::vector<Op>& out) {
  const ModelSpec& model = *shard.model;
  if (layers.spec.shared_intermediate == 0 || !layers.spec.moe) return;
  const double elements = static_cast<double>(tokens) * model.hidden;
  constexpr int kTwoInOneOut = 3;
  const double bytes = kTwoInOneOut * kActivationBytes * elements;
  if (model.shared_gate) {
    out.push_back(gemm(Term::kSharedExpert, layers.layers, tokens, 1, model.hidden,
                       model.precisions.activation));
    out.push_back(elementwise(Term::kSharedExpert, MemoryPart::kActivation, layers.layers, tokens,
                              4 * elements, bytes));
  }
  out.push_back(elementwise(Term::kElementwise, MemoryPart::kActivation, layers.layers, tokens,
                            elements, bytes));
}

}  // namespace

void append_ffn(const Shard& shard, const LayerClass& layers, int tokens, std::vector<Op>& out) {
  const LayerSpec& layer = layers.spec;
  append_gated(shard, Term::kDenseFfn, layers.layers, tokens, shard.dense_slice(layer), out);
  const int own = shard.parallel.sequence_parallel()
                      ? (tokens + shard.parallel.tp - 1) / shard.parallel.tp
                      : tokens;
  const bool fused = layer.moe && shard.parallel.fused_shared_expert;
  if (!fused) {
    append_gated(shard, Term::kSharedExpert, layers.layers, own, shard.shared_slice(layer), out);
    append_shared_sum(shard, layers, own, out);
  }
  if (layer.moe) append_router(shard, layers, tokens, out);
  if (shard.parallel.tp == 1) return;
  Op exchange = hidden_all_reduce(shard, layers.layers, tokens);
  // Sequence-parallel MoE: every rank has the sum of its own tokens; gathering them moves half of
  // what an all-reduce does.
  if (layer.moe && shard.parallel.sequence_parallel()) exchange.message_bytes /= 2;
  out.push_back(exchange);
}

void append_pipeline_send(const Shard& shard, int tokens, std::vector<Op>& out) {
  if (shard.has_lm_head) return;
  Op op;
  op.kind = OpKind::kSendRecv;
  op.term = Term::kPpSendRecv;
  op.message_bytes =
      2 * kActivationBytes * tokens * shard.model->hidden;  // hidden state and residual
  out.push_back(op);
}

void append_sampling(const Shard& shard, int rows, std::vector<Op>& out) {
  if (!shard.has_lm_head || rows == 0) return;
  const ModelSpec& model = *shard.model;
  append_norms(shard, 1, rows, out);
  out.push_back(
      gemm(Term::kLmHead, 1, rows, vocab_slice(shard), model.hidden, model.precisions.lm_head));
  const double logits = static_cast<double>(rows) * model.vocab;
  if (shard.parallel.tp > 1) {
    // An all-gather of N V 16-bit logits moves what an all-reduce of half as many bytes moves.
    Op gather = hidden_all_reduce(shard, 1, rows);
    gather.message_bytes = kActivationBytes * logits / 2;
    out.push_back(gather);
  }
  constexpr double kPasses = 4;  // softmax, top-k and top-p: 4 to 8 passes over fp32 logits (4.3)
  Op sampling = elementwise(Term::kSampling, MemoryPart::kOther, 1, rows, 5 * logits,
                            kPasses * kLogitBytes * logits);
  sampling.kind = OpKind::kSampling;
  sampling.m = rows;
  sampling.n = model.vocab;
  out.push_back(sampling);
}

namespace {

Op attention_op(const Shard& shard, const LayerClass& layers, const AttentionSlice& slice,
                OpKind kind, double query_tokens) {
  Op op;
  op.kind = kind;
  op.term = Term::kAttention;
  op.repeat = layers.layers;
  op.activation_bytes =
      kActivationBytes * query_tokens * slice.heads * (slice.head_dim + slice.v_head_dim);
  op.weight_format = shard.model->precisions.kv_cache;
  op.m = static_cast<std::int64_t>(query_tokens);
  op.k = slice.heads;
  op.kv_heads = slice.kv_heads;
  op.head_dim = slice.head_dim;
  op.window = layers.spec.attention == AttentionKind::kFull ? 0 : layers.spec.window;
  return op;
}

}  // namespace

Op gqa_decode(const Shard& shard, const LayerClass& layers, int sequences, std::int64_t kv_tokens) {
  const AttentionSlice slice = attention_slice(shard, layers.spec);
  Op op = attention_op(shard, layers, slice, OpKind::kAttentionDecode, sequences);
  const auto context = static_cast<double>(kv_tokens);
  op.flops = 2.0 * slice.heads * (slice.head_dim + slice.v_head_dim) * context;
  op.weight_bytes =
      context * static_cast<double>(kv_bytes_per_token_layer(shard, layers.spec, slice).value());
  op.n = kv_tokens;
  op.pairs = context;
  op.sequences = sequences;
  return op;
}

Op gqa_prefill(const Shard& shard, const LayerClass& layers, int new_tokens, int cached) {
  const AttentionSlice slice = attention_slice(shard, layers.spec);
  const Visible visible = visible_tokens(layers.spec, new_tokens, cached);
  Op op = attention_op(shard, layers, slice, OpKind::kAttentionPrefill, new_tokens);
  op.flops = 2.0 * slice.heads * (slice.head_dim + slice.v_head_dim) * visible.pairs;
  op.weight_bytes = visible.keys * static_cast<double>(
                                       kv_bytes_per_token_layer(shard, layers.spec, slice).value());
  op.n = static_cast<std::int64_t>(visible.keys);
  op.pairs = visible.pairs;
  op.longest = op.n;
  op.sequences = 1;
  return op;
}

Op routed_experts(const Shard& shard, const LayerClass& layers, int tokens,
                  std::span<const std::uint32_t> tokens_per_expert) {
  const ModelSpec& model = *shard.model;
  const NumberFormat format = model.precisions.experts;
  const auto tile = static_cast<std::uint32_t>(TileRule::m_tile(format, tokens));
  const ExpertSums sums = expert_sums(tokens_per_expert, tile);
  Op op;
  op.kind = OpKind::kGroupedGemm;
  op.term = Term::kExpertGemm;
  op.weight_format = format;
  const int shared = shard.parallel.fused_shared_expert ? 1 : 0;
  ExpertSums one;  // the shared expert has every token
  const auto all = static_cast<std::uint32_t>(tokens);
  if (shared > 0) one = expert_sums({&all, 1}, tile);
  op.active_experts = sums.active + one.active;
  op.m = sums.rows + one.rows;
  op.padded_rows = sums.padded + one.padded;
  op.above_64 = sums.above_64 + one.above_64;
  op.above_256 = sums.above_256 + one.above_256;
  op.n = shard.expert_slice(layers.spec);
  op.k = model.hidden;
  op.tokens = tokens;
  op.experts = static_cast<int>(tokens_per_expert.size()) + shared;
  op.total_experts = layers.spec.num_experts + shared;
  op.top_k = layers.spec.top_k + shared;
  op.matrices = model.expert_matrices;
  const std::int64_t weights = std::int64_t{model.expert_matrices} * op.k * op.n;
  op.flops = 2.0 * static_cast<double>(op.padded_rows) * static_cast<double>(weights);
  op.weight_bytes = payload_bytes(op.active_experts * weights, expert_bits_per_weight(format));
  // In H, gate and up 2 I, activation I, out H (3.3). Quantised activations are counted as 16 bit.
  const auto columns = static_cast<double>(2 * op.k + model.expert_matrices * op.n);
  op.activation_bytes = kActivationBytes * static_cast<double>(op.m) * columns;
  return op;
}

void FamilyBase::token_ops(const Shard& shard, std::span<const LayerClass> classes, int tokens,
                           std::vector<Op>& out) const {
  append_embedding(shard, tokens, out);
  for (const LayerClass& layers : classes) {
    append_norms(shard, layers.layers * (layers.spec.cross_attention ? 3 : 2), tokens, out);
    append_attention(shard, layers, tokens, out);
    append_ffn(shard, layers, tokens, out);
  }
  append_pipeline_send(shard, tokens, out);
}

void FamilyBase::sample_ops(const Shard& shard, int rows, std::vector<Op>& out) const {
  append_sampling(shard, rows, out);
}

Op FamilyBase::experts(const Shard& shard, const LayerClass& layers, int tokens,
                       std::span<const std::uint32_t> tokens_per_expert) const {
  return routed_experts(shard, layers, tokens, tokens_per_expert);
}

}  // namespace moesim
