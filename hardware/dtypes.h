#pragma once

#include <string>
#include <vector>

#include "hardware/kernel_shape.h"
#include "hardware/system.h"

namespace moesim {

/// Number formats as measurement tables and profiles name them: "bfloat16", "fp8", "fp8_block",
/// "int8_wo", "sq" (SmoothQuant int8), "int4_wo", "nvfp4", "w4a16_mxfp4", "w4a8_mxfp4_mxfp8".

/// All of them, and other names of one.
[[nodiscard]] std::vector<std::string> number_formats();
/// Bytes per weight element, scales included; 0 if the name is unknown.
[[nodiscard]] double weight_bytes_of(const std::string& dtype);
/// Bytes per activation element that a kernel of this dtype multiplies.
[[nodiscard]] double input_bytes_of(const std::string& dtype);
/// Datasheet ceilings of a system for kernels of a dtype; a format without a tensor-core path
/// multiplies in bf16.
[[nodiscard]] DeviceCeilings ceilings_of(const SystemSpec& system, const std::string& dtype);

}  // namespace moesim
