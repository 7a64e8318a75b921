#include "sim/steptime/measured.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "hardware/dtypes.h"
#include "hardware/stream_bytes.h"
#include "sim/steptime/kernel_names.h"

namespace moesim {

namespace {

std::size_t index(NumberFormat format) {
  return static_cast<std::size_t>(format);
}
std::size_t index(OperatorFamily family) {
  return static_cast<std::size_t>(family);
}

/// Kernels written once for several generations use the tensor instructions of the one they were
/// tuned on: a newer card gives them its multiprocessors, not its larger tensor cores.
bool is_portable(std::string_view kernel) {
  return kernel == "triton" || kernel == "marlin";
}

double donor_peak(const FoundCurve& found, const SystemSpec& system, const std::string& dtype) {
  const std::string donor = found.profile.substr(0, found.profile.find('/'));
  if (donor == system.name) return ceilings_of(system, dtype).peak;
  const DeviceCeilings own = ceilings_of(load_system(donor, ".", Where()), dtype);
  return own.peak * system.gpu.sm_count / own.sms;
}

/// Keys and values of latent prompts are expanded by a product of its own in TensorRT-LLM, inside
/// the call in vLLM: AIConfigurator, which timed both, lists it beside the former's attention
/// (`context_kv_b_proj_gemm`), and vLLM's `MLACommonImpl` calls `kv_b_proj` itself.
bool has_no_expansion(const FoundCurve& prompts) {
  return prompts.profile.find("/trtllm") != std::string::npos;
}

ReadyCurve ready(FoundCurve found, const SystemSpec& system) {
  ReadyCurve result;
  result.found = std::move(found);
  const std::string dtype = result.found.curve ? result.found.curve->dtype : "";
  // "bfloat16/fp8": attention multiplies in the first.
  const std::string computed = dtype.substr(0, dtype.find('/'));
  result.device = ceilings_of(system, computed);
  result.input_bytes = input_bytes_of(computed);
  result.tuned_tiles =
      result.found.curve && result.found.curve->kernel == "triton" && dtype == "bfloat16";
  if (result.found.curve && result.found.donor && is_portable(result.found.curve->kernel))
    result.device.peak = std::min(result.device.peak, donor_peak(result.found, system, computed));
  // Between two uses of a weight or a cache block the rest of the model streams by.
  result.device.cold = true;
  return result;
}

ReadyCurve ready(const KernelLibrary& library, const SystemSpec& system, const std::string& op,
                 const KernelNames& names, bool exact_kernel = false) {
  return ready(library.find({op, names.kernels, names.dtypes, exact_kernel, names.own_dtypes}),
               system);
}

double kv_element_bytes(NumberFormat kv) {
  return payload_bits(kv) / 8.0;
}

KernelShape attention_shape(const Op& op) {
  KernelShape shape;
  shape.batch = op.sequences;
  shape.queries = static_cast<double>(op.m);
  shape.kv_tokens = static_cast<double>(op.n);
  shape.pairs_qk = op.pairs;
  shape.longest = op.longest > 0 ? static_cast<double>(op.longest)
                                 : shape.kv_tokens / std::max(1.0, shape.batch);
  shape.heads = static_cast<double>(op.k);
  shape.kv_heads = op.kv_heads;
  shape.head_dim = op.head_dim;
  shape.window = op.window;
  shape.kv_bytes = kv_element_bytes(op.weight_format);
  return shape;
}

}  // namespace

Measured::Measured(const KernelChoice& choice, const SystemSpec& system,
                   const Precisions& precisions, int nvlink_gpus,
                   std::unique_ptr<KernelModel> roofline, const FamilyNoise& noise)
    : roofline_(std::move(roofline)),
      noise_(noise),
      framework_(choice.framework),
      tuned_(tuned_experts(choice.framework, system.name)),
      launch_(system.efficiency.kernel_launch),
      nvlink_gpus_(nvlink_gpus),
      attention_format_(precisions.attention) {
  const KernelLibrary library(choice);
  const int sm = system.gpu.sm_version;
  for (const NumberFormat weights :
       {precisions.attention, precisions.dense_ffn, precisions.shared_experts, precisions.lm_head,
        precisions.activation}) {
    ReadyCurve& curve = gemm_[index(weights)];
    if (curve.found.curve == nullptr)
      curve = ready(KernelLibrary(product_choice(choice, weights)), system, "gemm",
                    gemm_kernels(weights, sm));
  }
  for (const bool gated : {true, false}) {
    (gated ? experts_ : experts_ungated_) =
        ready(find_experts(library, choice, precisions.experts, gated), system);
  }
  const std::string layout = deepgemm_layout(choice, precisions.experts);
  if (!layout.empty()) {
    ReadyCurve behind_messages =
        ready(library, system, "moe_deepgemm", {{layout}, {"fp8_block"}}, true);
    all_tokens_ = behind_messages.found.curve != nullptr;
    if (all_tokens_) experts_ = std::move(behind_messages);
  }
  // Between two uses of an expert's weights the whole model streams by: they are never in L2.
  experts_.device.l2_bytes = 0;
  experts_ungated_.device.l2_bytes = 0;
  const KernelNames attention = attention_kernels(precisions.kv_cache, false);
  decode_ =
      ready(library, system, "attention_generation", decode_kernels(choice, precisions.kv_cache));
  prefill_ = ready(library, system, "attention_context", attention);
  if (prefill_.found.curve != nullptr) {
    // The table has an axis of what decodes add only where such batches were measured.
    const auto& axes = prefill_.found.curve->form->axes;
    for (const TableAxis& axis : prefill_.found.curve->table.axes)
      mixes_ |= axes[static_cast<std::size_t>(axis.coordinate)] ==
                std::string_view("log2 decoding share");
  }
  const KernelNames latent = attention_kernels(precisions.kv_cache, true);
  const KernelLibrary latent_library(latent_choice(choice, false));
  const KernelLibrary prompt_library(latent_choice(choice, true));
  mla_decode_ = ready(latent_library, system, "mla_generation", latent, true);
  mla_prefill_ = ready(prompt_library, system, "mla_context", latent, true);
  expands_apart_ = has_no_expansion(mla_prefill_.found);
  mla_absorb_ = ready(latent_library, system, "mla_bmm", {{"mla_gen_pre"}, {"bfloat16"}}, true);
  mla_unfold_ = ready(latent_library, system, "mla_bmm", {{"mla_gen_post"}, {"bfloat16"}}, true);
  const auto stream = [&](const char* kernel) {
    return ready(library, system, "stream", {{kernel}, {}}, true);
  };
  norm_ = stream("norm");
  rotary_ = stream("rotary");
  activation_ = stream("activation");
  embedding_ = stream("embedding");
  sampler_ = ready(library, system, "sampler", {});
  if (nvlink_gpus_ > 1) {
    custom_all_reduce_ = ready(library, system, "custom_allreduce", {{"graph"}, {}}, true);
    nccl_all_reduce_ = ready(library, system, "nccl", {{"all_reduce"}, {""}}, true);
  }
}

std::vector<KernelOrigin> Measured::origins(const ModelSpec& model) const {
  std::vector<KernelOrigin> out;
  const auto add = [&](const ReadyCurve& ready) {
    if (ready.found.curve == nullptr) return;
    const KernelCurve& curve = *ready.found.curve;
    KernelOrigin origin{curve.op, curve.kernel, curve.dtype, ready.found.profile,
                        ready.found.donor};
    if (std::ranges::find(out, origin) == out.end()) out.push_back(std::move(origin));
  };
  for (const ReadyCurve& curve : gemm_) add(curve);
  if (model.is_moe()) add(model.expert_matrices == 3 ? experts_ : experts_ungated_);
  const auto attention = model.is_mla()
                             ? std::array{&mla_prefill_, &mla_decode_, &mla_absorb_, &mla_unfold_}
                             : std::array{&prefill_, &decode_, &rotary_, &rotary_};
  for (const ReadyCurve* curve : attention) add(*curve);
  for (const ReadyCurve* curve : {&norm_, &activation_, &embedding_, &sampler_}) add(*curve);
  add(custom_all_reduce_);
  add(nccl_all_reduce_);
  return out;
}

KernelTime Measured::answer(const ReadyCurve& ready, const KernelShape& shape,
                            OperatorFamily family) const {
  constexpr double kAmongData = 0.5;
  const KernelCurve::Answer found = ready.found.curve->at(shape, ready.device);
  Provenance provenance = Provenance::kExtrapolated;
  if (ready.found.donor) {
    provenance = Provenance::kDonor;
  } else if (found.inside && found.support > 0) {
    provenance = found.support >= kAmongData ? Provenance::kMeasured : Provenance::kInterpolated;
  }
  const double z = noise_[index(family)];
  if (z == 0) return {found.time, provenance};
  const double spread = std::hypot(found.spread, ready.found.extra_spread);
  return {found.time * std::exp(spread * z), provenance};
}

KernelTime Measured::fallback(const Op& op, OperatorFamily family) const {
  KernelTime time = roofline_->time(op);
  time.time = time.time * std::exp(kRooflineSpread * noise_[index(family)]);
  return time;
}

KernelTime Measured::gemm(const Op& op) const {
  const ReadyCurve& curve = gemm_[index(op.weight_format)];
  if (curve.found.curve == nullptr || op.m == 0) return fallback(op, OperatorFamily::kGemm);
  KernelShape shape;
  shape.m = static_cast<double>(op.m);
  shape.n = static_cast<double>(op.n);
  shape.k = static_cast<double>(op.k);
  shape.weight_bytes = bits_per_weight(op.weight_format) / 8;
  shape.input_bytes = curve.input_bytes;
  shape.quantise_us = quantise_us(framework_, op.weight_format);
  return answer(curve, shape, OperatorFamily::kGemm);
}

KernelTime Measured::grouped(const Op& op) const {
  const bool gated = op.matrices == 3;
  const ReadyCurve& curve = gated ? experts_ : experts_ungated_;
  if (curve.found.curve == nullptr || op.active_experts == 0)
    return fallback(op, OperatorFamily::kExperts);
  KernelShape shape;
  shape.tokens = op.tokens;
  shape.pairs = static_cast<double>(op.m);
  // That table counts the tokens of all ranks, of which this one has its part.
  if (all_tokens_ && gated) shape.tokens = shape.pairs * op.total_experts / (op.experts * op.top_k);
  shape.active = op.active_experts;
  shape.above_64 = static_cast<double>(op.above_64);
  shape.above_256 = static_cast<double>(op.above_256);
  shape.experts = op.experts;
  shape.total_experts = op.total_experts;
  shape.topk = op.top_k;
  shape.hidden = static_cast<double>(op.k);
  shape.inter = static_cast<double>(op.n);
  shape.matrices = op.matrices;
  shape.weight_bytes = expert_bits_per_weight(op.weight_format) / 8;
  shape.input_bytes = curve.input_bytes;
  if (curve.tuned_tiles) shape.tuned = is_tuned(tuned_, shape.experts, shape.inter);
  return answer(curve, shape, OperatorFamily::kExperts);
}

KernelTime Measured::attention(const Op& op) const {
  const bool decode = op.kind == OpKind::kAttentionDecode;
  const ReadyCurve& curve = decode ? decode_ : prefill_;
  if (curve.found.curve == nullptr || op.n == 0) return fallback(op, OperatorFamily::kAttention);
  KernelShape shape = attention_shape(op);
  shape.input_bytes = curve.input_bytes;
  return answer(curve, shape, OperatorFamily::kAttention);
}

KernelTime Measured::latent_decode(const Op& op) const {
  const ReadyCurve& curve = mla_decode_;
  if (curve.found.curve == nullptr || op.n == 0) return fallback(op, OperatorFamily::kAttention);
  KernelTime total = answer(curve, attention_shape(op), OperatorFamily::kAttention);
  constexpr double kLatent = 512, kHeadWidth = 128;  // DeepSeek's, the only ones measured
  // The batched products that fold W_UK into queries and unfold W_UV stand in tables of their own.
  for (const ReadyCurve* part : {&mla_absorb_, &mla_unfold_}) {
    if (part->found.curve == nullptr) continue;
    KernelShape shape;
    shape.heads = static_cast<double>(op.k);
    shape.m = static_cast<double>(op.m);
    shape.n = part == &mla_absorb_ ? kLatent : kHeadWidth;
    shape.k = part == &mla_absorb_ ? kHeadWidth : kLatent;
    shape.weight_bytes = 2;
    shape.input_bytes = 2;
    total.time = total.time + answer(*part, shape, OperatorFamily::kAttention).time;
  }
  return total;
}

KernelTime Measured::latent_prefill(const Op& op) const {
  const ReadyCurve& curve = mla_prefill_;
  if (curve.found.curve == nullptr || op.n == 0) return fallback(op, OperatorFamily::kAttention);
  KernelShape shape = attention_shape(op);
  shape.kv_heads = shape.heads;  // keys and values are expanded, so a head is its own
  shape.head_dim = 192;
  KernelTime total = answer(curve, shape, OperatorFamily::kAttention);
  if (!expands_apart_ || op.expand_n == 0) return total;
  Op expansion;
  expansion.kind = OpKind::kGemm;
  expansion.m = op.n;
  expansion.n = op.expand_n;
  expansion.k = op.expand_k;
  expansion.weight_format = attention_format_;
  total.time = total.time + gemm(expansion).time;
  // Keys are then put together: a head's own part copied, the rotated one beside it.
  constexpr double kOwn = 128, kRotated = 64, kBytes = 2;
  Op keys;
  keys.kind = OpKind::kElementwise;
  keys.activation_bytes = kBytes * shape.kv_tokens * shape.heads * (2 * kOwn + kRotated);
  total.time = total.time + fallback(keys, OperatorFamily::kMemory).time;
  return total;
}

KernelTime Measured::mixed_attention(const Op& prompts, const Op& decodes) const {
  if (!mixes_ || prompts.kind != OpKind::kAttentionPrefill || decodes.n == 0)
    return KernelModel::mixed_attention(prompts, decodes);
  KernelShape shape = attention_shape(prompts);
  shape.input_bytes = prefill_.input_bytes;
  shape.decodes = decodes.sequences;
  shape.decode_tokens = static_cast<double>(decodes.n);
  shape.longest = std::max(shape.longest, shape.decode_tokens / std::max(1.0, shape.decodes));
  return answer(prefill_, shape, OperatorFamily::kAttention);
}

/// Bytes and rows are counted alike here and where curves are fitted (hardware/stream_bytes.h).
KernelTime Measured::streamed(const Op& op) const {
  const bool fused_experts = experts_.found.curve != nullptr;
  const bool fused_write = decode_.found.curve != nullptr;
  const ReadyCurve* curve = nullptr;
  if (op.kind == OpKind::kSampling) {
    curve = &sampler_;
  } else {
    switch (op.part) {
      case MemoryPart::kRouting:
      case MemoryPart::kAlign:
      case MemoryPart::kExpertSum:
        if (fused_experts) return {Seconds(0), Provenance::kMeasured};
        break;
      case MemoryPart::kKvWrite:
        if (fused_write) return {Seconds(0), Provenance::kMeasured};
        break;
      case MemoryPart::kNorm:
      case MemoryPart::kInnerNorm:
        curve = &norm_;
        break;
      case MemoryPart::kRotary:
        curve = &rotary_;
        break;
      case MemoryPart::kActivation:
        curve = &activation_;
        break;
      case MemoryPart::kEmbedding:
        curve = &embedding_;
        break;
      default:
        break;
    }
  }
  if (curve == nullptr || curve->found.curve == nullptr || op.m == 0)
    return fallback(op, OperatorFamily::kMemory);
  KernelShape shape;
  shape.rows = static_cast<double>(op.m);
  shape.bytes = op.kind == OpKind::kSampling ? sampler_bytes(static_cast<double>(op.n)) * shape.rows
                                             : op.activation_bytes;
  KernelTime time = answer(*curve, shape, OperatorFamily::kMemory);
  // These were profiled kernel by kernel; in a step each follows another. Tables of the other
  // operators were timed back to back.
  if (op.kind != OpKind::kSampling) time.time = time.time + launch_;
  return time;
}

// The framework's own all-reduce, its fallback to NCCL for large messages included; measured inside
// NVLink nodes. Elsewhere the collective formulas answer, from the paths there are.
KernelTime Measured::all_reduce(const Op& op) const {
  const ReadyCurve& curve =
      custom_all_reduce_.found.curve != nullptr ? custom_all_reduce_ : nccl_all_reduce_;
  if (curve.found.curve == nullptr) return fallback(op, OperatorFamily::kCollective);
  KernelShape shape;
  shape.bytes = op.message_bytes;
  shape.gpus = nvlink_gpus_;
  shape.nodes = 1;
  return answer(curve, shape, OperatorFamily::kCollective);
}

KernelTime Measured::time(const Op& op) const {
  switch (op.kind) {
    case OpKind::kGemm:
      return gemm(op);
    case OpKind::kGroupedGemm:
      return grouped(op);
    case OpKind::kAttentionDecode:
    case OpKind::kAttentionPrefill:
      return attention(op);
    case OpKind::kMlaDecode:
      return latent_decode(op);
    case OpKind::kMlaPrefill:
      return latent_prefill(op);
    case OpKind::kElementwise:
    case OpKind::kSampling:
      return streamed(op);
    case OpKind::kAllReduce:
      return all_reduce(op);
    case OpKind::kSendRecv:
      return fallback(op, OperatorFamily::kCollective);
  }
  return {};
}

}  // namespace moesim
