#pragma once

#include <cstdint>
#include <vector>

#include "models/model.h"

namespace moesim {

/// Parallel layout of one instance. Rank order is DP x PP x TP, TP fastest.
struct Parallel {
  int tp = 1;
  int pp = 1;
  int dp = 1;
  bool expert_parallel = false;  ///< whole experts per rank, else every expert cut over tp*dp
  int redundant_experts = 0;     ///< EPLB: copies beyond E over the whole MoE group; needs EP
  int moe_tp = 1;  ///< with EP: ranks an expert is cut over (SGLang, TensorRT-LLM); divides tp*dp
  /// The shared expert is computed as one more routed expert that every token chooses; needs EP off
  /// and a shared expert as wide as a routed one.
  bool fused_shared_expert = false;
  [[nodiscard]] int gpus() const { return tp * pp * dp; }
  [[nodiscard]] int moe_group() const { return tp * dp; }
  /// Parts the experts of a layer are spread over, whole or cut.
  [[nodiscard]] int moe_ep() const { return expert_parallel ? moe_group() / moe_tp : 1; }
  /// A TP group splits its tokens before the router, so that every rank dispatches tokens of its
  /// own (serving-semantics 3.4, sequence-parallel MoE).
  [[nodiscard]] bool sequence_parallel() const { return expert_parallel && tp > 1 && dp > 1; }
};

/// Bytes one rank holds, by the parts of the report's `memory.per_gpu.weights`.
struct WeightBytes {
  Bytes attention, dense_ffn, routed_experts, redundant_experts, shared_experts, router, embedding,
      lm_head, lora, other;
  [[nodiscard]] Bytes total() const;
};

/// What one rank of one pipeline stage holds: the one description used for bytes (memory.h) and for
/// work (family.h). Glossary 4; serving-semantics 2.2.
struct Shard {
  const ModelSpec* model = nullptr;
  Parallel parallel;
  int stage = 0;
  int first_layer = 0;  ///< layers [first_layer, last_layer) of the model are on this stage
  int last_layer = 0;
  int heads = 0;               ///< query heads per rank
  int kv_heads = 0;            ///< max(1, kv_heads / tp)
  bool has_embedding = false;  ///< first stage
  bool has_lm_head = false;    ///< last stage
  /// Width of a routed expert's slice on this rank: I / (tp*dp) with EP off, I / moe_tp with EP on.
  [[nodiscard]] int expert_slice(const LayerSpec& layer) const;
  /// Whole (or sliced) routed experts on this rank: E with EP off, E/moe_ep rounded up with EP on.
  [[nodiscard]] int local_experts(const LayerSpec& layer) const;
  /// Dense and shared widths per rank: width / tp; shared experts are whole under sequence-parallel
  /// MoE, and cut like the routed ones where they are fused with them.
  [[nodiscard]] int dense_slice(const LayerSpec& layer) const;
  [[nodiscard]] int shared_slice(const LayerSpec& layer) const;
};

/// The shard of pipeline stage `stage` (layers split ceil/floor over stages, the first stages get
/// more). `problem` is empty if the layout divides the model (heads by tp, expert and dense widths
/// ...), else a sentence for the user ("48 query heads cannot be cut over tensor_parallel_size 5").
struct ShardResult {
  Shard shard;
  std::string problem;
  const char* key = "";  ///< of an instance: the degree to blame
  std::string hint;      ///< what would divide
};
[[nodiscard]] ShardResult make_shard(const ModelSpec& model, const Parallel& parallel, int stage);

/// The attention of one layer on this rank.
struct AttentionSlice {
  int heads = 0;
  int kv_heads = 0;  ///< max(1, kv_heads / tp): replicated when tp exceeds them
  int head_dim = 0;
  int v_head_dim = 0;
  int qkv_width = 0;  ///< outputs of the fused Q (and gate), K, V projection
  int out_width = 0;  ///< inputs of the output projection
};
[[nodiscard]] AttentionSlice attention_slice(const Shard& shard, const LayerSpec& layer);

/// Weights (not bytes) of one layer on this rank. With Parallel{} these are the model's own counts.
struct LayerWeights {
  std::int64_t attention = 0, dense_ffn = 0, shared_experts = 0, router = 0, norms = 0, biases = 0;
  std::int64_t indexer = 0;     ///< sparse attention; not in parameter counts, stored as `other`
  std::int64_t per_expert = 0;  ///< of one local routed expert (or slice)
  /// Of attention, dense and shared projections: one fp32 scale each in kFp8 and kInt8.
  std::int64_t output_channels = 0;
};
[[nodiscard]] LayerWeights layer_weights(const Shard& shard, const LayerSpec& layer);

/// Rows of the embedding (and LM head) on a rank: the vocabulary padded to 64, cut by TP.
[[nodiscard]] std::int64_t vocab_slice(const Shard& shard);

/// Bytes this rank holds. Group scales are part of each format; per-channel scales are in `other`,
/// as are norms and biases.
[[nodiscard]] WeightBytes weight_bytes(const Shard& shard);

/// KV bytes of one token in one layer on this rank: 2*kv_heads*head_dim (K and V dims may differ),
/// or the whole MLA latent; 0 for linear layers. serving-semantics 2.4.
[[nodiscard]] Bytes kv_bytes_per_token_layer(const Shard& shard, const LayerSpec& layer);
/// The same for callers that have the layer's attention_slice at hand.
[[nodiscard]] Bytes kv_bytes_per_token_layer(const Shard& shard, const LayerSpec& layer,
                                             const AttentionSlice& slice);

/// LoRA adapter slots (serving-semantics 2.8).
enum class LoraTargets { kAttention, kAllLinear, kExperts, kHotExperts };
struct LoraSpec {
  int adapters = 0;
  int rank = 16;
  LoraTargets targets = LoraTargets::kAttention;
  int hot_experts = 0;  ///< experts per layer with an adapter, for kHotExperts
};
[[nodiscard]] Bytes lora_bytes(const Shard& shard, const LoraSpec& lora);

}  // namespace moesim
