#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "models/op.h"
#include "models/sharding.h"

namespace moesim {

/// Layers of a shard that have the same shape, and how many there are. Alike layers share their
/// costs.
struct LayerClass {
  LayerSpec spec;
  int layers = 0;
};
[[nodiscard]] std::vector<LayerClass> layer_classes(const Shard& shard);

/// Rows per expert are padded to the kernel's M tile: serving-semantics 3.3.
struct TileRule {
  /// M tile for a MoE layer that sees `tokens` tokens, for weights of this format (vLLM's untuned
  /// defaults).
  [[nodiscard]] static int m_tile(NumberFormat experts, int tokens);
};

/// What work a step is, for one family of architectures. Stateless; all functions append to `out`.
/// Sources: serving-semantics 3.1, 3.3, 4.1-4.3. Shapes are per rank, `tokens` after padding.
///
/// Registered: gqa_moe (GQA/MHA with any FFN), mla_moe (DeepSeek), hybrid_ssm_moe (linear attention
/// layers), switch_encdec.
class Family {
 public:
  virtual ~Family() = default;

  /// Everything whose cost depends on the number of tokens alone: embedding, norms, projections,
  /// rotary, router, dense FFN, shared experts, permutes and the TP all-reduces; pipeline
  /// send/receive.
  void token_ops(const Shard& shard, int tokens, std::vector<Op>& out) const {
    token_ops(shard, layer_classes(shard), tokens, out);
  }
  /// The same for callers that have `classes` = layer_classes(shard) at hand.
  virtual void token_ops(const Shard& shard, std::span<const LayerClass> classes, int tokens,
                         std::vector<Op>& out) const = 0;

  /// Final norm, LM head and sampling for `rows` sampled rows (last stage only).
  virtual void sample_ops(const Shard& shard, int rows, std::vector<Op>& out) const = 0;

  /// Attention of `sequences` decoding requests whose visible contexts (window applied) sum to
  /// `kv_tokens`, for one layer class, counted once per layer.
  virtual Op attention_decode(const Shard& shard, const LayerClass& layers, int sequences,
                              std::int64_t kv_tokens) const = 0;

  /// Attention of one prompt chunk: `new_tokens` after `cached` earlier ones (no window applied
  /// yet).
  virtual Op attention_prefill(const Shard& shard, const LayerClass& layers, int new_tokens,
                               int cached) const = 0;

  /// The routed experts of one layer on this rank, for token counts per local expert.
  virtual Op experts(const Shard& shard, const LayerClass& layers, int tokens,
                     std::span<const std::uint32_t> tokens_per_expert) const = 0;
};

/// The family registered under `model.family`. Precondition: the name came from read_hf_config.
[[nodiscard]] std::unique_ptr<Family> make_family(const ModelSpec& model);

}  // namespace moesim
