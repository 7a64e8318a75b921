// What each layer attends to: `layer_types` where the config has it, else the rule of the
// architecture.

#include <cstddef>
#include <fmt/format.h>

#include "models/architecture.h"
#include "models/key_names.h"
#include "models/ranges.h"

namespace moesim {

namespace {

void set_kind(ModelSpec& model, LayerSpec& layer, AttentionKind kind, int window) {
  // A window as long as the context hides nothing.
  if (kind != AttentionKind::kLinear && window >= model.max_position_embeddings)
    kind = AttentionKind::kFull;
  layer.attention = kind;
  layer.window = kind == AttentionKind::kSliding || kind == AttentionKind::kChunked ? window : 0;
}

int required_window(ConfigKeys& keys) {
  return keys.integer({"sliding_window", "sliding_window_size"}, kLengthRange);
}

int chunk_size(ConfigKeys& keys) {
  return keys.integer({"attention_chunk_size"}, kLengthRange);
}

void read_layer_types(ConfigKeys& keys, ModelSpec& model) {
  const std::vector<std::string> types = keys.texts({"layer_types"});
  if (types.size() != model.layers.size()) {
    if (!types.empty() && keys.sound(kLayerKeys)) {
      keys.fail(
          "layer_types",
          fmt::format("the list has {} values for {} layers", types.size(), model.layers.size()),
          "give one per layer");
    }
    return;
  }
  int window = 0;
  for (std::size_t i = 0; i < types.size(); ++i) {
    LayerSpec& layer = model.layers[i];
    if (types[i] == "full_attention" || types[i] == "attention") {
      layer.attention = AttentionKind::kFull;
    } else if (types[i] == "sliding_attention") {
      if (window == 0) window = required_window(keys);
      set_kind(model, layer, AttentionKind::kSliding, window);
    } else if (types[i] == "chunked_attention") {
      if (window == 0) window = chunk_size(keys);
      set_kind(model, layer, AttentionKind::kChunked, window);
    } else if (types[i] == "linear_attention" || types[i] == "mamba") {
      layer.attention = AttentionKind::kLinear;
    } else {
      keys.fail("layer_types", fmt::format("unknown layer type '{}'", types[i]),
                nearest_name_hint(types[i], {"full_attention", "sliding_attention",
                                             "chunked_attention", "linear_attention"}));
      return;
    }
  }
}

void read_chunked(ConfigKeys& keys, ModelSpec& model) {
  const int chunk = chunk_size(keys);
  constexpr Range kFlag{.min = 0, .max = 1};
  // 1 = rotary and chunked; 0 = no rotary, full. Some files list nothing: every fourth layer is
  // full.
  const std::vector<int> rotary = keys.integers({"no_rope_layers"}, kFlag);
  const int interval = keys.integer_or({"no_rope_layer_interval"}, 4, kLayerRange);
  if (!rotary.empty() && rotary.size() != model.layers.size()) {
    if (!keys.sound(kLayerKeys)) return;
    keys.fail(
        "no_rope_layers",
        fmt::format("the list has {} values for {} layers", rotary.size(), model.layers.size()),
        "give one per layer");
    return;
  }
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    const bool full = rotary.empty() ? static_cast<int>(i + 1) % interval == 0 : rotary[i] == 0;
    set_kind(model, model.layers[i], full ? AttentionKind::kFull : AttentionKind::kChunked, chunk);
  }
}

void read_pattern(ConfigKeys& keys, ModelSpec& model) {
  constexpr Range kFlag{.min = 0, .max = 1};
  const std::vector<int> sliding =
      keys.per_layer({"hybrid_layer_pattern"}, model.num_layers(), kFlag);
  const int window = required_window(keys);
  // Sliding layers may have heads of their own (MiMo: more KV heads).
  const int kv_heads = keys.integer_or({"swa_num_key_value_heads"}, 0, kHeadsRange);
  const int heads = keys.integer_or({"swa_num_attention_heads"}, 0, kHeadsRange);
  const int head_dim = keys.integer_or({"swa_head_dim"}, 0, kHeadDimRange);
  const int v_head_dim = keys.integer_or({"swa_v_head_dim"}, 0, kHeadDimRange);
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    if (sliding[i] == 0) continue;
    LayerSpec& layer = model.layers[i];
    set_kind(model, layer, AttentionKind::kSliding, window);
    layer.kv_heads = kv_heads == model.kv_heads ? 0 : kv_heads;
    layer.heads = heads == model.heads ? 0 : heads;
    layer.head_dim = head_dim == model.head_dim ? 0 : head_dim;
    layer.v_head_dim = v_head_dim == model.v_head_dim ? 0 : v_head_dim;
  }
}

// Gemma-4: full layers have wider heads and fewer KV heads than sliding ones.
void read_global_heads(ConfigKeys& keys, ModelSpec& model) {
  const int head_dim = keys.integer_or({"global_head_dim"}, 0, kHeadDimRange);
  const int kv_heads = keys.integer_or({"num_global_key_value_heads"}, 0, kHeadsRange);
  for (LayerSpec& layer : model.layers) {
    if (layer.attention != AttentionKind::kFull) continue;
    layer.head_dim = head_dim == model.head_dim ? 0 : head_dim;
    layer.v_head_dim = layer.head_dim;
    layer.kv_heads = kv_heads == model.kv_heads ? 0 : kv_heads;
  }
}

