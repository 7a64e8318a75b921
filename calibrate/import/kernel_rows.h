#pragma once

#include "calibrate/import/kernel_table.h"
#include "hardware/dtypes.h"

namespace moesim {

/// One reader per kind of table; each appends to `out`. Private to calibrate/import.
void read_gemm_rows(KernelTable& table, KernelSamples& out);
void read_moe_rows(KernelTable& table, KernelSamples& out);
void read_attention_rows(KernelTable& table, KernelSamples& out);
void read_mla_rows(KernelTable& table, KernelSamples& out);
void read_message_rows(KernelTable& table, KernelSamples& out);
void read_stream_rows(KernelTable& table, KernelSamples& out);

}  // namespace moesim
