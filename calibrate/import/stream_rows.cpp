#include <map>
#include <string>

#include "calibrate/import/kernel_rows.h"
#include "calibrate/import/layer_profile.h"
#include "hardware/stream_bytes.h"

namespace moesim {

namespace {

constexpr double kMicro = 1e-6;

KernelSample stream(const std::string& kernel, double rows, double row_bytes, double seconds) {
  KernelSample sample;
  sample.op = "stream";
  sample.kernel = kernel;
  sample.shape.rows = rows;
  sample.shape.bytes = rows * row_bytes;
  sample.shape_key = std::to_string(static_cast<long long>(row_bytes));
  sample.seconds = seconds;
  return sample;
}

// `scale_matrix` multiplies by a known scale: 2 bytes in, 1 out. `compute_scale` is what finding
// the scales adds; both together are the dynamic quantisation in front of an fp8 GEMM.
void read_quantize(KernelTable& table, KernelSamples& out) {
  std::map<std::pair<double, double>, double> fixed;
  std::size_t halves = 0;
  for (const bool dynamic : {false, true}) {
    for (std::size_t row = 0; row < table.rows(); ++row) {
      const std::string op = table.text(row, {"op"});
      if (op != "scale_matrix" && op != "compute_scale")
        table.mistake(row, "op", "unknown operation '" + op + "'");
      if ((op == "compute_scale") != dynamic) continue;
      const double m = table.size(row, {"m"});
      const double k = table.size(row, {"k"});
      // What the scales add may be nothing; a kernel takes time.
      double seconds = kMicro * (dynamic ? table.more_microseconds(row, {"latency_us"})
                                         : table.microseconds(row, {"latency_us"}));
      if (!dynamic) fixed[{m, k}] = seconds;
      if (dynamic) {
        const auto base = fixed.find({m, k});
        if (base == fixed.end()) {  // half of a measurement
          ++halves;
          continue;
        }
        seconds += base->second;
      }
      KernelSample sample =
          stream(dynamic ? "quantize_dynamic" : "quantize_static", m, quantize_bytes(k), seconds);
      sample.system = table.system();
      sample.framework = table.text(row, {"src"});
      sample.dtype = table.format(row, {"dtype"});
      out.samples.push_back(std::move(sample));
    }
  }
  if (halves > 0)
    out.notes.push_back(
        {table.path().string() + ": " + std::to_string(halves) +
             " rows of compute_scale left out: no scale_matrix of their size beside",
         halves});
}

// Vidur's profiles: PyTorch kernel times of an engine of 2024, whole microseconds. Its GEMMs are
// left out: the GEMM tables cover the same GPUs better. Its norms, rotations and activations are
// vLLM's before the V1 engine ("_v0"): 0.33 to 0.65 of the memory's rate, where those of 0.19
// reach 0.7 to 1. Runs take a donor of today's instead.
void read_vidur_mlp(KernelTable& table, KernelSamples& out) {
  const std::string& name = table.family();
  const std::string system = name.ends_with("_a100")   ? "a100_sxm"
                             : name.ends_with("_h100") ? "h100_sxm"
                                                       : table.system();
  for (std::size_t row = 0; row < table.rows(); ++row) {
    const double tokens = table.size(row, {"tokens"});
    const double tp = table.size(row, {"tp"});
    const double hidden = table.size(row, {"hidden"});
    const double heads = table.size(row, {"heads"});
    const double kv_heads = table.size(row, {"kv_heads"});
    const double inter = table.size(row, {"ffn"});
    const double rotated = (heads + kv_heads) / tp * hidden / heads;
    const bool gated = table.number(row, {"gated"}) > 0;
    const auto add = [&](const char* kernel, const char* column, double row_bytes) {
      const double us = table.more_microseconds(row, {column});
      if (us <= 0) return;  // under half a microsecond: no digit left
      KernelSample sample = stream(kernel, tokens, row_bytes, us * kMicro);
      sample.system = system;
      // Half of the last digit is 17 % of 3 us: shorter times say too little.
      sample.suspect = us < 3;
      out.samples.push_back(std::move(sample));
    };
    add("embedding", "emb_us", copy_bytes(hidden));
    add("rotary_v0", "attn_rope_us", copy_bytes(rotated));
    add("activation_v0", "mlp_act_us", gated ? gated_bytes(inter / tp) : copy_bytes(inter / tp));
    // A model with one norm a layer (attention beside the MLP) has a LayerNorm with bias and adds
    // three tensors: other kernels.
    if (table.text(row, {"post_attention_layernorm_us"}).empty()) continue;
    add("norm_v0", "input_layernorm_us", norm_bytes(hidden));
    add("norm_v0", "post_attention_layernorm_us", norm_bytes(hidden));
    add("add", "add_us", add_bytes(hidden));
  }
}

/// [n, k] of a linear layer on one rank; {0, 0} if it is none.
std::pair<double, double> weight_of(const std::string& layer, const LayerProfile& p) {
  const double attention = p.heads * p.head_dim / p.tp;
  const double kv = p.kv_heads * p.head_dim / p.tp;
  if (layer == "qkv_proj") return {attention + 2 * kv, p.hidden};
  if (layer == "o_proj") return {p.hidden, attention};
  if (layer == "gate_up_proj") return {2 * p.inter / p.tp, p.hidden};
  if (layer == "down_proj") return {p.hidden, p.inter / p.tp};
  if (layer == "lm_head") return {p.vocab / p.tp, p.hidden};
  return {0, 0};
}

/// Stream kernel and bytes per row of a layer; "" if it is none. A profile runs one decoder layer:
/// the first of its two norms has no residual yet, and `layernorm` is their mean.
std::pair<std::string, double> stream_of(const std::string& layer, const LayerProfile& p) {
  const double rotated = (p.heads + p.kv_heads) * p.head_dim;
  if (layer == "embedding") return {"embedding", copy_bytes(p.hidden)};
  if (layer == "layernorm") return {"norm", (norm_bytes(p.hidden) + add_norm_bytes(p.hidden)) / 2};
  if (layer == "final_layernorm") return {"norm", add_norm_bytes(p.hidden)};
  if (layer == "rotary_emb") return {"rotary", copy_bytes(rotated / p.tp)};
  if (layer == "act_fn") return {"activation", gated_bytes(p.inter / p.tp)};
  if (layer == "qk_norm") return {"qk_norm", norm_bytes(rotated)};
  if (layer == "sampler") return {"sampler", sampler_bytes(p.vocab)};
  return {"", 0};
}

/// Layers whose rows are the same at every degree of tensor parallelism: measured once, copied.
bool copied(const std::string& layer) {
  return layer == "layernorm" || layer == "final_layernorm" || layer == "qk_norm" ||
         layer == "sampler";
}

void read_layers(KernelTable& table, KernelSamples& out) {
  const LayerProfile profile = layer_profile_of(table.path());
  out.versions["vllm"].insert(profile.version);
  for (std::size_t row = 0; row < table.rows(); ++row) {
    const std::string layer = table.text(row, {"layer"});
    if (copied(layer) && profile.tp > profile.tp_first) continue;
    const double rows = table.size(row, {"tokens", "sequences"});
    const double seconds = table.microseconds(row, {"time_us"}) * kMicro;
    KernelSample sample;
    if (const auto [n, k] = weight_of(layer, profile); n > 0) {
      sample.op = "gemm";
      sample.dtype = "bfloat16";
      sample.shape.m = rows;
      sample.shape.n = n;
      sample.shape.k = k;
      sample.shape.weight_bytes = weight_bytes_of(sample.dtype);
      sample.shape_key = std::to_string(static_cast<long long>(n)) + "x" +
                         std::to_string(static_cast<long long>(k));
      sample.seconds = seconds;
    } else {
      const auto [kernel, bytes] = stream_of(layer, profile);
      if (kernel.empty()) {
        table.mistake(row, "layer", "unknown layer '" + layer + "'");
        continue;
      }
      sample = stream(kernel, rows, bytes, seconds);
      if (kernel == "sampler") sample.op = "sampler";
      if (kernel == "sampler") sample.kernel = "";
    }
    sample.system = profile.system;
    sample.framework = "vllm";
    out.samples.push_back(std::move(sample));
  }
}

}  // namespace

void read_stream_rows(KernelTable& table, KernelSamples& out) {
  if (table.has("layer")) return read_layers(table, out);
  if (table.has("input_layernorm_us")) return read_vidur_mlp(table, out);
  read_quantize(table, out);
}

}  // namespace moesim
