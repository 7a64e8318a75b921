#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/family.h"

namespace moesim {

/// Pieces of work several families share. Formulas: serving-semantics 3.1, 3.3, 4.1, 4.3. Private
/// to models.

/// Pairs of (query, visible key) of a chunk of `new_tokens` after `cached` ones, and keys read,
/// under a layer's window.
struct Visible {
  double pairs = 0;
  double keys = 0;
};
[[nodiscard]] Visible visible_tokens(const LayerSpec& layer, int new_tokens, int cached);

[[nodiscard]] Op gemm(Term term, int repeat, std::int64_t m, std::int64_t n, std::int64_t k,
                      NumberFormat weights);
/// `rows` tokens, `bytes` moved by all of them.
[[nodiscard]] Op elementwise(Term term, MemoryPart part, int repeat, std::int64_t rows,
                             double flops, double bytes);
/// All-reduce of `tokens` hidden vectors.
[[nodiscard]] Op hidden_all_reduce(const Shard& shard, int repeat, int tokens);

void append_embedding(const Shard& shard, int tokens, std::vector<Op>& out);
void append_norms(const Shard& shard, int repeat, int tokens, std::vector<Op>& out);
/// Fused QKV, rotary, KV write, output projection and all-reduce of `layers` GQA layers.
void append_gqa_projections(const Shard& shard, const LayerClass& layers, int tokens,
                            std::vector<Op>& out);
/// A linear-attention mixer: projections and all-reduce.
void append_mixer(const Shard& shard, const LayerClass& layers, int tokens, std::vector<Op>& out);
/// Dense FFN, router, top-k, shared experts, permutes and all-reduce: all of an FFN but the routed
/// experts.
void append_ffn(const Shard& shard, const LayerClass& layers, int tokens, std::vector<Op>& out);
void append_pipeline_send(const Shard& shard, int tokens, std::vector<Op>& out);
/// Final norm, LM head, logits gather and sampling.
void append_sampling(const Shard& shard, int rows, std::vector<Op>& out);

[[nodiscard]] Op gqa_decode(const Shard& shard, const LayerClass& layers, int sequences,
                            std::int64_t kv_tokens);
[[nodiscard]] Op gqa_prefill(const Shard& shard, const LayerClass& layers, int new_tokens,
                             int cached);
[[nodiscard]] Op routed_experts(const Shard& shard, const LayerClass& layers, int tokens,
                                std::span<const std::uint32_t> tokens_per_expert);

/// The parts every family has in common; a family adds its attention.
class FamilyBase : public Family {
 public:
  using Family::token_ops;
  void token_ops(const Shard& shard, std::span<const LayerClass> classes, int tokens,
                 std::vector<Op>& out) const override;
  void sample_ops(const Shard& shard, int rows, std::vector<Op>& out) const override;
  Op experts(const Shard& shard, const LayerClass& layers, int tokens,
             std::span<const std::uint32_t> tokens_per_expert) const override;

 private:
  /// Projections of one class of layers, with their all-reduce.
  virtual void append_attention(const Shard& shard, const LayerClass& layers, int tokens,
                                std::vector<Op>& out) const = 0;
};

}  // namespace moesim
