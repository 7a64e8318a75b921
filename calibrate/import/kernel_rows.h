#pragma once

#include "calibrate/import/kernel_table.h"

namespace moesim {

/// One reader per kind of table; each appends to `out`. Private to calibrate/import.
void read_gemm_rows(KernelTable& table, KernelSamples& out);
void read_moe_rows(KernelTable& table, KernelSamples& out);
void read_attention_rows(KernelTable& table, KernelSamples& out);
void read_mla_rows(KernelTable& table, KernelSamples& out);
void read_message_rows(KernelTable& table, KernelSamples& out);
void read_stream_rows(KernelTable& table, KernelSamples& out);

/// Bytes per weight element of a published dtype name, scales included; 0 if unknown.
[[nodiscard]] double weight_bytes_of(const std::string& dtype);
/// Bytes per activation element a kernel of this dtype multiplies.
[[nodiscard]] double input_bytes_of(const std::string& dtype);

}  // namespace moesim
