#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "hardware/kernel_library.h"
#include "models/model.h"

namespace moesim {

/// What profiles call the kernels that an engine runs for a number format on a GPU: names in order
/// of preference. Weight-only formats are multiplied in 16 bit where the GPU has no narrower path
/// (serving-semantics 2.3).
struct KernelNames {
  std::vector<std::string> kernels, dtypes;
  std::size_t own_dtypes = 1;  ///< of the format itself; the rest of `dtypes` stands in for it
};
[[nodiscard]] KernelNames gemm_kernels(NumberFormat weights, int sm_version);
/// Kernels of the routed experts: what the engine would take, or those of `moe_backend`. One that
/// is named has the same number formats as where the engine takes it by itself.
[[nodiscard]] KernelNames expert_kernels(const KernelChoice& choice, NumberFormat weights,
                                         bool gated);
/// Their curve. Kernels that are named are looked for on other cards and in other frameworks, too,
/// before another kernel stands in for them.
[[nodiscard]] FoundCurve find_experts(const KernelLibrary& library, const KernelChoice& choice,
                                      NumberFormat weights, bool gated);
/// The grouped products of DeepGEMM behind DeepEP's messages, a table of their own: contiguous
/// ("context") behind the high-throughput kernels, masked ("generation") behind the low-latency
/// ones. Empty where the engine runs others.
[[nodiscard]] std::string deepgemm_layout(const KernelChoice& choice, NumberFormat weights);
/// How an engine quantises the activations of a dense GEMM (KernelShape::quantise_us).
/// TensorRT-LLM fuses the static scales of fp8 and NVFP4 checkpoints into the norm, activation or
/// attention before; vLLM's compiler fuses per-tensor fp8 alike and has one static kernel for
/// NVFP4, as SGLang. Blocks of 128 are scaled by kernels of their own everywhere, as measured.
[[nodiscard]] double quantise_us(const std::string& framework, NumberFormat weights);
/// Where to look for dense products. TensorRT-LLM scales fp8 per tensor, as vLLM does and its table
/// has it; SGLang's table is of scales per token.
[[nodiscard]] KernelChoice product_choice(KernelChoice choice, NumberFormat weights);
/// Where to look for latent attention. On Blackwell every engine runs TensorRT-LLM's kernels, by
/// way of FlashInfer (SGLang's trtllm_mla, vLLM's FLASHINFER_MLA). SGLang's table of prompts has
/// the absorbed form, 3.4 times the work; its servers expand keys and values for new prompts, as
/// the kernels of TensorRT-LLM do.
[[nodiscard]] KernelChoice latent_choice(KernelChoice choice, bool prompts);
/// Attention of decodes. Keys and values of 8 bits cost half the bytes of 16 in TensorRT-LLM's
/// kernels, which all engines call on Blackwell (FlashInfer): the curve of 16 bits at 1 byte a
/// number. In the tables of vLLM and SGLang on Hopper (FlashAttention 3) widening them binds the
/// multiprocessors: 40 to 70 % of the memory's rate.
[[nodiscard]] KernelNames decode_kernels(const KernelChoice& choice, NumberFormat kv);
/// Keys and values of this format; `latent` for MLA.
[[nodiscard]] KernelNames attention_kernels(NumberFormat kv, bool latent);

}  // namespace moesim
