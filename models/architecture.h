#pragma once

#include <string>
#include <vector>

#include "models/config_keys.h"
#include "models/model.h"

namespace moesim {

/// Which layers have experts.
enum class MoeRule {
  kNone,        ///< dense model
  kAll,         ///< every layer
  kFirstDense,  ///< i >= first_k_dense_replace and i % moe_layer_freq == 0, or a 0/1 list in
                ///< moe_layer_freq
  kSparseStep,  ///< (i + 1) % decoder_sparse_step == 0 and i not in mlp_only_layers
  kInterleave,  ///< (i + 1) % interleave_moe_layer_step == 0
  kStartEnd,    ///< moe_layer_start_index <= i <= moe_layer_end_index and (i + 1) %
                ///< moe_layer_interval == 0
  kPeriod,      ///< i % expert_layer_period == expert_layer_offset
};

/// What a layer attends to, where no `layer_types` list says so.
enum class AttentionRule {
  kPlain,      ///< all alike; `sliding_window` applies to every layer
  kQwen,       ///< `sliding_window` only if `use_sliding_window`, from `max_window_layers` on
  kAlternate,  ///< sliding on layers 0, 2, 4 ...
  kChunked,    ///< chunked, but full where `no_rope_layers` is 0 (by default every fourth layer)
  kListed,     ///< `layer_types` is required
  kPattern,    ///< `hybrid_layer_pattern`: 1 = sliding
  kInterval,   ///< linear, but full on every `full_attention_interval`-th layer
  kPeriod,     ///< linear (Mamba), but full where i % attn_layer_period == attn_layer_offset
  kLatent,     ///< MLA
};

/// The experts every token visits.
enum class SharedRule {
  kNone,
  kWidth,     ///< shared_expert_intermediate_size
  kCount,     ///< a number of experts of the routed experts' width
  kImplicit,  ///< Llama-4: one, of width `intermediate_size`
};

/// Everything about a model_type that is not a number in its config. A row of the table in
/// architecture.cpp.
struct Architecture {
  const char* model_type;
  const char* class_names;  ///< comma-separated values of `architectures`
  const char* family;
  AttentionRule attention = AttentionRule::kPlain;
  MoeRule moe = MoeRule::kNone;
  SharedRule shared = SharedRule::kNone;
  bool expert_width_is_intermediate = false;  ///< `intermediate_size` is an expert's width
  bool dense_beside_experts = false;          ///< Gemma-4: a dense FFN in parallel with the experts
  bool head_dim_required = false;             ///< hidden / heads would be wrong
  bool kv_heads_default = false;  ///< num_key_value_heads may be left out: as many as heads
  bool qkv_bias = false;          ///< where `attention_bias` does not say
  bool expert_bias = false;
  bool shared_gate = false;
  bool tied_default = false;     ///< tie_word_embeddings when absent (the class default)
  bool sigmoid_default = false;  ///< scoring_func when absent
  bool attention_gate = false;
  bool qk_norm = false;               ///< where `use_qk_norm` does not say
  bool qk_norm_across_heads = false;  ///< one norm over all heads, not one each
};

/// The row for a model_type, or nullptr.
[[nodiscard]] const Architecture* find_architecture(const std::string& model_type);
[[nodiscard]] bool is_known_class(const std::string& class_name);
[[nodiscard]] std::vector<std::string> known_model_types();

/// Fills `model.layers` (and what they share) for decoder-only models. hf_layers.cpp
void read_layers(ConfigKeys& keys, const Architecture& architecture, ModelSpec& model);
/// Fills layers of the encoder and decoder of Switch. hf_layers.cpp
void read_switch(ConfigKeys& keys, ModelSpec& model);
/// What each layer attends to, and linear-attention dimensions. hf_attention.cpp
void read_attention(ConfigKeys& keys, const Architecture& architecture, ModelSpec& model);
/// Storage formats from torch_dtype and quantization_config. hf_quantization.cpp
void read_precisions(ConfigKeys& keys, const Architecture& architecture, ModelSpec& model);

}  // namespace moesim
