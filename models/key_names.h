#pragma once

#include "models/config_keys.h"

namespace moesim {

/// Accepted keys, in order, of what several readers or checks look at (glossary 5). Private to
/// models.
inline constexpr KeyNames kLayerKeys = {"num_hidden_layers", "n_layers", "num_layers"};
inline constexpr KeyNames kHiddenKeys = {"hidden_size", "d_model"};
inline constexpr KeyNames kHeadKeys = {"num_attention_heads", "n_heads", "num_heads"};
inline constexpr KeyNames kKvHeadKeys = {"num_key_value_heads", "attn_config.kv_n_heads",
                                         "num_attention_groups"};
inline constexpr KeyNames kHeadDimKeys = {"head_dim", "d_kv", "attention_head_dim"};
inline constexpr KeyNames kLengthKeys = {"max_position_embeddings", "max_seq_len", "n_positions"};
inline constexpr KeyNames kExpertKeys = {"n_routed_experts", "num_local_experts", "num_experts",
                                         "moe_num_experts", "ffn_config.moe_num_experts"};
inline constexpr KeyNames kTopKKeys = {
    "num_experts_per_tok", "experts_per_token",   "moe_topk", "moe_k",
    "top_k_experts",       "ffn_config.moe_top_k"};
inline constexpr KeyNames kSharedCountKeys = {"n_shared_experts", "num_shared_expert",
                                              "num_shared_experts", "moe_num_shared_experts"};

}  // namespace moesim
