#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "models/hf_config.h"
#include "models/hf_json.h"

namespace moesim {

namespace {

// Every key the readers of hf_*.cpp look at; a test reads each shipped model again from its minimal
// form.
constexpr const char* kKept[] = {
    // clang-format off
    "architectures", "model_type", "num_hidden_layers", "n_layers", "num_layers", "num_decoder_layers",
    "hidden_size", "d_model", "vocab_size", "max_position_embeddings", "max_seq_len", "n_positions",
    "num_attention_heads", "n_heads", "num_heads", "num_key_value_heads", "num_attention_groups", "attn_config",
    "head_dim", "d_kv", "attention_head_dim", "v_head_dim", "global_head_dim", "num_global_key_value_heads",
    "swa_num_attention_heads", "swa_num_key_value_heads", "swa_head_dim", "swa_v_head_dim",
    "attention_bias", "qkv_bias", "attn_output_gate", "use_qk_norm",
    "sliding_window", "sliding_window_size", "use_sliding_window", "max_window_layers", "layer_types",
    "attention_chunk_size", "no_rope_layers", "no_rope_layer_interval", "hybrid_layer_pattern",
    "full_attention_interval", "attn_layer_period", "attn_layer_offset",
    "linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim",
    "linear_conv_kernel_dim", "mamba_expand", "mamba_d_state", "mamba_d_conv", "mamba_dt_rank",
    "q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim",
    "index_n_heads", "index_head_dim", "index_topk",
    "intermediate_size", "intermediate_size_mlp", "d_ff", "ffn_config", "moe_intermediate_size",
    "expert_ffn_hidden_size", "n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts",
    "num_experts_per_tok", "experts_per_token", "moe_topk", "moe_k", "top_k_experts",
    "shared_expert_intermediate_size", "n_shared_experts", "num_shared_expert", "num_shared_experts",
    "moe_num_shared_experts", "first_k_dense_replace", "moe_layer_freq", "mlp_only_layers",
    "decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_start_index", "moe_layer_end_index",
    "moe_layer_interval", "expert_layer_period", "expert_layer_offset", "expert_capacity",
    "num_sparse_encoder_layers", "num_sparse_decoder_layers",
    "n_group", "topk_group", "topk_method", "scoring_func", "norm_topk_prob",
    "tie_word_embeddings", "num_nextn_predict_layers", "num_mtp_modules", "mtp_num_hidden_layers",
    "torch_dtype", "dtype", "quantization_config",
    // clang-format on
};

}  // namespace

std::string minimal_config(const std::string& text, const std::string& file_name,
                           const std::string& id) {
  const ModelSpec checked =
      read_hf_config(text, file_name, id);  // mistakes are reported here, not on later use
  const nlohmann::json merged = read_merged_config(text, file_name);
  nlohmann::ordered_json minimal;
  for (const char* key : kKept) {
    const auto it = merged.find(key);
    if (it != merged.end()) minimal[key] = *it;
  }
  nlohmann::ordered_json& own = minimal["moesim"];
  own["id"] = checked.id;
  own["source"] = file_name;
  if (checked.hypothetical) own["hypothetical"] = true;
  return minimal.dump(2) + '\n';
}

}  // namespace moesim
