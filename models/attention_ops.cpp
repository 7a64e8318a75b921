#include <algorithm>

#include "models/family_ops.h"

namespace moesim {

namespace {

constexpr double kActivationBytes = 2;  // bf16 or fp16

void append_stream(Term term, MemoryPart part, const LayerClass& layers, int tokens, double flops,
                   double elements, std::vector<Op>& out) {
  out.push_back(elementwise(term, part, layers.layers, tokens, flops, kActivationBytes * elements));
}

// A norm over the heads of all ranks: squares are summed first (a pass over queries and keys), then
// exchanged, one fp32 each for queries and keys of a token. The norm itself is the caller's.
void append_norm_exchange(const Shard& shard, const LayerClass& layers, int tokens, double elements,
                          std::vector<Op>& out) {
  constexpr double kSumBytes = 4;
  append_stream(Term::kElementwise, MemoryPart::kInnerNorm, layers, tokens, 2 * elements, elements,
                out);
  Op exchange = hidden_all_reduce(shard, layers.layers, tokens);
  exchange.message_bytes = 2 * kSumBytes * tokens;
  out.push_back(exchange);
}

}  // namespace

void append_gqa_projections(const Shard& shard, const LayerClass& layers, int tokens,
                            std::vector<Op>& out) {
  const ModelSpec& model = *shard.model;
  const AttentionSlice slice = attention_slice(shard, layers.spec);
  const NumberFormat format = model.precisions.attention;
  const int repeat = layers.layers * (layers.spec.cross_attention ? 2 : 1);
  const std::size_t first = out.size();
  out.push_back(gemm(Term::kAttentionProj, repeat, tokens, slice.qkv_width, model.hidden, format));
  const double rotary_width = slice.head_dim * (slice.heads + slice.kv_heads);
  const double rotated = tokens * rotary_width;
  // Queries and keys have norms of their own, in one pass; an output gate is split from the queries
  // (read and written once) and its sigmoid scales the output.
  if (model.qk_norm)
    append_stream(Term::kElementwise, MemoryPart::kInnerNorm, layers, tokens, 5 * rotated,
                  2 * rotated, out);
  if (model.qk_norm_across_heads && shard.parallel.tp > 1)
    append_norm_exchange(shard, layers, tokens, rotated, out);
  out.push_back(elementwise(Term::kElementwise, MemoryPart::kRotary, repeat, tokens, 0,
                            2 * kActivationBytes * rotated));
  const double kv_width = slice.kv_heads * (slice.head_dim + slice.v_head_dim);
  const double stored =
      static_cast<double>(kv_bytes_per_token_layer(shard, layers.spec, slice).value());
  out.push_back(elementwise(Term::kElementwise, MemoryPart::kKvWrite, repeat, tokens, 0,
                            tokens * (kActivationBytes * kv_width + stored)));
  mark_before_attention(out, first);
  if (model.attention_gate) {
    const double outputs = static_cast<double>(tokens) * slice.out_width;
    append_stream(Term::kElementwise, MemoryPart::kRotary, layers, tokens, 0, 4 * outputs, out);
    append_stream(Term::kElementwise, MemoryPart::kActivation, layers, tokens, 4 * outputs,
                  3 * outputs, out);
  }
  out.push_back(gemm(Term::kAttentionProj, repeat, tokens, model.hidden, slice.out_width, format));
  if (shard.parallel.tp > 1) out.push_back(hidden_all_reduce(shard, repeat, tokens));
}

void append_mixer(const Shard& shard, const LayerClass& layers, int tokens, std::vector<Op>& out) {
  const ModelSpec& model = *shard.model;
  const LinearAttentionSpec& linear = model.linear;
  const std::int64_t tp = shard.parallel.tp;
  // Products in and out, and between them the convolution, one kernel, and the gated norm, another;
  // the recurrence is the attention. A delta net's beta and decay come from a small product beside
  // the wide one, in 16 bit; Mamba's small ones are counted with the wide one.
  const std::int64_t value = std::max<std::int64_t>(1, linear.value_width / tp);
  const std::int64_t gates = linear.gate_width / tp;
  const std::int64_t in =
      std::max<std::int64_t>(1, linear.mixer_weights / tp / model.hidden - value - gates);
  const NumberFormat format = model.precisions.attention;
  const std::size_t first = out.size();
  out.push_back(gemm(Term::kAttentionProj, layers.layers, tokens, in, model.hidden, format));
  if (gates > 0)
    out.push_back(gemm(Term::kAttentionProj, layers.layers, tokens, gates, model.hidden,
                       model.precisions.activation));
  mark_before_attention(out, first);
  const double channels = static_cast<double>(tokens) * static_cast<double>(linear.conv_width / tp);
  append_stream(Term::kAttention, MemoryPart::kState, layers, tokens, 2 * channels, 2 * channels,
                out);
  const double values = static_cast<double>(tokens) * static_cast<double>(value);
  append_stream(Term::kAttention, MemoryPart::kInnerNorm, layers, tokens, 4 * values, 3 * values,
                out);
  out.push_back(gemm(Term::kAttentionProj, layers.layers, tokens, model.hidden, value, format));
  if (shard.parallel.tp > 1) out.push_back(hidden_all_reduce(shard, layers.layers, tokens));
}

}  // namespace moesim
