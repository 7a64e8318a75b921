#include "models/hf_config.h"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/architecture.h"
#include "models/config_keys.h"
#include "models/hf_json.h"
#include "models/key_names.h"
#include "models/ranges.h"
#include "sim/base/check.h"

namespace moesim {

namespace {

/// A name without the number of its version at the end.
std::string family_of(const std::string& model_type) {
  return model_type.substr(0, model_type.find_last_not_of("0123456789") + 1);
}

/// The nearest name if that is a slip of the pen. Another version of a known family is not: its
/// layers are different ones.
std::string model_type_hint(const std::string& name) {
  const std::vector<std::string> known = known_model_types();
  const bool other_version = std::ranges::any_of(
      known, [&](const std::string& other) { return family_of(other) == family_of(name); });
  const std::string nearest = nearest_name_hint(name, known);
  if (!other_version && nearest.starts_with("did you mean")) return nearest;
  return fmt::format("known: {}", fmt::join(known, ", "));
}

const Architecture* read_architecture(ConfigKeys& keys, ModelSpec& model) {
  for (const std::string& name : keys.texts({"architectures"})) {
    if (is_known_class(name)) continue;
    keys.fail(
        "architectures", fmt::format("unknown architecture '{}'", name),
        fmt::format("known families: {} (models/README.md)", fmt::join(known_model_types(), ", ")));
  }
  if (!keys.has({"model_type"})) {
    keys.missing({"model_type"}, "the architecture cannot be told without it");
    return nullptr;
  }
  model.model_type = keys.text_or({"model_type"}, "");
  if (!keys.sound({"model_type"})) return nullptr;
  const Architecture* architecture = find_architecture(model.model_type);
  if (architecture == nullptr) {
    keys.fail("model_type", fmt::format("unknown model_type '{}'", model.model_type),
              model_type_hint(model.model_type));
  }
  return architecture;
}

void read_mla(ConfigKeys& keys, ModelSpec& model) {
  MlaSpec& mla = model.mla;
  mla.q_rank = keys.integer_or({"q_lora_rank"}, 0, {.min = 0, .max = kRankRange.max});
  mla.kv_rank = keys.integer({"kv_lora_rank"}, kRankRange);
  mla.nope_dim = keys.integer({"qk_nope_head_dim"}, kHeadDimRange);
  mla.rope_dim = keys.integer({"qk_rope_head_dim"}, kHeadDimRange);
  mla.v_dim = keys.integer({"v_head_dim"}, kHeadDimRange);
  mla.index_heads = keys.integer_or({"index_n_heads"}, 0, kHeadsRange);
  if (mla.index_heads > 0) {
    mla.index_dim = keys.integer({"index_head_dim"}, kHeadDimRange);
    mla.index_topk = keys.integer({"index_topk"}, kLengthRange);
  }
  // `head_dim` of these configs means different things in different copies; MLA ignores it.
  model.head_dim = mla.nope_dim + mla.rope_dim;
  model.v_head_dim = mla.v_dim;
  model.kv_heads = model.heads;
}

int read_head_dim(ConfigKeys& keys, const Architecture& architecture, const ModelSpec& model) {
  if (keys.has(kHeadDimKeys)) return keys.integer(kHeadDimKeys, kHeadDimRange);
  if (architecture.head_dim_required) {
    keys.missing({"head_dim"}, "in this architecture it is not hidden_size / num_attention_heads");
  } else if (model.hidden % model.heads != 0 && keys.sound(kHiddenKeys) && keys.sound(kHeadKeys)) {
    keys.missing({"head_dim"}, fmt::format("hidden size {} does not divide by {} heads",
                                           model.hidden, model.heads));
  }
  return std::max(1, model.hidden / model.heads);
}

void read_gqa(ConfigKeys& keys, const Architecture& architecture, ModelSpec& model) {
  model.kv_heads = architecture.kv_heads_default
                       ? keys.integer_or(kKvHeadKeys, model.heads, kHeadsRange)
                       : keys.integer(kKvHeadKeys, kHeadsRange);
  if (model.heads % model.kv_heads != 0 && keys.sound(kHeadKeys) && keys.sound(kKvHeadKeys)) {
    keys.fail(
        keys.present(kKvHeadKeys),
        fmt::format("{} query heads do not divide over {} KV heads", model.heads, model.kv_heads),
        "query heads are a multiple of KV heads");
  }
  model.head_dim = read_head_dim(keys, architecture, model);
  model.v_head_dim = keys.integer_or({"v_head_dim"}, model.head_dim, kHeadDimRange);
}

void read_router(ConfigKeys& keys, const Architecture& architecture, ModelSpec& model) {
  RouterSpec& router = model.router;
  router.groups = keys.integer_or({"n_group"}, 1, kExpertsRange);
  router.topk_groups = keys.integer_or({"topk_group"}, 1, kExpertsRange);
  const std::string scoring =
      keys.text_or({"scoring_func"}, architecture.sigmoid_default ? "sigmoid" : "softmax");
  if (scoring != "sigmoid" && scoring != "softmax") {
    keys.fail("scoring_func", fmt::format("unknown scoring function '{}'", scoring),
              "known: softmax, sigmoid");
  }
  router.sigmoid = scoring == "sigmoid";
  router.bias = keys.text_or({"topk_method"}, router.sigmoid ? "noaux_tc" : "greedy") == "noaux_tc";
  router.renormalize = keys.boolean_or({"norm_topk_prob"}, true);
  if (!keys.sound({"n_group", "topk_group"}) || !keys.sound(kExpertKeys)) return;
  if (router.topk_groups > router.groups) {
    keys.fail("topk_group", fmt::format("{} of {} groups", router.topk_groups, router.groups),
              "topk_group is at most n_group");
  }
  for (const LayerSpec& layer : model.layers) {
    if (!layer.moe || layer.num_experts % router.groups == 0) continue;
    keys.fail(
        "n_group",
        fmt::format("{} experts do not divide into {} groups", layer.num_experts, router.groups),
        "every group has the same number of experts");
    break;
  }
}

void read_model(ConfigKeys& keys, const Architecture& architecture, ModelSpec& model) {
  model.family = architecture.family;
  model.hidden = keys.integer(kHiddenKeys, kHiddenRange);
  model.vocab = keys.integer({"vocab_size"}, kVocabRange);
  model.heads = keys.integer(kHeadKeys, kHeadsRange);
  model.max_position_embeddings = keys.integer(kLengthKeys, kLengthRange);
  model.tied_embeddings = keys.boolean_or({"tie_word_embeddings"}, architecture.tied_default);
  model.attention_gate = keys.boolean_or({"attn_output_gate"}, architecture.attention_gate);
  model.qk_norm = keys.boolean_or({"use_qk_norm"}, architecture.qk_norm);
  model.qk_norm_across_heads = model.qk_norm && architecture.qk_norm_across_heads;
  model.qk_bias = keys.boolean_or({"attention_bias", "qkv_bias"}, architecture.qkv_bias);
  model.expert_bias = architecture.expert_bias;
  model.shared_gate = architecture.shared_gate;
  model.nextn_layers = keys.integer_or(
      {"num_nextn_predict_layers", "num_mtp_modules", "mtp_num_hidden_layers"}, 0, kCountRange);
  if (model.family == "switch_encdec") {
    model.kv_heads = model.heads;
    model.head_dim = model.v_head_dim = keys.integer({"d_kv"}, kHeadDimRange);
    read_switch(keys, model);
  } else {
    read_layers(keys, architecture, model);
    if (architecture.attention == AttentionRule::kLatent) {
      read_mla(keys, model);
    } else {
      read_gqa(keys, architecture, model);
    }
    read_attention(keys, architecture, model);
  }
  read_router(keys, architecture, model);
  read_precisions(keys, architecture, model);
}

// The id and source of a shipped file.
void read_own_section(ConfigKeys& keys, const std::string& file, const std::string& id,
                      ModelSpec& model) {
  model.id = keys.text_or({"moesim.id"}, "");
  if (!id.empty()) model.id = id;
  if (model.id.empty()) model.id = std::filesystem::path(file).stem().string();
  model.hypothetical = keys.boolean_or({"moesim.hypothetical"}, false);
}

}  // namespace

ModelSpec read_hf_config(const std::string& text, const std::string& file_name,
                         const std::string& id) {
  const nlohmann::json config = read_merged_config(text, file_name);
  Diagnostics diagnostics;
  ConfigKeys keys(config, text, file_name, diagnostics);
  ModelSpec model;
  read_own_section(keys, file_name, id, model);
  const Architecture* architecture = read_architecture(keys, model);
  if (architecture != nullptr) read_model(keys, *architecture, model);
  diagnostics.throw_if_any();
  return model;
}

void apply_precision(ModelSpec& model, const PrecisionOverrides& overrides) {
  const auto parse = [](const std::string& name) {
    NumberFormat format = NumberFormat::kBf16;
    MOESIM_CHECK(parse_number_format(name, format),
                 "precision names are checked when the scenario is read");
    return format;
  };
  Precisions& formats = model.precisions;
  if (overrides.weights != "auto") {
    const NumberFormat format = parse(overrides.weights);
    formats.attention = formats.dense_ffn = formats.shared_experts = formats.experts = format;
    if (format == NumberFormat::kBf16 || format == NumberFormat::kFp16) {
      if (formats.kv_cache == formats.activation) formats.kv_cache = format;
      formats.activation = format;
    }
    // Tables stay 16 bit, but not in a GGUF file.
    formats.embedding = formats.lm_head =
        format == NumberFormat::kQ4KM ? format : formats.activation;
  }
  if (overrides.experts != "auto") formats.experts = parse(overrides.experts);
  if (overrides.kv_cache != "auto") formats.kv_cache = parse(overrides.kv_cache);
}

}  // namespace moesim
