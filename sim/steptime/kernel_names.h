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
/// Keys and values of this format; `latent` for MLA.
[[nodiscard]] KernelNames attention_kernels(NumberFormat kv, bool latent);

}  // namespace moesim
