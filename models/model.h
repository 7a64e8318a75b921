#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sim/base/units.h"

namespace moesim {

/// How weights (or KV entries) are stored. Bits per weight: serving-semantics 2.3.
enum class NumberFormat {
  kFp32,
  kBf16,
  kFp16,
  kFp8,          ///< per tensor or channel
  kFp8Block,     ///< 128x128 blocks with an fp32 scale
  kInt8,         ///< per channel
  kAwqInt4,      ///< group 128, fp16 scale and int4 zero
  kGptqInt4,     ///< group 128, fp16 scale and int4 zero
  kInt4Group32,  ///< group 32, 16-bit scale, symmetric (compressed-tensors, Kimi-K2.5)
  kQ4KM,         ///< GGUF mixture of Q4_K and Q6_K
  kMxfp4,        ///< E8M0 scale per 32
  kNvfp4,        ///< fp8 scale per 16
};
/// Payload bits plus scales and zeros, per weight.
[[nodiscard]] double bits_per_weight(NumberFormat format);
/// The same for routed experts: a Q4_K_M file keeps them in plain Q4_K, which gives the 26.4 GB of
/// the published Mixtral-8x7B file; equal to bits_per_weight for every other format.
[[nodiscard]] double expert_bits_per_weight(NumberFormat format);
/// Storage of `weights` weights at `bits` each, rounded to whole bytes.
[[nodiscard]] Bytes storage_bytes(std::int64_t weights, double bits);
/// Payload bits only (what a tensor core reads): 16, 8 or 4.
[[nodiscard]] int payload_bits(NumberFormat format);
/// "bf16", "fp8_block", ... as in scenario.md `precision`.
[[nodiscard]] std::string to_text(NumberFormat format);
/// Inverse of to_text; false if unknown.
[[nodiscard]] bool parse_number_format(const std::string& name, NumberFormat& out);
[[nodiscard]] std::vector<std::string> number_format_names();

enum class AttentionKind {
  kFull,     ///< every earlier token
  kSliding,  ///< the last `window` tokens
  kChunked,  ///< tokens of the same chunk of `window` (Llama-4)
  kLinear,   ///< constant state per sequence (Mamba, gated delta net): no KV blocks
};

/// One decoder layer. Counts are of the whole model, before sharding.
struct LayerSpec {
  AttentionKind attention = AttentionKind::kFull;
  int window = 0;  ///< tokens; sliding and chunked only
  bool moe = false;
  int dense_intermediate = 0;  ///< width of the dense FFN (0: none); beside the experts for Gemma-4
  int num_experts = 0;         ///< routed experts E
  int top_k = 0;               ///< routed experts per token
  int expert_intermediate = 0;   ///< width of one routed expert
  int shared_intermediate = 0;   ///< total width of the shared experts
  bool cross_attention = false;  ///< encoder-decoder models: the decoder's second attention
  bool encoder = false;          ///< encoder-decoder models: bidirectional, keeps no KV
  int heads = 0;  ///< attention dimensions where they differ between layers; 0: the model's
  int kv_heads = 0;
  int head_dim = 0;
  int v_head_dim = 0;

