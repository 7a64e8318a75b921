#include "sim/steptime/kernel_names.h"

#include <optional>

#include "scenarios/engine_profile.h"

namespace moesim {

namespace {

constexpr int kAda = 89, kHopper = 90, kBlackwell = 100;

}  // namespace

KernelNames gemm_kernels(NumberFormat weights, int sm_version) {
  switch (weights) {
    case NumberFormat::kFp8:
      if (sm_version < kAda) return {{}, {"int8_wo", "bfloat16"}, 0};
      return {{}, {"fp8", "fp8_block", "bfloat16"}};
    case NumberFormat::kFp8Block:
      if (sm_version < kAda) return {{}, {"int8_wo", "bfloat16"}, 0};
      return {{}, {"fp8_block", "fp8", "bfloat16"}};
    case NumberFormat::kInt8:
      return {{}, {"sq", "fp8", "int8_wo", "bfloat16"}};
    case NumberFormat::kAwqInt4:
    case NumberFormat::kGptqInt4:
    case NumberFormat::kInt4Group32:
      return {{}, {"int4_wo", "bfloat16"}};
    case NumberFormat::kQ4KM:
      return {{}, {"int4_wo", "bfloat16"}, 0};
    case NumberFormat::kMxfp4:
      if (sm_version >= kBlackwell) return {{}, {"nvfp4", "fp8", "bfloat16"}, 0};
      return {{}, {"int4_wo", "bfloat16"}, 0};
    case NumberFormat::kNvfp4:
      if (sm_version >= kBlackwell) return {{}, {"nvfp4", "fp8", "bfloat16"}};
      return {{}, {"int4_wo", "bfloat16"}, 0};
    default:
      return {{}, {"bfloat16"}};
  }
}

namespace {

using Names = std::vector<std::string>;

bool is_float4(NumberFormat weights) {
  return weights == NumberFormat::kMxfp4 || weights == NumberFormat::kNvfp4;
}

/// Number formats of Marlin's tables, all of four bits: one kernel unpacks every narrow format. The
/// table of MXFP4 has one layer only, of 896 experts, whose sorting hides what a small layer costs.
KernelNames marlin(NumberFormat weights) {
  if (is_float4(weights)) return {{"marlin"}, {"int4_wo", "w4a16_mxfp4"}, 0};
  const bool own = weights == NumberFormat::kAwqInt4 || weights == NumberFormat::kGptqInt4 ||
                   weights == NumberFormat::kInt4Group32;
  return {{"marlin"}, {"int4_wo", "bfloat16"}, own ? std::size_t{1} : std::size_t{0}};
}

/// TensorRT-LLM's generated batched kernels, which stand in the tables for MXFP4 weights only
/// ("default"): the same kernels stream other formats.
KernelNames generated(NumberFormat weights) {
  const bool own = weights == NumberFormat::kMxfp4;
  return {{"default"}, {"w4a8_mxfp4_mxfp8", "w4a16_mxfp4"}, own ? std::size_t{1} : std::size_t{0}};
}

KernelNames triton(NumberFormat weights, int sm_version) {
  // Per-tensor fp8 experts run the same Triton kernel as block-scaled ones; the per-tensor rows of
  // vLLM's table are another, slower kernel (tables' README, remark 7).
  if (weights == NumberFormat::kFp8 && sm_version >= kAda)
    return {{"triton"}, {"fp8_block", "fp8", "bfloat16"}};
  if (is_float4(weights)) {
    const bool own = weights == NumberFormat::kMxfp4;
    return {{"triton"}, {"w4a16_mxfp4", "int4_wo", "bfloat16"}, own ? std::size_t{1} : 0};
  }
  KernelNames names = gemm_kernels(weights, sm_version);
  names.kernels = {"triton"};
  return names;
}

/// Kernels a user asked for, by the names of profiles.
KernelNames asked_for(const KernelChoice& choice, NumberFormat weights, bool gated) {
  const std::string& name = choice.moe_backend;
  if (name == "trtllm_gen") return generated(weights);
  if (name == "marlin") return marlin(weights);
  if (name == "triton") return triton(weights, choice.sm_version);
  if (name == "deepgemm") {
    const bool own = weights == NumberFormat::kFp8Block;
    return {{name}, {"fp8_block"}, own ? std::size_t{1} : std::size_t{0}};
  }
  KernelNames names = gemm_kernels(weights, choice.sm_version);
  names.kernels = {name};
  // Kernels of TensorRT-LLM before Blackwell are CUTLASS's, whatever its table calls them.
  if (choice.framework == "trtllm" && choice.sm_version < kBlackwell) {
    if (is_float4(weights)) names = triton(weights, choice.sm_version);
    names.kernels = {name, "default"};
  }
  if (!gated) names.kernels.insert(names.kernels.begin(), "nongated");
  return names;
}

/// vLLM's Triton kernels for MXFP4 need Hopper, and were in its images from 0.11.1 on only; before,
/// and on older cards, Marlin unpacks it (vLLM pull request 27523, 2025-10).
bool unpacks_mxfp4(const KernelChoice& choice) {
  constexpr Release kLast{0, 11, 0};
  const std::optional<Release> release = parse_release(choice.version);
  const bool early = release && *release <= kLast;
  return choice.framework == "vllm" &&
         (choice.sm_version < kHopper || (choice.sm_version < kBlackwell && early));
}

/// What vLLM, SGLang and TensorRT-LLM take for a format.
KernelNames usual(const KernelChoice& choice, NumberFormat weights) {
  const bool trtllm = choice.framework == "trtllm";
  const bool blackwell = choice.sm_version >= kBlackwell;
  const Names kernels =
      trtllm ? Names{"cutlass", "deepgemm", "default"} : Names{"triton", "marlin", "cutlass"};
  const auto with = [&](KernelNames names) {
    names.kernels = kernels;
    return names;
  };
  // Servers of NVFP4 checkpoints on Blackwell run the low-latency batched kernels, which the tables
  // have for MXFP4 only ("default"); their NVFP4 rows are the slower CUTLASS path, 37 % of the
  // memory rate at 64 tokens of DeepSeek-V3.
  if (is_float4(weights) && blackwell) {
    KernelNames names = with(generated(weights));
    names.dtypes = {"w4a8_mxfp4_mxfp8", "nvfp4", "w4a16_mxfp4"};
    names.kernels.insert(names.kernels.begin(), "default");
    return names;
  }
  const bool mxfp4 = weights == NumberFormat::kMxfp4 && !unpacks_mxfp4(choice);
  const bool multiplied = mxfp4 || !is_float4(weights);
  const bool fp8 = weights == NumberFormat::kFp8 || weights == NumberFormat::kFp8Block;
  // Cards without the format's tensor cores: vLLM and SGLang unpack it with Marlin.
  const bool unpacked = !multiplied || (fp8 && choice.sm_version < kAda);
  if (!trtllm && unpacked) {
    KernelNames names = marlin(weights);
    names.kernels.insert(names.kernels.end(), {"triton", "cutlass"});
    return names;
  }
  if (is_float4(weights) || !trtllm) return with(triton(weights, choice.sm_version));
  return with(gemm_kernels(weights, choice.sm_version));
}

bool is_narrow(NumberFormat kv) {
  return kv == NumberFormat::kFp8 || kv == NumberFormat::kFp8Block || kv == NumberFormat::kInt8;
}

}  // namespace

KernelNames expert_kernels(const KernelChoice& choice, NumberFormat weights, bool gated) {
  if (choice.moe_backend != "auto") return asked_for(choice, weights, gated);
  KernelNames names = usual(choice, weights);
  if (!gated) names.kernels.insert(names.kernels.begin(), "nongated");
  return names;
}

FoundCurve find_experts(const KernelLibrary& library, const KernelChoice& choice,
                        NumberFormat weights, bool gated) {
  const KernelNames names = expert_kernels(choice, weights, gated);
  KernelQuery query{
      "moe", names.kernels, names.dtypes, choice.moe_backend != "auto", names.own_dtypes, gated};
  FoundCurve found = library.find(query);
  if (found.curve != nullptr || !query.exact_kernel) return found;
  query.exact_kernel = false;
  return library.find(query);
}

std::string deepgemm_layout(const KernelChoice& choice, NumberFormat weights) {
  const bool asked = choice.moe_backend == "auto" || choice.moe_backend == "deepgemm";
  if (!asked || choice.framework == "trtllm" || weights != NumberFormat::kFp8Block) return "";
  if (choice.all2all == "deepep_high_throughput") return "context";
  return choice.all2all == "deepep_low_latency" ? "generation" : "";
}

double quantise_us(const std::string& framework, NumberFormat weights) {
  constexpr double kFused = 0, kMeasured = -1;
  // Static quantisation of a few rows: 2.0 to 2.6 us on H100 and B200 (profiles, quantize_static).
  constexpr double kOneKernel = 2.3;
  // NVFP4 in TensorRT-LLM: a kernel of its own that also lays its scales out in tiles. The smallest
  // products of the B200 table take 6.3 to 6.7 us, the same in 16 bit 2.1 us.
  constexpr double kTiledScales = 4.5;
  const bool four_bit = weights == NumberFormat::kNvfp4 || weights == NumberFormat::kMxfp4;
  if (framework == "trtllm" && weights == NumberFormat::kNvfp4) return kTiledScales;
  if (framework == "trtllm") return weights == NumberFormat::kFp8 || four_bit ? kFused : kMeasured;
  if (four_bit) return kOneKernel;
  return framework == "vllm" && weights == NumberFormat::kFp8 ? kFused : kMeasured;
}

KernelChoice product_choice(KernelChoice choice, NumberFormat weights) {
  if (choice.framework == "trtllm" && weights == NumberFormat::kFp8) choice.framework = "vllm";
  return choice;
}

KernelChoice latent_choice(KernelChoice choice, bool prompts) {
  const bool absorbed_table = prompts && choice.framework == "sglang";
  if (absorbed_table || choice.sm_version >= kBlackwell) choice.framework = "trtllm";
  return choice;
}

KernelNames decode_kernels(const KernelChoice& choice, NumberFormat kv) {
  const bool native = choice.framework == "trtllm" || choice.sm_version >= kBlackwell;
  if (is_narrow(kv) && native) return {{}, {"bfloat16/bfloat16"}};
  return attention_kernels(kv, false);
}

KernelNames attention_kernels(NumberFormat kv, bool latent) {
  const bool narrow = is_narrow(kv);
  // Not the kernels timed without a graph ("ungraphed"), where the host hides them.
  if (latent)
    return narrow ? KernelNames{{""}, {"fp8", "bfloat16"}} : KernelNames{{""}, {"bfloat16"}};
  if (narrow) return {{}, {"bfloat16/fp8", "fp8/fp8", "bfloat16/bfloat16"}};
  return {{}, {"bfloat16/bfloat16"}};
}

}  // namespace moesim
