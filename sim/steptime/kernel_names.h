#pragma once

#include <string>
#include <vector>

#include "models/model.h"

namespace moesim {

/// What profiles call the kernels that an engine runs for a number format on a GPU: names in order
/// of preference. Weight-only formats are multiplied in 16 bit where the GPU has no narrower path
/// (serving-semantics 2.3).
struct KernelNames {
  std::vector<std::string> kernels, dtypes;
};
[[nodiscard]] KernelNames gemm_kernels(NumberFormat weights, int sm_version);
[[nodiscard]] KernelNames expert_kernels(const std::string& framework, NumberFormat weights,
                                         bool gated, int sm_version);
/// How an engine quantises the activations of a dense GEMM (KernelShape::quantise_us).
/// TensorRT-LLM fuses the static scales of fp8 and NVFP4 checkpoints into the norm, activation or
/// attention before; vLLM's compiler fuses per-tensor fp8 alike and has one static kernel for
/// NVFP4, as SGLang. Blocks of 128 are scaled by kernels of their own everywhere, as measured.
[[nodiscard]] double quantise_us(const std::string& framework, NumberFormat weights);
/// Keys and values of this format; `latent` for MLA.
[[nodiscard]] KernelNames attention_kernels(NumberFormat kv, bool latent);

}  // namespace moesim
