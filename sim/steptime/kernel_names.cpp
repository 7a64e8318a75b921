#include "sim/steptime/kernel_names.h"

namespace moesim {

namespace {

constexpr int kAda = 89, kBlackwell = 100;

}  // namespace

KernelNames gemm_kernels(NumberFormat weights, int sm_version) {
  switch (weights) {
    case NumberFormat::kFp8:
      if (sm_version < kAda) return {{}, {"int8_wo", "bfloat16"}};
      return {{}, {"fp8", "fp8_block", "bfloat16"}};
    case NumberFormat::kFp8Block:
      if (sm_version < kAda) return {{}, {"int8_wo", "bfloat16"}};
      return {{}, {"fp8_block", "fp8", "bfloat16"}};
    case NumberFormat::kInt8:
      return {{}, {"sq", "fp8", "int8_wo", "bfloat16"}};
    case NumberFormat::kAwqInt4:
    case NumberFormat::kGptqInt4:
    case NumberFormat::kQ4KM:
      return {{}, {"int4_wo", "bfloat16"}};
    case NumberFormat::kMxfp4:
    case NumberFormat::kNvfp4:
      if (sm_version >= kBlackwell) return {{}, {"nvfp4", "fp8", "bfloat16"}};
      return {{}, {"int4_wo", "bfloat16"}};
    default:
      return {{}, {"bfloat16"}};
  }
}

namespace {

/// Kernels a user asked for, by the names of profiles. TensorRT-LLM's generated batched kernels
/// stand in the tables for MXFP4 weights only ("default"): the same kernels stream other formats.
KernelNames asked_for(const KernelChoice& choice, NumberFormat weights, int sm_version) {
  if (choice.moe_backend == "auto") return {};
  if (choice.moe_backend == "trtllm_gen") return {{"default"}, {"w4a8_mxfp4_mxfp8", "w4a16_mxfp4"}};
  std::vector<std::string> dtypes = gemm_kernels(weights, sm_version).dtypes;
  const bool four_bit = weights == NumberFormat::kMxfp4 || weights == NumberFormat::kNvfp4;
  // Marlin is one kernel for all four-bit weights. The table of MXFP4 has one layer only, of 896
  // experts, whose sorting hides what a small layer costs.
  if (four_bit && choice.moe_backend == "marlin") dtypes = {"int4_wo", "w4a16_mxfp4"};
  if (four_bit && choice.moe_backend == "triton") dtypes = {"w4a16_mxfp4", "int4_wo"};
  if (choice.moe_backend == "deepgemm") dtypes = {"fp8_block"};
  return {{choice.moe_backend}, dtypes};
}

}  // namespace

KernelNames expert_kernels(const KernelChoice& choice, NumberFormat weights, bool gated) {
  const std::string& framework = choice.framework;
  const int sm_version = choice.sm_version;
  KernelNames asked = asked_for(choice, weights, sm_version);
  if (!asked.kernels.empty()) return asked;
  std::vector<std::string> kernels =
      framework == "trtllm" ? std::vector<std::string>{"cutlass", "deepgemm", "default"}
                            : std::vector<std::string>{"triton", "marlin", "cutlass"};
  if (!gated) kernels.insert(kernels.begin(), "nongated");
  std::vector<std::string> dtypes = gemm_kernels(weights, sm_version).dtypes;
  // Per-tensor fp8 experts run the same Triton kernel as block-scaled ones; the per-tensor rows of
  // vLLM's table are another, slower kernel (tables' README, remark 7).
  if (weights == NumberFormat::kFp8 && framework != "trtllm" && sm_version >= kAda)
    dtypes = {"fp8_block", "fp8", "bfloat16"};
  if (weights == NumberFormat::kMxfp4) {
    dtypes = sm_version >= kBlackwell
                 ? std::vector<std::string>{"w4a8_mxfp4_mxfp8", "nvfp4", "w4a16_mxfp4"}
                 : std::vector<std::string>{"w4a16_mxfp4", "int4_wo", "bfloat16"};
  }
  if (weights == NumberFormat::kNvfp4 && sm_version < kBlackwell)
    dtypes = {"w4a16_mxfp4", "int4_wo", "bfloat16"};
  // Servers of NVFP4 checkpoints on Blackwell run the low-latency batched kernels, which the tables
  // have for MXFP4 only ("default"); their NVFP4 rows are the slower CUTLASS path, 37 % of the
  // memory rate at 64 tokens of DeepSeek-V3.
  if (weights == NumberFormat::kNvfp4 && sm_version >= kBlackwell) {
    kernels.insert(kernels.begin(), "default");
    dtypes = {"w4a8_mxfp4_mxfp8", "nvfp4", "w4a16_mxfp4"};
  }
  return {kernels, dtypes};
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
  const bool four_bit = weights == NumberFormat::kNvfp4 || weights == NumberFormat::kMxfp4;
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

KernelNames attention_kernels(NumberFormat kv, bool latent) {
  const bool narrow =
      kv == NumberFormat::kFp8 || kv == NumberFormat::kFp8Block || kv == NumberFormat::kInt8;
  // Not the kernels timed without a graph ("ungraphed"), where the host hides them.
  if (latent)
    return narrow ? KernelNames{{""}, {"fp8", "bfloat16"}} : KernelNames{{""}, {"bfloat16"}};
  if (narrow) return {{}, {"bfloat16/fp8", "fp8/fp8", "bfloat16/bfloat16"}};
  return {{}, {"bfloat16/bfloat16"}};
}

}  // namespace moesim
