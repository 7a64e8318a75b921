#include "models/model.h"

#include <algorithm>
#include <cmath>

#include "models/sharding.h"

namespace moesim {

namespace {

struct FormatRow {
  NumberFormat format;
  const char* name;
  int payload_bits;
  double bits;         // with scales and zeros
  double expert_bits;  // routed experts
};

// serving-semantics 2.3. fp8_block: an fp32 scale per 128x128 tile. AWQ, GPTQ: fp16 scale and int4
// zero per 128. int4_g32: a 16-bit scale per 32. Q4_K_M: 4.85 for the mixture, 4.5 (plain Q4_K) for
// routed experts.
constexpr FormatRow kFormats[] = {
    {NumberFormat::kFp32, "fp32", 32, 32, 32},
    {NumberFormat::kBf16, "bf16", 16, 16, 16},
    {NumberFormat::kFp16, "fp16", 16, 16, 16},
    {NumberFormat::kFp8, "fp8", 8, 8, 8},
    {NumberFormat::kFp8Block, "fp8_block", 8, 8 + 32.0 / 16384, 8 + 32.0 / 16384},
    {NumberFormat::kInt8, "int8", 8, 8, 8},
    {NumberFormat::kAwqInt4, "awq_int4", 4, 4 + 20.0 / 128, 4 + 20.0 / 128},
    {NumberFormat::kGptqInt4, "gptq_int4", 4, 4 + 20.0 / 128, 4 + 20.0 / 128},
    {NumberFormat::kInt4Group32, "int4_g32", 4, 4 + 16.0 / 32, 4 + 16.0 / 32},
    {NumberFormat::kQ4KM, "q4_k_m", 4, 4.85, 4.5},
    {NumberFormat::kMxfp4, "mxfp4", 4, 4 + 8.0 / 32, 4 + 8.0 / 32},
    {NumberFormat::kNvfp4, "nvfp4", 4, 4 + 8.0 / 16, 4 + 8.0 / 16},
};

const FormatRow& row_of(NumberFormat format) {
  return kFormats[static_cast<std::size_t>(
      format)];  // the rows are in the order of the enumerators
}

}  // namespace

double bits_per_weight(NumberFormat format) {
  return row_of(format).bits;
}

double expert_bits_per_weight(NumberFormat format) {
  return row_of(format).expert_bits;
}

Bytes storage_bytes(std::int64_t weights, double bits) {
  return Bytes(std::llround(static_cast<double>(weights) * bits / 8));
}

int payload_bits(NumberFormat format) {
  return row_of(format).payload_bits;
}

std::string to_text(NumberFormat format) {
  return row_of(format).name;
}

bool parse_number_format(const std::string& name, NumberFormat& out) {
  for (const FormatRow& row : kFormats) {
    if (name != row.name) continue;
    out = row.format;
    return true;
  }
  return false;
}

std::vector<std::string> number_format_names() {
  std::vector<std::string> names;
  for (const FormatRow& row : kFormats) names.emplace_back(row.name);
  return names;
}

bool ModelSpec::is_moe() const {
  return num_moe_layers() > 0;
}

int ModelSpec::num_moe_layers() const {
  return static_cast<int>(std::count_if(layers.begin(), layers.end(),
                                        [](const LayerSpec& layer) { return layer.moe; }));
}

AttentionShape ModelSpec::attention_shape(const LayerSpec& layer) const {
  return AttentionShape{.heads = layer.heads > 0 ? layer.heads : heads,
                        .kv_heads = layer.kv_heads > 0 ? layer.kv_heads : kv_heads,
                        .head_dim = layer.head_dim > 0 ? layer.head_dim : head_dim,
                        .v_head_dim = layer.v_head_dim > 0 ? layer.v_head_dim : v_head_dim};
}

namespace {

// The whole model on one imaginary rank: glossary 5.2 counts are sharding with nothing cut.
Shard whole_model(const ModelSpec& model) {
  Shard shard;
  shard.model = &model;
  shard.last_layer = model.num_layers();
  shard.heads = model.heads;
  shard.kv_heads = model.kv_heads;
  shard.has_embedding = true;
  shard.has_lm_head = true;
  return shard;
}

}  // namespace

ParameterCounts count_parameters(const ModelSpec& model) {
  const Shard shard = whole_model(model);
  ParameterCounts counts;
  std::int64_t idle_experts = 0;  // weights of experts a token does not visit
  for (const LayerSpec& layer : model.layers) {
    const LayerWeights weights = layer_weights(shard, layer);
    counts.attention += weights.attention;
    counts.dense_ffn += weights.dense_ffn;
    counts.shared_experts += weights.shared_experts;
    counts.router += weights.router;
    counts.norms += weights.norms;
    counts.routed_experts += layer.num_experts * weights.per_expert;
    counts.per_expert = std::max(counts.per_expert, weights.per_expert);
    idle_experts += (layer.num_experts - layer.top_k) * weights.per_expert;
  }
  counts.norms += model.hidden;  // the final norm
  counts.embedding = std::int64_t{model.vocab} * model.hidden;
  counts.lm_head = model.tied_embeddings ? 0 : counts.embedding;
  counts.active = counts.total() - idle_experts;
  return counts;
}

Bytes kv_bytes_per_token(const ModelSpec& model) {
  const Shard shard = whole_model(model);
  Bytes sum;
  for (const LayerSpec& layer : model.layers) sum += kv_bytes_per_token_layer(shard, layer);
  return sum;
}

}  // namespace moesim
