#pragma once

#include "sim/base/csv.h"

namespace moesim {

/// Whether a table has the columns that every collector of ai-dynamo/aiconfigurator writes before
/// its own: framework, version, device, op_name, kernel_source.
[[nodiscard]] bool is_aic_table(const CsvTable& table);

/// A table of AIConfigurator's under the names and units of ours (calibrate/README.md): its
/// milliseconds become microseconds, its elements of a message bytes, its device a column `system`,
/// its kernel_source the kernel, the mode of an all-reduce and whether experts have a gate. Cells
/// keep the places they have in `table`. Throws InputError for a kind that no collector of kernels
/// writes, for missing columns and for every cell that cannot be translated.
[[nodiscard]] CsvTable in_our_columns(const CsvTable& table);

}  // namespace moesim