// Gated delta net (Qwen3-Next): a matrix of key x value per value head, and the last inputs of a
// convolution.
void read_delta_net(ConfigKeys& keys, ModelSpec& model) {
  const std::int64_t key_heads = keys.integer({"linear_num_key_heads"}, kHeadsRange);
  const std::int64_t value_heads = keys.integer({"linear_num_value_heads"}, kHeadsRange);
  const std::int64_t key_dim = keys.integer({"linear_key_head_dim"}, kHeadDimRange);
  const std::int64_t value_dim = keys.integer({"linear_value_head_dim"}, kHeadDimRange);
  const std::int64_t taps = keys.integer({"linear_conv_kernel_dim"}, kStateRange);
  const std::int64_t hidden = model.hidden;
  const std::int64_t conv_width = 2 * key_heads * key_dim + value_heads * value_dim;
  model.linear.conv_width = conv_width;
  model.linear.value_width = value_heads * value_dim;
  model.linear.gate_width = 2 * value_heads;
  model.linear.state_elements = conv_width * (taps - 1) + value_heads * key_dim * value_dim;
  model.linear.mixer_weights =
      hidden * (conv_width + value_heads * value_dim)  // q, k, v and the gate z
      + hidden * model.linear.gate_width               // beta and decay
      + conv_width * taps + value_heads * value_dim * hidden;
}

// Mamba (Jamba): Gu and Dao, arXiv 2312.00752, section 3.
void read_mamba(ConfigKeys& keys, ModelSpec& model) {
  const std::int64_t hidden = model.hidden;
  const std::int64_t inner = hidden * keys.integer({"mamba_expand"}, {.min = 1, .max = 16});
  const std::int64_t state = keys.integer({"mamba_d_state"}, kStateRange);
  const std::int64_t taps = keys.integer({"mamba_d_conv"}, kStateRange);
  const std::int64_t rank = keys.integer({"mamba_dt_rank"}, kRankRange);
  model.linear.conv_width = model.linear.value_width = inner;
  model.linear.state_elements = inner * state + inner * (taps - 1);
  model.linear.mixer_weights = hidden * 2 * inner + inner * (taps + 1) +
                               inner * (rank + 2 * state) + rank * inner + inner + inner * state +
                               inner + inner * hidden;
}

void read_linear_dims(ConfigKeys& keys, const Architecture& architecture, ModelSpec& model) {
  bool any = false;
  for (const LayerSpec& layer : model.layers)
    any = any || layer.attention == AttentionKind::kLinear;
  if (!any) return;
  if (architecture.attention == AttentionRule::kInterval) return read_delta_net(keys, model);
  if (architecture.attention == AttentionRule::kPeriod) return read_mamba(keys, model);
  keys.fail("layer_types", "linear attention is not part of this architecture",
            "hybrid models are read as qwen3_next, qwen3_5_moe_text or jamba");
}

void read_window_layers(ConfigKeys& keys, AttentionRule rule, ModelSpec& model) {
  if (rule == AttentionRule::kQwen && !keys.boolean_or({"use_sliding_window"}, false)) return;
  if (!keys.has({"sliding_window"})) return;
  const int window = required_window(keys);
  const int first =
      rule == AttentionRule::kQwen ? keys.integer_or({"max_window_layers"}, 0, kCountRange) : 0;
  for (std::size_t i = static_cast<std::size_t>(first); i < model.layers.size(); ++i) {
    set_kind(model, model.layers[i], AttentionKind::kSliding, window);
  }
}

void read_by_rule(ConfigKeys& keys, AttentionRule rule, ModelSpec& model) {
  const auto make_linear_except = [&model](int period, int offset) {
    for (int i = 0; i < model.num_layers(); ++i) {
      if (i % period != offset)
        model.layers[static_cast<std::size_t>(i)].attention = AttentionKind::kLinear;
    }
  };
  switch (rule) {
    case AttentionRule::kPlain:
    case AttentionRule::kQwen:
      return read_window_layers(keys, rule, model);
    case AttentionRule::kAlternate: {
      const int window = required_window(keys);
      for (std::size_t i = 0; i < model.layers.size(); i += 2) {
        set_kind(model, model.layers[i], AttentionKind::kSliding, window);
      }
      return;
    }
    case AttentionRule::kChunked:
      return read_chunked(keys, model);
    case AttentionRule::kListed:
      return keys.missing({"layer_types"}, "this architecture mixes kinds of attention");
    case AttentionRule::kPattern:
      return read_pattern(keys, model);
    case AttentionRule::kInterval: {
      const int interval = keys.integer({"full_attention_interval"}, kLayerRange);
      return make_linear_except(interval, interval - 1);
    }
    case AttentionRule::kPeriod: {
      const int period = keys.integer({"attn_layer_period"}, kLayerRange);
      return make_linear_except(period, keys.integer({"attn_layer_offset"}, kCountRange) % period);
    }
    case AttentionRule::kLatent:
      return;
  }
}

}  // namespace

void read_attention(ConfigKeys& keys, const Architecture& architecture, ModelSpec& model) {
  if (architecture.attention == AttentionRule::kLatent) return;
  const bool own_heads = architecture.attention == AttentionRule::kPattern;
  if (!own_heads && keys.has({"layer_types"})) {
    read_layer_types(keys, model);
  } else {
    read_by_rule(keys, architecture.attention, model);
  }
  if (architecture.attention == AttentionRule::kListed) read_global_heads(keys, model);
  read_linear_dims(keys, architecture, model);
}

}  // namespace moesim