  friend bool operator==(const LayerSpec&, const LayerSpec&) = default;
};

/// Heads of one layer's attention, before sharding.
struct AttentionShape {
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int v_head_dim = 0;
};

/// Multi-head latent attention (DeepSeek): dimensions of serving-semantics 0.1. Not MLA if
/// `kv_rank` is 0.
struct MlaSpec {
  int q_rank = 0;  ///< 0: queries are projected directly
  int kv_rank = 0;
  int nope_dim = 0;
  int rope_dim = 0;
  int v_dim = 0;
  int index_heads = 0;  ///< DeepSeek sparse attention: heads of the indexer (0: dense attention)
  int index_dim = 0;    ///< width of an index key
  int index_topk = 0;   ///< tokens attention then looks at
};

/// State of a linear-attention layer, elements per sequence and the weights of its mixer.
struct LinearAttentionSpec {
  std::int64_t state_elements = 0;  ///< conv + SSM state per sequence and layer
  std::int64_t mixer_weights = 0;   ///< projections of one such layer
  std::int64_t conv_width = 0;      ///< channels of its convolution
  std::int64_t value_width = 0;     ///< inputs of its output projection
  std::int64_t gate_width = 0;      ///< delta net: outputs of the small projection (beta and decay)
};

struct RouterSpec {
  int groups = 1;        ///< n_group
  int topk_groups = 1;   ///< topk_group
  bool sigmoid = false;  ///< scoring_func sigmoid, else softmax
  bool bias = false;     ///< noaux_tc: selection uses a per-expert bias
  bool renormalize = true;
};

/// Storage format of each part; the router and norms are always 16 bit.
struct Precisions {
  NumberFormat attention = NumberFormat::kBf16;
  NumberFormat dense_ffn = NumberFormat::kBf16;
  NumberFormat shared_experts = NumberFormat::kBf16;
  NumberFormat experts = NumberFormat::kBf16;
  NumberFormat embedding = NumberFormat::kBf16;
  NumberFormat lm_head = NumberFormat::kBf16;
  NumberFormat activation = NumberFormat::kBf16;  ///< bf16 or fp16
  NumberFormat kv_cache = NumberFormat::kBf16;
};

/// A model as its config.json describes it: enough for every byte and every flop. Text decoder
/// only.
struct ModelSpec {
  std::string id;          ///< "mistralai/Mixtral-8x7B-v0.1"
  std::string model_type;  ///< HF model_type
  std::string family;      ///< name in the registry of families: "gqa_moe", "mla_moe", ...
  int hidden = 0;
  int vocab = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;    ///< K (and Q) dimension per head
  int v_head_dim = 0;  ///< V dimension per head; equals head_dim unless the model says otherwise
  bool tied_embeddings = false;
  bool attention_gate = false;  ///< Qwen3-Next: the query projection also makes an output gate
  bool qk_norm = false;         ///< queries and keys are normalised before the rotary embedding
  /// That norm runs over all heads at once, so ranks that share heads add up their squares first.
  bool qk_norm_across_heads = false;
  bool qk_bias = false;      ///< QKV (and router) biases present, counted as `other`
  bool expert_bias = false;  ///< gpt-oss: biases in experts and output projection as well
  bool shared_gate = false;  ///< Qwen: a gate on the shared expert, H weights by the router
  int expert_matrices = 3;   ///< 3 gate/up/down, 2 in Switch
  int max_position_embeddings = 0;
  int nextn_layers = 0;     ///< MTP layers in the checkpoint; not loaded unless speculation asks
  int encoder_layers = 0;   ///< encoder-decoder models; the encoder's layers come first in `layers`
  int expert_capacity = 0;  ///< Switch
  bool hypothetical = false;  ///< a rumour, marked in every report
  MlaSpec mla;
  LinearAttentionSpec linear;
  RouterSpec router;
  Precisions precisions;
  std::vector<LayerSpec> layers;

  [[nodiscard]] bool is_mla() const { return mla.kv_rank > 0; }
  [[nodiscard]] bool is_moe() const;
  [[nodiscard]] int num_layers() const { return static_cast<int>(layers.size()); }
  [[nodiscard]] int num_moe_layers() const;
  [[nodiscard]] AttentionShape attention_shape(const LayerSpec& layer) const;
};

/// Parameter counts by part, of the whole model (no MTP layers, no encoder-less parts left out).
struct ParameterCounts {
  std::int64_t attention = 0, dense_ffn = 0, routed_experts = 0, shared_experts = 0;
  std::int64_t router = 0, embedding = 0, lm_head = 0, norms = 0;
  std::int64_t per_expert = 0;  ///< weights of one routed expert of one layer
  /// Touched per token (embedding table and head included, as glossary 5.2).
  std::int64_t active = 0;
  [[nodiscard]] std::int64_t total() const {
    return attention + dense_ffn + routed_experts + shared_experts + router + embedding + lm_head +
           norms;
  }
};
[[nodiscard]] ParameterCounts count_parameters(const ModelSpec& model);

/// KV bytes per token over all layers of the whole model (no sharding, no window): glossary 5.2.
[[nodiscard]] Bytes kv_bytes_per_token(const ModelSpec& model);

}  // namespace moesim
